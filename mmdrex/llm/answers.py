"""From a reply to an answer: one JSON object that fits a pydantic schema, or what is wrong."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, StringConstraints, ValidationError

from mmdrex.llm.request import clean

REPLY_LIMIT = 20_000  # characters; the longest sensible answer is a tenth of it
ERROR_LIMIT = 500

Form = TypeVar("Form", bound=BaseModel)


class AnswerError(ValueError):
    """A reply that can't be used, and why, in words a model can act on."""


def _cleaned(value: Any) -> Any:
    return clean(value).strip() if isinstance(value, str) else value


def _upper(value: Any) -> Any:
    return value.strip().upper() if isinstance(value, str) else value


def _lower(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_cleaned), StringConstraints(min_length=1, max_length=4_000)]
Upper, Lower = BeforeValidator(_upper), BeforeValidator(_lower)


def instructions(form: type[BaseModel]) -> str:
    """Return the sentence that tells a model which JSON object is wanted.

    Examples
    --------
    >>> class Verdict(BaseModel):
    ...     reason: str
    ...     action: Literal["BUY", "SELL"]
    >>> print(instructions(Verdict))
    Reply with one JSON object and nothing else:
    {"reason": text, "action": "BUY" | "SELL"}
    """
    return f"Reply with one JSON object and nothing else:\n{_shape(form)}"


def _shape(kind: Any) -> str:
    """Return a type as a model should read it."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        return " | ".join(json.dumps(choice) for choice in get_args(kind))
    if get_origin(kind) is list:
        return f"[{_shape(get_args(kind)[0])}, ...]"
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        fields = (
            f'"{name}": {_shape(field.annotation)}' for name, field in kind.model_fields.items()
        )
        return "{" + ", ".join(fields) + "}"
    return {str: "text", int: "whole number", float: "number", bool: "true | false"}[kind]


def parse(text: str, form: type[Form]) -> Form:
    """Return the first JSON object of a reply as an instance of ``form``.

    Words or fences around the object are passed over: many models can't leave them out.

    Raises
    ------
    AnswerError
        If the reply is too long, holds no JSON object, or the object does not fit.
    """
    if len(text) > REPLY_LIMIT:
        raise AnswerError(f"it has more than {REPLY_LIMIT} characters")
    start = text.find("{")
    if start < 0:
        raise AnswerError("there is no JSON object in it")
    try:
        found, _ = json.JSONDecoder().raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise AnswerError(f"its JSON is broken: {error.msg} at character {error.pos}") from None
    except (RecursionError, ValueError):  # ValueError: a number of thousands of digits
        raise AnswerError("its JSON is nested too deeply or holds too long a number") from None
    try:
        return form.model_validate(found)
    except ValidationError as error:
        raise AnswerError(_what_is_wrong(error)) from None


def _what_is_wrong(error: ValidationError) -> str:
    parts = []
    for detail in error.errors(include_url=False, include_context=False):
        place = ".".join(map(str, detail["loc"])) or "the object"
        parts.append(f"{place}: {detail['msg']} (got {str(detail['input'])[:60]!r})")
    return clean("; ".join(parts))[:ERROR_LIMIT]

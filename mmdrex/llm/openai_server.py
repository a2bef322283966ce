"""Backend ``openai``: OpenAI, vLLM, Ollama, ``transformers serve``: all that speak its protocol."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import httpx2
import openai
import pandas as pd

from mmdrex.errors import LLMError
from mmdrex.llm.backends import BusyError, RefusedError, known_until
from mmdrex.llm.request import Message, Reply, Request

BODY_LIMIT = 1_000_000  # bytes of an answer on the wire; an answer has a few thousand


class OpenAIServer:
    """A model behind an OpenAI-compatible server, through the official client.

    Parameters
    ----------
    model : str
        As the server calls it.
    base_url : str, optional
        Such as ``http://localhost:8000/v1``; else ``$OPENAI_BASE_URL``, else OpenAI's own.
    api_key : str, optional
        Else ``$OPENAI_API_KEY``; a server of one's own needs none.
    cutoff : date, optional
        The model's knowledge cut-off, from its card.
    price : (float, float), optional
        Money per million prompt tokens and per million reply tokens.
    temperature : float, optional
        None leaves it out: some models accept their default only.
    seed : int
    max_tokens : int
        Of a reply.
    timeout : float
        Seconds for a whole call, however slowly the server talks.
    images : bool
        False tells a model without eyes that the charts were left out.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        api_key: str | None = None,
        cutoff: str | pd.Timestamp | None = None,
        price: tuple[float, float] | None = None,
        temperature: float | None = 0.0,
        seed: int = 42,
        max_tokens: int = 1_000,
        timeout: float = 120.0,
        images: bool = True,
    ) -> None:
        base_url = base_url or os.environ.get("OPENAI_BASE_URL")
        api_key = api_key or os.environ.get("OPENAI_API_KEY")
        if not api_key:
            if base_url is None:
                raise LLMError(
                    f"openai:{model} needs a key in $OPENAI_API_KEY, or the address of a server "
                    "of your own in $OPENAI_BASE_URL"
                )
            api_key = "none"
        self.model = f"openai:{model}"
        self.cutoff = known_until(cutoff)
        self.priced = price is not None
        self._price = price
        self._timeout = timeout
        self._images = images
        self._settings: dict[str, Any] = {"model": model, "seed": seed, "max_tokens": max_tokens}
        if temperature is not None:
            self._settings["temperature"] = temperature
        self.identity = json.dumps([base_url, images, self._settings], sort_keys=True)
        self._client = openai.OpenAI(
            base_url=base_url,
            api_key=api_key,
            timeout=timeout,
            max_retries=0,  # the caller retries, so that each attempt is on record
        )

    def reply(self, request: Request) -> Reply:
        """Return the model's reply."""
        messages: Any = [self._turn(message) for message in request.messages]
        deadline = time.monotonic() + self._timeout
        try:
            with self._client.chat.completions.with_streaming_response.create(
                messages=messages, **self._settings
            ) as response:
                body = bytearray()
                for part in response.iter_bytes():
                    body += part
                    if len(body) > BODY_LIMIT:
                        raise RefusedError(f"the reply has more than {BODY_LIMIT} bytes")
                    if time.monotonic() > deadline:
                        raise BusyError(f"no whole reply within {self._timeout:g} seconds")
        except openai.APIStatusError as error:
            raise _status(error) from None
        except openai.APITimeoutError:
            raise BusyError(f"no reply within {self._timeout:g} seconds") from None
        except (openai.APIConnectionError, httpx2.HTTPError) as error:
            raise BusyError(f"the connection broke: {error or type(error).__name__}") from None
        return self._read(bytes(body))

    def _turn(self, message: Message) -> dict[str, Any]:
        if not message.images:
            return {"role": message.role, "content": message.text}
        if not self._images:
            return {"role": message.role, "content": f"(Charts left out.)\n{message.text}"}
        parts: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": uri}} for uri in message.png
        ]
        return {"role": message.role, "content": [*parts, {"type": "text", "text": message.text}]}

    def _read(self, body: bytes) -> Reply:
        """Return the reply in a response's body."""
        try:
            answer = json.loads(body)
            text = answer["choices"][0]["message"].get("content") or ""
            usage = answer.get("usage") or {}
            counts = [usage.get("prompt_tokens"), usage.get("completion_tokens")]
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            raise BusyError(f"the server sent no chat completion: {bytes(body[:80])!r}") from None
        if not isinstance(text, str):
            raise BusyError("the server sent a reply that is no text")
        asked, said = (n if isinstance(n, int) and n >= 0 else None for n in counts)
        price = None
        if self._price is not None:
            price = ((asked or 0) * self._price[0] + (said or 0) * self._price[1]) / 1e6
        return Reply(text, asked, said, price)


def _status(error: openai.APIStatusError) -> Exception:
    """Return what an HTTP status means for the question, and for all questions."""
    reason = f"the server answered {error.status_code}: {str(error)[:200]}"
    if error.status_code in (401, 403, 404):
        return LLMError(f"{reason}; check key, address and model")
    if error.status_code in (408, 409, 425, 429) or error.status_code >= 500:
        try:
            wait = float(error.response.headers.get("retry-after", ""))
        except ValueError:
            wait = 0.0
        return BusyError(reason, wait if 0.0 < wait < 1e9 else None)
    return RefusedError(reason)

"""Backend ``replay``: recorded replies from a file; what tests and published runs use."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mmdrex.errors import LLMError
from mmdrex.llm.backends import known_until
from mmdrex.llm.request import Reply, Request


class Replay:
    """Replies by task; where a task has several, the prompt's digest picks one.

    The choice depends on the prompt alone: the same question gets the same reply in whatever
    order questions come, in a resumed run too.

    Parameters
    ----------
    source : path or mapping of str to sequence of str
        A file of JSON lines ``{"task": "finagent.decision", "reply": "..."}``; a line may bear the
        ``digest`` of a request instead of a task, and answers exactly that one.
    cutoff : date, optional
        Knowledge cut-off of the model that the replies were recorded from.
    """

    priced = False

    def __init__(
        self,
        source: str | Path | Mapping[str, Sequence[str]],
        cutoff: str | pd.Timestamp | None = None,
    ) -> None:
        if isinstance(source, Mapping):
            self.replies = {task: list(replies) for task, replies in source.items()}
            self.model = "replay"
        else:
            self.replies = _read(Path(source))
            self.model = f"replay:{Path(source).name}"
        self.cutoff = known_until(cutoff)
        self.identity = f"replay {json.dumps(self.replies, sort_keys=True)}"

    def reply(self, request: Request) -> Reply:
        """Return the recorded reply."""
        known = self.replies.get(request.digest) or self.replies.get(request.task)
        if not known:
            raise LLMError(
                f"{self.model} has no reply for {request.task} (digest {request.digest}); record "
                "one, or leave the prompts and prices as they were when it was recorded"
            )
        return Reply(known[int(request.digest, 16) % len(known)])


def _read(path: Path) -> dict[str, list[str]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LLMError(f"can't read the recorded replies in {path}: {error}") from None
    replies: dict[str, list[str]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        task, reply = _entry(line, f"{path}, line {number}")
        replies.setdefault(task, []).append(reply)
    return replies


def _entry(line: str, place: str) -> tuple[str, str]:
    try:
        entry: Any = json.loads(line)
    except ValueError as error:
        raise LLMError(f"{place}: not JSON ({error})") from None
    key = entry.get("digest") or entry.get("task") if isinstance(entry, dict) else None
    if not isinstance(key, str) or not isinstance(entry.get("reply"), str):
        raise LLMError(f'{place}: needs "reply" and "task" or "digest", all of them text')
    return key, entry["reply"]

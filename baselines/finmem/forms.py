"""The replies of FinMem: a decision, or in the warm-up an explanation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from mmdrex.llm.answers import Lower, Text

Ids = Annotated[list[int], Field(max_length=40)]


class Decision(BaseModel):
    """The day's decision and the notes it rests on."""

    reason: Text
    memories: Ids
    decision: Annotated[Literal["buy", "sell", "hold"], Lower]


class Explanation(BaseModel):
    """Why the next day came out as it did, and which notes had said so."""

    reason: Text
    memories: Ids

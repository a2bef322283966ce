"""The five replies of FinAgent's day."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from mmdrex.llm.answers import Text, Upper


class Insight(BaseModel):
    """One item of the market intelligence."""

    insight: Text
    duration: Annotated[Literal["SHORT", "MEDIUM", "LONG"], Upper]
    sentiment: Annotated[Literal["POSITIVE", "NEUTRAL", "NEGATIVE"], Upper]


class Intelligence(BaseModel):
    """What today's facts mean, and what to look up in the memory."""

    items: Annotated[list[Insight], Field(max_length=20)]
    summary: Text
    short_query: Text
    medium_query: Text
    long_query: Text


class Past(BaseModel):
    """What the memories found have in common."""

    summary: Text


class LowLevel(BaseModel):
    """Why prices moved as the chart shows."""

    short_term: Text
    medium_term: Text
    long_term: Text
    query: Text


class HighLevel(BaseModel):
    """What the agent's own last decisions teach."""

    verdicts: Annotated[list[Annotated[Literal["RIGHT", "WRONG"], Upper]], Field(max_length=30)]
    improvement: Text
    lessons: Text
    query: Text


class Decision(BaseModel):
    """The day's action."""

    analysis: Text
    reasoning: Text
    action: Annotated[Literal["BUY", "HOLD", "SELL"], Upper]

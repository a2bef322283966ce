"""Labels by a language model, as another reviewer: MM-DREX, Listing 2, optional.

Any model that ``mmdrex.llm`` can ask looks at the chart that people would review and answers in
the listing's form. Its labels go where theirs go, the column ``review`` of a CSV, so that
``mmdrex label import`` lists where it disagrees. Every reply is in the ledger: a second run asks
nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Annotated, Literal

import pandas as pd
from pydantic import BaseModel, Field
from tqdm.auto import tqdm

from mmdrex.errors import NoReplyError
from mmdrex.llm import LLM, Message, Request
from mmdrex.llm.answers import Lower, Text, instructions
from mmdrex.observation.observation import Observer
from mmdrex.training.labels import PERIOD, SHARE, STRONG
from mmdrex.training.sft_data import reasons

log = logging.getLogger(__name__)

SIZE = (840, 672)  # pixels of the chart that is sent
NAMES = {"uptrend": "up", "downtrend": "down", "consolidation": "flat"}

Trend = Annotated[Literal["uptrend", "downtrend", "consolidation"], Lower]
Level = Annotated[Literal["high", "medium", "low"], Lower]
Confidence = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=0)]


class CurrentState(BaseModel):
    """Where the market stands."""

    ma5_vs_ma20: Annotated[Literal["above", "below", "close"], Lower]
    adx_strength: Annotated[Literal["strong", "medium", "weak"], Lower]
    di_direction: Text
    trend: Trend


class Indicators(BaseModel):
    """What each indicator says, a sentence each."""

    moving_averages: Text
    adx: Text
    macd: Text
    rsi: Text
    kdj: Text
    bollinger: Text
    volume: Text


class Days(BaseModel):
    """Expected bars of the window per state."""

    up_days: Count
    down_days: Count
    consolidation_days: Count


class Prediction(BaseModel):
    """The trend of the window that follows."""

    trend_conclusion: Trend
    confidence_level: Confidence
    expected_trend_days: Days
    trend_reasoning: Text


class Prices(BaseModel):
    """Where the price goes."""

    target: float
    high: float
    low: float
    price_confidence: Confidence


class Risk(BaseModel):
    """What could go wrong."""

    trend_reversal: Level
    volatility: Level
    factors: list[Text]


class Annotation(BaseModel):
    """The reply asked for, in the parts of Listing 2."""

    current_market_state: CurrentState
    technical_indicators: Indicators
    price_prediction: Prices
    prediction: Prediction
    risk: Risk


def question(observer: Observer, row: int, why: str, window: int) -> Request:
    """Return what the model is asked about one decision bar: chart, criteria, numbers, form.

    Nothing in it is later than the decision bar.
    """
    seen = observer.at(row)
    market = seen.text[seen.text.index("Market") :].rsplit("\n", 1)[0]
    text = "\n".join(
        (
            f"From the candlestick chart and the figures below, say which trend will rule the next "
            f"{window} trading days.",
            "A day counts as",
            f"- uptrend: MA5 above MA20, ADX({PERIOD}) above {STRONG:.0f} and +DI above -DI;",
            f"- downtrend: MA5 below MA20, ADX({PERIOD}) above {STRONG:.0f} and -DI above +DI;",
            "- consolidation: anything else.",
            f"The window is an uptrend or a downtrend if at least {SHARE:.0%} of its days are, "
            "else a consolidation.",
            market,
            f"Now: {why}",
            f"The expected days must add up to {window}.",
            instructions(Annotation),
        )
    )
    message = Message("user", text, (seen.chart("global", SIZE),))
    return Request("label.annotate", (message,), Annotation)


def annotate(
    assets: Mapping[str, pd.DataFrame],
    windows: pd.DataFrame,
    llm: LLM,
    lookback: int = 100,
    window: int = 90,
    progress: bool = False,
) -> pd.DataFrame:
    """Return the windows with the model's label in ``review``, as a human reviewer fills it.

    Parameters
    ----------
    assets : mapping of str to DataFrame
        Validated bars by symbol.
    windows : DataFrame of shape (N, ...)
        What ``export_review`` wrote; ``symbol``, ``time`` and ``row`` are read.
    llm : LLM
        Such as ``LLM.open("openai:gpt-5", ledger="labels.sqlite", max_tokens=4000)``.
    lookback, window : int
        Bars of the chart and of the outcome.

    Returns
    -------
    DataFrame of shape (N, ...)
        ``review`` (empty where no usable reply came), ``confidence`` and ``comment`` added.
    """
    table = windows.reset_index(drop=True)
    review, confidence, comment = ([""] * len(table) for _ in range(3))
    with tqdm(total=len(table), desc="annotating", disable=not progress) as bar:
        for symbol, group in table.groupby("symbol", sort=False):
            bars = assets[str(symbol)]
            observer, why = Observer(bars, str(symbol), lookback, anonymous=True), reasons(bars)
            for place, row in zip(group.index, group["row"], strict=True):
                asked = question(observer, int(row), why[int(row)], window)
                try:
                    reply: Annotation = llm.ask(asked)
                except NoReplyError as error:
                    log.warning("%s of %s: %s", symbol, observer.index[int(row)], error)
                else:
                    said = reply.prediction
                    review[int(place)] = NAMES[said.trend_conclusion]
                    confidence[int(place)] = f"{said.confidence_level:.2f}"
                    comment[int(place)] = said.trend_reasoning
                bar.update()
    return table.assign(review=review, confidence=confidence, comment=comment)

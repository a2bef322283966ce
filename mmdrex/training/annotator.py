"""Labels by a language model, as another reviewer: MM-DREX, Listing 2, optional.

Any model that ``mmdrex.llm`` can ask looks at the chart that people would review and answers in
the listing's form. Its labels go where theirs go, the column ``review`` of a CSV, so that
``mmdrex label import`` lists where it disagrees. Every reply is in the ledger: a second run asks
nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Annotated, Literal, Self

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator
from tqdm.auto import tqdm

from mmdrex.data.windows import WINDOW
from mmdrex.errors import NoReplyError
from mmdrex.llm import LLM, Message, Request
from mmdrex.llm.answers import Lower, Text, instructions
from mmdrex.observation.observation import Observer
from mmdrex.router.vocabulary import LABELS
from mmdrex.training.labels import FAST, PERIOD, SHARE, SLOW, STRONG
from mmdrex.training.sft_data import reasons

log = logging.getLogger(__name__)

SIZE = (840, 672)  # pixels of the chart that is sent
NAMES = {"uptrend": "up", "downtrend": "down", "consolidation": "flat"}

Trend = Annotated[Literal["uptrend", "downtrend", "consolidation"], Lower]
Level = Annotated[Literal["high", "medium", "low"], Lower]
Confidence = Annotated[float, Field(ge=0.0, le=1.0)]
Price = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]


class Part(BaseModel):
    """A part of Listing 2: its keys and no others."""

    model_config = ConfigDict(extra="forbid")


class CurrentState(Part):
    """Where the market stands."""

    ma5_vs_ma20: Annotated[Literal["above", "below", "close"], Lower]
    estimated_adx_strength: Annotated[Literal["strong", "medium", "weak"], Lower]
    estimated_di_direction: Text
    current_trend_assessment: Trend


class MovingAverages(Part):
    """What the two averages say."""

    ma5_trend: Text
    ma20_trend: Text
    ma_crossover_signals: Text


class ADX(Part):
    """What ADX and DI say."""

    adx_strength: Text
    di_relationship: Text
    trend_momentum: Text


class MACD(Part):
    """What MACD says."""

    macd_signal: Text
    histogram_trend: Text
    momentum_assessment: Text


class RSI(Part):
    """What RSI says."""

    rsi_level: Text
    overbought_oversold: Text
    divergence_signals: Text


class KDJ(Part):
    """What KDJ says."""

    kdj_position: Text
    crossover_signals: Text
    momentum_indication: Text


class Bollinger(Part):
    """What the Bollinger bands say."""

    price_position: Text
    band_width: Text
    squeeze_expansion: Text


class Volume(Part):
    """What the volume says."""

    volume_trend: Text
    volume_price_relationship: Text
    accumulation_distribution: Text


class Indicators(Part):
    """What each indicator says."""

    moving_averages: MovingAverages
    adx_analysis: ADX
    macd_analysis: MACD
    rsi_analysis: RSI
    kdj_analysis: KDJ
    bollinger_bands_analysis: Bollinger
    volume_analysis: Volume


class Range(Part):
    """Between which prices the window stays."""

    high_estimate: Price
    low_estimate: Price


class Levels(Part):
    """Prices that may hold."""

    resistance_levels: list[Price]
    support_levels: list[Price]


class Prices(Part):
    """Where the price goes."""

    target_price_90_days_prediction: Price
    price_range_90_days: Range
    key_levels: Levels
    price_confidence: Confidence


class Days(Part):
    """Expected bars of the window per state."""

    up_days: Count
    down_days: Count
    consolidation_days: Count

    @model_validator(mode="after")
    def whole(self) -> Self:
        """Refuse days that are not those of the window."""
        days = self.up_days + self.down_days + self.consolidation_days
        if days != WINDOW:
            raise ValueError(f"the days must add up to {WINDOW}, not {days}")
        return self


class Prediction(Part):
    """The trend of the window that follows."""

    trend_conclusion: Trend
    confidence_level: Confidence
    expected_trend_days: Days
    trend_reasoning: Text


class Risk(Part):
    """What could go wrong."""

    trend_reversal_risk: Level
    volatility_expectation: Level
    key_risk_factors: list[Text]
    confidence_factors: Text


class Annotation(Part):
    """The reply asked for: Listing 2's keys, nested as there."""

    current_market_state: CurrentState
    technical_indicators_analysis: Indicators
    price_prediction: Prices
    prediction_90_days: Prediction
    risk_assessment: Risk
    detailed_analysis: Text


def question(observer: Observer, row: int, why: str) -> Request:
    """Return what the model is asked about one decision bar: chart, criteria, numbers, form.

    Nothing in it is later than the decision bar.
    """
    seen = observer.at(row)
    market = seen.text[seen.text.index("Market") :].rsplit("\n", 1)[0]
    text = "\n".join(
        (
            f"From the candlestick chart and the figures below, say which trend will rule the next "
            f"{WINDOW} trading days.",
            "A day counts as",
            f"- uptrend: MA{FAST} above MA{SLOW}, ADX({PERIOD}) above {STRONG:.0f} and +DI above "
            "-DI;",
            f"- downtrend: MA{FAST} below MA{SLOW}, ADX({PERIOD}) above {STRONG:.0f} and -DI above "
            "+DI;",
            "- consolidation: anything else.",
            f"The window is an uptrend or a downtrend if at least {SHARE:.0%} of its days are, "
            "else a consolidation.",
            market,
            f"Now: {why}",
            "Say something of every indicator and give prices as numbers. The expected days must "
            f"add up to {WINDOW}; confidences are between 0 and 1.",
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
    progress: bool = False,
) -> pd.DataFrame:
    """Return the windows with the model's label in ``review``, as a human reviewer fills it.

    Parameters
    ----------
    assets : mapping of str to DataFrame
        Validated bars by symbol.
    windows : DataFrame of shape (N, ...)
        What ``export_review`` wrote, of windows of 90 bars as Listing 2 wants them; ``symbol``,
        ``time``, ``row`` and the days are read.
    llm : LLM
        Such as ``LLM.open("openai:gpt-5", ledger="labels.sqlite", max_tokens=4000)``.
    lookback : int
        Bars of the chart.

    Returns
    -------
    DataFrame of shape (N, ...)
        ``review``, ``confidence`` and ``comment`` added; a window without a usable reply is left
        out: an empty ``review`` would say that the model agrees with the rule.

    Raises
    ------
    ValueError
        If a window is none of these prices, or not of 90 bars; nothing was asked then.
    """
    table = windows.reset_index(drop=True)
    _check_windows(assets, table)
    review, confidence, comment = ([""] * len(table) for _ in range(3))
    with tqdm(total=len(table), desc="annotating", disable=not progress) as bar:
        for symbol, group in table.groupby("symbol", sort=False):
            bars = assets[str(symbol)]
            observer, why = Observer(bars, str(symbol), lookback, anonymous=True), reasons(bars)
            for place, row in zip(group.index, group["row"], strict=True):
                asked = question(observer, int(row), why[int(row)])
                try:
                    reply: Annotation = llm.ask(asked)
                except NoReplyError as error:
                    log.warning("%s of %s: %s", symbol, observer.index[int(row)], error)
                else:
                    said = reply.prediction_90_days
                    review[int(place)] = NAMES[said.trend_conclusion]
                    confidence[int(place)] = f"{said.confidence_level:.2f}"
                    comment[int(place)] = said.trend_reasoning
                bar.update()
    told = table.assign(review=review, confidence=confidence, comment=comment)
    return told[told["review"] != ""].reset_index(drop=True)


def _check_windows(assets: Mapping[str, pd.DataFrame], windows: pd.DataFrame) -> None:
    """Refuse labels of other prices or of another number of bars than the listing's."""
    days = windows[[f"{name}_days" for name in LABELS]].sum(axis=1)
    if (days != WINDOW).any():
        raise ValueError(
            f"Listing 2 asks about windows of {WINDOW} bars; the labels hold one of "
            f"{days[days != WINDOW].iloc[0]}"
        )
    for symbol, time, row in zip(windows["symbol"], windows["time"], windows["row"], strict=True):
        index = assets[symbol].index if symbol in assets else ()
        if not (0 <= row < len(index) and index[row] == time):
            raise ValueError(
                f"no window of {symbol} at {time:%Y-%m-%d} in these prices; give those that the "
                "labels were exported from"
            )

"""The picture of a run: equity on top, what was held, and the router's weights as an area."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mmdrex.data.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#1f2933", "#66727f", "#e3e7eb"
LONG, SHORT = "#2f7d5b", "#b5483f"
OTHER_COLOURS = ("#9aa5b1", "#b5483f", "#8d5a97", "#2f7d5b")  # curves beside the first
# Distinguishable without colour vision and in grey, in the experts' order.
EXPERT_COLOURS = ("#24476b", "#e08e2b", "#6fa8a0", "#c9c4b8", "#8d5a97", "#7a8b3c")


def weights_figure(
    curve: pd.Series | pd.DataFrame,
    weights: pd.DataFrame,
    target: pd.Series | None = None,
    title: str = "",
    stamp: str = "",
) -> Figure:
    """Return a figure of one or several curves with the weights as a stacked area below.

    Parameters
    ----------
    curve : Series of shape (T,) or DataFrame of shape (T, n)
        Equity, or a price; the first column is drawn strongest.
    weights : DataFrame of shape (T, K)
        One column per expert; rows before the first decision are 0.
    target : Series of shape (T,), optional
        Signed share of the capital, drawn between the two.
    title : str
    stamp : str
        Split and in-sample stamp, printed at the top right.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 6.4 if target is None else 7.4), layout="constrained")
    heights = [3.2, 1.3] if target is None else [3.2, 0.9, 1.3]
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    _draw_curves(axes[0], curve.to_frame() if isinstance(curve, pd.Series) else curve)
    if target is not None:
        _draw_target(axes[1], target)
    _draw_weights(axes[-1], weights)
    axes[0].set_title(title, loc="left", fontsize=13, fontweight="bold", color=INK)
    axes[0].set_title(stamp, loc="right", fontsize=9, color=MUTED)
    for axis in axes:
        _clean(axis)
    axes[-1].set_xlim(weights.index[0], weights.index[-1])
    return figure


def _draw_curves(axis: Axes, curves: pd.DataFrame) -> None:
    import matplotlib.ticker

    styles = [(INK, 1.5), *[(colour, 1.0) for colour in OTHER_COLOURS] * curves.shape[1]]
    for (name, values), (colour, width) in zip(curves.items(), styles, strict=False):
        axis.plot(curves.index, values, color=colour, linewidth=width, label=str(name))
    positive = curves.to_numpy()[np.isfinite(curves.to_numpy())]
    if positive.min() > 0:  # a bankrupt curve has no logarithm
        axis.set_yscale("log")
        few = positive.max() / positive.min() < 10
        subs = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if few else (1.0, 2.0, 5.0)
        axis.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=subs, numticks=14))
        axis.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    axis.yaxis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:,.6g}"))
    axis.legend(loc="upper left", frameon=False, fontsize=9)


def _draw_target(axis: Axes, target: pd.Series) -> None:
    values = target.to_numpy()
    for side, colour in ((np.maximum(values, 0), LONG), (np.minimum(values, 0), SHORT)):
        axis.fill_between(target.index, side, step="post", color=colour, alpha=0.75, linewidth=0)
    axis.axhline(0.0, color=MUTED, linewidth=0.6)
    axis.set_ylim(-1.05, 1.05)
    axis.set_yticks([-1, 0, 1], ["short", "0", "long"])
    axis.set_ylabel("target", color=MUTED, fontsize=9)


def _draw_weights(axis: Axes, weights: pd.DataFrame) -> None:
    colours = EXPERT_COLOURS[: weights.shape[1]]
    axis.stackplot(
        weights.index,
        weights.to_numpy().T,
        labels=list(weights.columns),
        colors=colours,
        step="post",
        linewidth=0,
    )
    axis.set_ylim(0.0, 1.0)
    axis.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"])
    axis.set_ylabel("weights", color=MUTED, fontsize=9)
    axis.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.22),
        ncols=weights.shape[1],
        frameon=False,
        fontsize=9,
    )


def _clean(axis: Axes) -> None:
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.spines["bottom"].set_color(MUTED)
    axis.tick_params(colors=MUTED, labelsize=9, length=0)
    axis.tick_params(which="minor", length=0)
    axis.grid(axis="y", color=GRID, linewidth=0.7)
    axis.set_axisbelow(True)


def save_figure(path: str | Path, figure: Figure) -> None:
    """Write a figure as PNG, aside first, then renamed."""
    with replacing(Path(path)) as aside:
        figure.savefig(aside, format="png", dpi=150)


def figure_html(figure: Figure) -> str:
    """Return an ``<img>`` element that carries the figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    return f'<img src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'

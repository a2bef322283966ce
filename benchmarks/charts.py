"""Time our chart against mplfinance's with the same content, side by side in one process.

    python benchmarks/charts.py [--repeats 20]

The content: 100 candles, three moving averages, Bollinger bands, volume, MACD, RSI and KDJ panels,
as an array of pixels of the same size. Both draw the same windows of the S&P 500 in turn.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
import warnings

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import mplfinance as mpf
import numpy as np
import packages_first  # noqa: F401  (baselines.py beside this script is not the package)
import pandas as pd
from PIL import Image

from mmdrex.data.sample import sample_bars
from mmdrex.observation.chart import draw
from mmdrex.observation.features import indicator_table

SIZES = {"tiny": (280, 224), "Qwen2.5-VL": (560, 448), "notebook": (840, 672)}
DPI = 100


def with_mplfinance(window: np.recarray, index: pd.DatetimeIndex, size: tuple) -> np.ndarray:
    """Return mplfinance's picture of the window as pixels."""
    frame = pd.DataFrame(
        {name: window[name] for name in ("open", "high", "low", "close", "volume")}, index=index
    )
    curves = [
        mpf.make_addplot(window[name], panel=panel, color=color, width=0.7)
        for panel, names in enumerate(
            (
                {
                    "ma10": "orange",
                    "ma20": "blue",
                    "ma100": "purple",
                    "upper": "gray",
                    "lower": "gray",
                },
                {},
                {"dif": "orange", "dea": "blue"},
                {"rsi": "purple"},
                {"k": "orange", "d": "blue", "j": "purple"},
            )
        )
        for name, color in names.items()
    ]
    curves.append(mpf.make_addplot(window["hist"], panel=2, type="bar"))
    buffer = io.BytesIO()
    mpf.plot(
        frame,
        type="candle",
        volume=True,
        addplot=curves,
        panel_ratios=(4, 1, 1, 1, 1),
        figsize=(size[0] / DPI, size[1] / DPI),
        axisoff=True,
        savefig={"fname": buffer, "dpi": DPI},
    )
    plt.close("all")
    buffer.seek(0)
    return np.asarray(Image.open(buffer).convert("RGB"))


def milliseconds(draw_one: object, *arguments: object) -> float:
    """Return the time of one call."""
    started = time.perf_counter()
    draw_one(*arguments)
    return 1000.0 * (time.perf_counter() - started)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20)
    repeats = parser.parse_args().repeats
    warnings.filterwarnings("ignore")
    bars = sample_bars("sp500")
    table = indicator_table(bars)
    print(f"medians of {repeats} windows, ours and mplfinance in turn\n")
    print(f"{'size':>12} {'pixels':>10} {'mplfinance ms':>14} {'ours ms':>8} {'ratio':>7}")
    for name, size in SIZES.items():
        theirs, ours = [], []
        for t in np.linspace(198, len(bars) - 1, repeats + 1).astype(int):
            window, index = table[t - 99 : t + 1], bars.index[t - 99 : t + 1]
            theirs.append(milliseconds(with_mplfinance, window, index, size))
            ours.append(milliseconds(draw, window, "global", size))
        slow, fast = statistics.median(theirs[1:]), statistics.median(ours[1:])
        pixels = f"{size[0]} x {size[1]}"
        print(f"{name:>12} {pixels:>10} {slow:14.1f} {fast:8.2f} {slow / fast:7.0f}")


if __name__ == "__main__":
    main()

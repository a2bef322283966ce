"""Trading costs: what the paper assumes, and a preset per market."""

from __future__ import annotations

from typing import NamedTuple


class Costs(NamedTuple):
    """Costs of one fill, as fractions of its value."""

    fees: float = 0.0
    slippage: float = 0.0


# The presets are round figures for an account of a private investor trading liquid assets; pass
# fees and slippage where your broker's are known. A fee is per side, so a tax on sales counts half.
COSTS = {
    # MM-DREX: transaction costs are named as future work.
    "paper": Costs(0.0, 0.0),
    # No commission at US retail brokers; half a spread of 1-2 bp in large caps, plus impact.
    "us_stocks": Costs(0.0, 0.0005),
    # As stocks; spreads of the largest funds are about 1 bp, of thinly traded ones far wider.
    "etfs": Costs(0.0, 0.0005),
    # Commission about 2.5 bp per side; stamp duty on sales 5 bp since 2023-08-28 (10 bp before,
    # the figure that holds for most of the data: half of it per side).
    "a_shares": Costs(0.00075, 0.0005),
    # Binance spot, standard taker fee 10 bp.
    "crypto": Costs(0.001, 0.0005),
    # Chinese exchanges charge most contracts 0.1 to 1 bp of the value, brokers a multiple of it.
    "futures": Costs(0.0001, 0.0002),
    # Not tradable itself; as an index fund.
    "indices": Costs(0.0, 0.0005),
}

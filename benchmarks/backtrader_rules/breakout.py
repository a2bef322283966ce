"""The rules of the breakout expert (Algorithms 7 and 8) for backtrader."""

# ruff: noqa: D101, D102 - what each rule does is said once, in strategies/

from __future__ import annotations

import backtrader as bt

from backtrader_rules.layered import LayeredRule, quotient

ind = bt.indicators


class Volume(LayeredRule):
    def build(self) -> None:
        self.high = ind.Highest(self.data.high, period=20)(-1)
        self.low = ind.Lowest(self.data.low, period=20)(-1)
        self.short = ind.SMA(self.data.volume, period=5)
        self.long = ind.SMA(self.data.volume, period=20)
        self.ma = ind.SMA(self.data.close, period=10)
        self.atr = ind.ATR(self.data, period=14)
        self.stop_price = 0.0

    def enter(self, close: float) -> None:
        if quotient(self.data.volume[0], self.short[-1]) <= 1.5:
            return
        atr, rising = self.atr[0], quotient(self.short[0], self.long[0]) > 1
        if close > self.high[0]:
            self.open_layers(1, 1 + (close > self.high[0] + 0.5 * atr) + rising, close)
            self.stop_price = close - 1.8 * atr
        elif close < self.low[0]:
            self.open_layers(-1, 1 + (close < self.low[0] - 0.5 * atr) + rising, close)
            self.stop_price = close + 1.8 * atr

    def manage(self, close: float) -> None:
        trend, reach = quotient(self.short[0], self.long[0]), 0.5 * self.atr[0]
        if self.side == 1:
            out = close < self.stop_price or (trend < 1 and close < self.ma[0])
            further = close > self.last_price + reach
        else:
            out = close > self.stop_price or (trend < 1 and close > self.ma[0])
            further = close < self.last_price - reach
        if out:
            self.go_flat()
        elif further and trend > 1 and self.layers < 3:
            self.add_layer(close)


class ATR(LayeredRule):
    def build(self) -> None:
        self.ma = ind.SMA(self.data.close, period=20)
        self.slope = self.ma - self.ma(-5)
        self.atr = ind.ATR(self.data, period=20)
        self.stop_price = 0.0

    def enter(self, close: float) -> None:
        ma, atr = self.ma[0], self.atr[0]
        upper, lower = ma + 1.5 * atr, ma - 1.5 * atr
        if close > upper:
            self.open_layers(1, 1 + (close > upper + 0.5 * atr) + (self.slope[0] > 0), close)
            self.stop_price = close - 1.2 * atr
        elif close < lower:
            self.open_layers(-1, 1 + (close < lower - 0.5 * atr) + (self.slope[0] < 0), close)
            self.stop_price = close + 1.2 * atr

    def manage(self, close: float) -> None:
        ma, atr = self.ma[0], self.atr[0]
        if self.side == 1:
            out = close < self.stop_price or close < ma + 0.75 * atr
            further = close > self.last_price + 0.5 * atr and close > ma + 1.5 * atr
        else:
            out = close > self.stop_price or close > ma - 0.75 * atr
            further = close < self.last_price - 0.5 * atr and close < ma - 1.5 * atr
        if out:
            self.go_flat()
        elif further and self.layers < 3:
            self.add_layer(close)

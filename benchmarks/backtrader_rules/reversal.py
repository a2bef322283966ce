"""The rules of the reversal expert (Algorithms 4 to 6) for backtrader."""

# ruff: noqa: D101, D102 - what each rule does is said once, in strategies/

from __future__ import annotations

import backtrader as bt

from backtrader_rules.layered import LayeredRule, quotient

ind = bt.indicators


class Bollinger(LayeredRule):
    def build(self) -> None:
        close = self.data.close
        self.bands = ind.BollingerBands(close, period=20, devfactor=1.8)
        self.previous_middle = self.bands.mid(-1)
        self.atr = ind.ATR(self.data, period=14)
        self.rsi = bt.talib.RSI(close, timeperiod=14)
        self.momentum = close / close(-5) - 1.0
        self.mean_volume = ind.SMA(self.data.volume, period=5)(-1)
        self.age = 0

    def enter(self, close: float) -> None:
        busy = quotient(self.data.volume[0], self.mean_volume[0]) > 1.2
        oversold = (self.rsi[0] < 35) + (self.momentum[0] < -0.02) + busy
        overbought = (self.rsi[0] > 65) + (self.momentum[0] > 0.02) + busy
        if close < self.bands.bot[0] and oversold:
            self.open_layers(1, oversold, close)
        elif close > self.bands.top[0] and overbought:
            self.open_layers(-1, overbought, close)
        self.age = 0

    def manage(self, close: float) -> None:
        self.age += 1
        middle, momentum, before = self.bands.mid[0], self.momentum[0], self.data.close[-1]
        if self.side == 1:
            reached = close >= middle and momentum < 0
            outside, was_outside = close < self.bands.bot[0], before < self.bands.bot[-1]
            worse, waiting = close < self.last_price, close < middle
        else:
            reached = close <= middle and momentum > 0
            outside, was_outside = close > self.bands.top[0], before > self.bands.top[-1]
            worse, waiting = close > self.last_price, close > middle
        add = (outside and worse) or (self.age >= 5 and waiting) or (was_outside and not outside)
        if reached or self.lost(close, 1.8 * self.atr[0]):
            self.go_flat()
        elif self.layers < 3 and add:
            self.add_layer(close)
            self.age = 0


class RSI(LayeredRule):
    def build(self) -> None:
        close = self.data.close
        self.rsi = bt.talib.RSI(close, timeperiod=14)
        self.atr = ind.ATR(self.data, period=14)
        self.rsi_momentum = self.rsi - self.rsi(-3)
        self.trend = close / close(-5) - 1.0
        self.mean_volume = ind.SMA(self.data.volume, period=5)(-1)
        self.price_low, self.price_high = (
            f(close, period=14)(-1) for f in (ind.Lowest, ind.Highest)
        )
        self.rsi_low, self.rsi_high = (
            f(self.rsi, period=14)(-1) for f in (ind.Lowest, ind.Highest)
        )

    def bullish(self, close: float) -> bool:
        return close < self.price_low[0] and self.rsi[0] > self.rsi_low[0]

    def bearish(self, close: float) -> bool:
        return close > self.price_high[0] and self.rsi[0] < self.rsi_high[0]

    def enter(self, close: float) -> None:
        rsi, momentum, trend = self.rsi[0], self.rsi_momentum[0], self.trend[0]
        spike = quotient(self.data.volume[0], self.mean_volume[0]) > 1.5
        if rsi < 35:
            signals = (momentum > 0) + (trend >= -0.01) + spike + self.bullish(close)
            if signals >= 2:
                self.open_layers(1, signals - 1, close)
        elif rsi > 65 and trend <= 0.01:
            signals = (momentum < 0) + (trend <= 0.01) + spike + self.bearish(close)
            self.open_layers(-1, max(1, signals - 1), close)

    def manage(self, close: float) -> None:
        rsi, momentum, atr = self.rsi[0], self.rsi_momentum[0], self.atr[0]
        if self.side == 1:
            back = rsi > 50 and momentum < 0
            target = close > 1.08 * self.entry_price and rsi > 60
            add = rsi < 35 - 5 * self.layers or self.bullish(close) or close < self.last_price - atr
        else:
            back = rsi < 50 and momentum > 0
            target = close < 0.92 * self.entry_price and rsi < 40
            add = rsi > 65 + 5 * self.layers or self.bearish(close) or close > self.last_price + atr
        if back or target or self.lost(close, 1.8 * atr):
            self.go_flat()
        elif self.layers < 3 and add:
            self.add_layer(close)


class KDJ(LayeredRule):
    def build(self) -> None:
        close = self.data.close
        self.top = ind.Highest(self.data.high, period=9)
        self.bottom = ind.Lowest(self.data.low, period=9)
        self.atr = ind.ATR(self.data, period=14)
        self.mean_volume = ind.SMA(self.data.volume, period=5)(-1)
        self.price_low, self.price_high = (
            f(close, period=9)(-1) for f in (ind.Lowest, ind.Highest)
        )
        self.rsv = self.k = self.d = 50.0
        self.ks: list[float] = []
        self.warm = 17  # K from bar 8 on, nine of them before the bar that is compared

    def prenext(self) -> None:
        super().prenext()
        if len(self) >= 9:
            self.update()

    def update(self) -> None:
        top = max(self.data.high.get(size=9))
        bottom = min(self.data.low.get(size=9))
        if top > bottom:
            self.rsv = 100.0 * (self.data.close[0] - bottom) / (top - bottom)
        self.k_before, self.d_before = self.k, self.d
        self.k = 2 / 3 * self.k + 1 / 3 * self.rsv
        self.d = 2 / 3 * self.d + 1 / 3 * self.k
        self.ks.append(self.k)

    def next(self) -> None:
        self.update()
        if len(self) <= self.warm:
            self.targets.append(0.0)
            return
        self.j, self.j_before = 3 * self.k - 2 * self.d, 3 * self.k_before - 2 * self.d_before
        self.golden = self.k_before <= self.d_before and self.k > self.d
        self.death = self.k_before >= self.d_before and self.k < self.d
        super().next()

    def enter(self, close: float) -> None:
        busy = quotient(self.data.volume[0], self.mean_volume[0]) > 1.2
        rises, falls = close > self.data.close[-1], close < self.data.close[-1]
        buys, sells = self.golden + busy + rises, self.death + busy + falls
        if (self.j < 10 or self.k < 20) and buys >= 2:
            self.open_layers(1, buys - 1, close)
        elif self.j > 90 and self.k > 80 and (self.death or (falls and busy)):
            self.open_layers(-1, max(1, sells - 1), close)

    def manage(self, close: float) -> None:
        k, j, jump = self.k, self.j, self.j - self.j_before
        earlier = self.ks[-10:-1]
        if self.side == 1:
            out = (self.death and k > 70) or (j > 80 and jump < -10)
            target = close > 1.08 * self.entry_price and (j > 70 or k > 70)
            diverges = close < self.price_low[0] and k > min(earlier)
            add = j < 10 - 10 * self.layers or self.golden or diverges
        else:
            out = (self.golden and k < 30) or (j < 20 and jump > 10)
            target = close < 0.92 * self.entry_price and (j < 30 or k < 30)
            diverges = close > self.price_high[0] and k < max(earlier)
            add = j > 90 + 10 * self.layers or self.death or diverges
        if out or target or self.lost(close, 1.8 * self.atr[0]):
            self.go_flat()
        elif self.layers < 3 and add:
            self.add_layer(close)

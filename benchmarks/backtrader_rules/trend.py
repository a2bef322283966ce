"""The rules of the trend expert (Algorithms 1 to 3) for backtrader."""

# ruff: noqa: D101, D102 - what each rule does is said once, in strategies/

from __future__ import annotations

import backtrader as bt

from backtrader_rules.layered import LayeredRule, quotient

ind = bt.indicators


class MACross(LayeredRule):
    max_layers = 4

    def build(self) -> None:
        self.fast = ind.SMA(self.data.close, period=5)
        self.slow = ind.SMA(self.data.close, period=20)
        self.atr = ind.ATR(self.data, period=14)
        self.trend = ind.ROC100(self.data.close, period=5)
        self.high = ind.Highest(self.data.high, period=20)
        self.low = ind.Lowest(self.data.low, period=20)
        self.slow_before = self.slow(-1)
        self.widening = 1.0

    def cross_up(self) -> bool:
        return self.fast[-1] <= self.slow[-1] and self.fast[0] > self.slow[0]

    def cross_down(self) -> bool:
        return self.fast[-1] >= self.slow[-1] and self.fast[0] < self.slow[0]

    def enter(self, close: float) -> None:
        spread = (self.fast[0] - self.slow[0]) / self.slow[0]
        trend = self.trend[0] / 100.0
        if self.cross_up() or spread > 0.02 or trend > 0.03:
            self.open_layers(1, 1, close)
        elif self.cross_down() and trend < -0.02:
            self.open_layers(-1, 1, close)
        self.widening = 1.0

    def wants_more(self, close: float) -> bool:
        fast, slow = self.fast[0], self.slow[0]
        gap, gap_before = fast - slow, self.fast[-1] - self.slow[-1]
        if self.side == 1:
            if close > self.high[-1]:
                return True
            if gap / slow > 0.02 and gap > gap_before:
                return True
            return fast > slow and slow < close <= fast
        if close < self.low[-1]:
            return True
        if gap / slow < -0.02 and gap < gap_before:
            return True
        return fast < slow and slow > close >= fast

    def manage(self, close: float) -> None:
        trend = self.side * self.trend[0] / 100.0
        if trend > 0.05:
            self.widening = max(self.widening, 1.5)
        elif trend > 0.02:
            self.widening = max(self.widening, 1.2)
        crossed_back = self.cross_down() if self.side == 1 else self.cross_up()
        if self.lost(close, 1.5 * self.widening * self.atr[0]) and trend < -0.02:
            self.go_flat()
        elif self.layers < self.max_layers and self.wants_more(close):
            self.add_layer(close)
        if crossed_back and trend < -0.02:
            self.go_flat()


class Momentum(LayeredRule):
    def build(self) -> None:
        close = self.data.close
        blend = 0.5 * (close / close(-10)) + 0.3 * (close / close(-5)) + 0.2 * (close / close(-20))
        self.momentum = blend - 1.0
        self.acceleration = self.momentum - self.momentum(-5)
        self.atr = ind.ATR(self.data, period=14)
        self.rsi = bt.talib.RSI(close, timeperiod=14)
        self.mean_volume = ind.SMA(self.data.volume, period=5)(-1)

    def enter(self, close: float) -> None:
        volume = quotient(self.data.volume[0], self.mean_volume[0])
        momentum, acceleration, rsi = self.momentum[0], self.acceleration[0], self.rsi[0]
        if momentum > 0.02 and acceleration > 0 and rsi > 50 and volume > 1.2:
            self.open_layers(1, 1, close)
        elif momentum < -0.02 and acceleration < 0 and rsi < 40:
            self.open_layers(-1, 1, close)

    def manage(self, close: float) -> None:
        momentum, acceleration = self.side * self.momentum[0], self.side * self.acceleration[0]
        if self.lost(close, 1.5 * self.atr[0]) or momentum < 0.005:
            self.go_flat()
            return
        signals = [
            momentum > 0.02 * (1 + 0.5 * self.layers),
            self.side * (close / self.entry_price - 1) > 0.01 * self.layers,
            acceleration > 0.01,
            quotient(self.data.volume[0], self.mean_volume[0]) > 1.3,
        ]
        if self.layers < 3 and sum(signals) >= 2:
            self.add_layer(close)


class Turtle(LayeredRule):
    def build(self) -> None:
        self.entry_high = ind.Highest(self.data.high, period=20)(-1)
        self.entry_low = ind.Lowest(self.data.low, period=20)(-1)
        self.exit_high = ind.Highest(self.data.high, period=10)(-1)
        self.exit_low = ind.Lowest(self.data.low, period=10)(-1)
        self.atr = ind.ATR(self.data, period=20)
        self.max_layers = 5
        self.exposure, self.took_profit = 0.0, False

    def target(self) -> float:
        return self.side * min(1.0, self.exposure) if self.side else 0.0

    def enter(self, close: float) -> None:
        self.took_profit, self.exposure = False, 0.01 * close / self.atr[0]
        if close > self.entry_high[0]:
            self.open_layers(1, 1, close)
        elif close < self.entry_low[0]:
            self.open_layers(-1, 1, close)

    def manage(self, close: float) -> None:
        atr = self.atr[0]
        if self.side == 1:
            profit = close / self.entry_price - 1
            out = close < self.exit_low[0] or close < self.last_price - 2 * atr
            further = close > self.last_price + 0.5 * atr
        else:
            profit = 1 - close / self.entry_price
            out = close > self.exit_high[0] or close > self.last_price + 2 * atr
            further = close < self.last_price - 0.5 * atr
        if profit > 0.10 and self.layers > 1 and not self.took_profit:
            self.exposure *= (self.layers - 1) / self.layers
            self.layers -= 1
            self.took_profit = True
        if out:
            self.go_flat()
        elif further and self.layers < 5 and not self.took_profit:
            self.add_layer(close)
            self.exposure += 0.01 * close / atr

"""The roads into backtrader and vectorbt, and the plan of targets both of them trade."""

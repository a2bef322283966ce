"""What a run leaves behind: decisions, equity, orders and figures."""

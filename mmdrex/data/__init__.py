"""Prices: loading, checking, simulating, splitting; the lowest layer above the rules."""

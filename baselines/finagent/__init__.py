"""FinAgent (Zhang et al. 2024, arXiv 2402.18485) without its news, written from its description."""

from baselines.finagent.agent import FinAgent

__all__ = ["FinAgent"]

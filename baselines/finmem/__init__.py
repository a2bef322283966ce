"""FinMem (Yu et al. 2023, arXiv 2311.13743) without its news, written from its description."""

from baselines.finmem.agent import FinMem

__all__ = ["FinMem"]

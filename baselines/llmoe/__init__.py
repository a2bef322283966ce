"""LLMoE (Liu and Lo 2025, arXiv 2501.09636) without its news, written from its description."""

from baselines.llmoe.agent import LLMoE

__all__ = ["LLMoE"]

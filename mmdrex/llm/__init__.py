"""Language models behind one interface: every call is recorded, limited and answered from a cache.

``LLM.open("openai:gpt-5", ledger="calls.sqlite")`` is what an agent asks; see ``BACKENDS`` for the
kinds of models. The openai client, torch and transformers load on first use.
"""

from __future__ import annotations

from mmdrex.llm.backends import BACKENDS
from mmdrex.llm.budget import Budget
from mmdrex.llm.ledger import Ledger
from mmdrex.llm.llm import LLM
from mmdrex.llm.request import Message, Reply, Request

__all__ = ["BACKENDS", "LLM", "Budget", "Ledger", "Message", "Reply", "Request"]

"""How much may be asked: calls, tokens, money."""

from __future__ import annotations

from dataclasses import dataclass, field

from mmdrex.errors import BudgetError
from mmdrex.llm.request import Reply


@dataclass
class Budget:
    """Limits of one run; None is no limit. Answers from the ledger cost nothing.

    A limit is checked before a call: the call that crosses a limit of tokens or money is the last.

    Attributes
    ----------
    calls, tokens : int, optional
    money : float, optional
        In the currency of the backend's ``price``.
    """

    calls: int | None = None
    tokens: int | None = None
    money: float | None = None
    used: dict[str, float] = field(
        default_factory=lambda: {"calls": 0, "tokens": 0, "money": 0.0}, repr=False
    )

    def check(self) -> None:
        """Raise BudgetError where a limit is reached."""
        for name, used in self.used.items():
            limit = getattr(self, name)
            if limit is not None and used >= limit:
                raise BudgetError(
                    f"the budget of {limit:g} {name} is used up; every answer so far is kept: run "
                    "again with the same ledger and a larger budget to go on from here"
                )

    def check_priced(self, priced: bool) -> None:
        """Raise ValueError for a limit of money on a model whose price is not known."""
        if self.money is not None and not priced:
            raise ValueError(
                "a budget of money needs a price; give price=(per million prompt tokens, per "
                "million reply tokens) or limit calls or tokens"
            )

    def count(self, reply: Reply | None) -> None:
        """Count one call; a failed one has no reply."""
        self.used["calls"] += 1
        if reply is not None:
            self.used["tokens"] += (reply.prompt_tokens or 0) + (reply.reply_tokens or 0)
            self.used["money"] += reply.price or 0.0

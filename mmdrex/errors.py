"""The errors that a caller of the package may want to catch."""

from __future__ import annotations


class BarsError(ValueError):
    """Prices that can't be used: the message names the file, the row and the fix."""


class TooFewBarsError(BarsError):
    """An asset too short for one decision: a run over many assets skips it and lists it."""


class RouterError(ValueError):
    """A router that can't be found or loaded: the message names what is wrong and the fix."""


class LLMError(ValueError):
    """A language model that can't be asked at all: the message names what is wrong and the fix."""


class NoReplyError(RuntimeError):
    """A question that stayed without a usable reply after the last retry; it is on record."""


class BudgetError(RuntimeError):
    """The calls, tokens or money allowed are used up; what was answered is kept."""


class LossError(ValueError):
    """A loss that is not a number: training has stopped and the batch is kept for inspection."""

"""The errors that a caller of the package may want to catch, and how a program ends with one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


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


@contextmanager
def one_line() -> Iterator[None]:
    """End the program where input is bad: one line on stderr, exit code 2, no traceback."""
    try:
        yield
    except OSError as error:
        named = f": {error.filename}" if error.filename else ""
        fail(f"{error.strerror}{named}" if error.strerror else str(error))
    except SyntaxError as error:  # in a file of the user's own
        fail(f"{error.filename}, line {error.lineno}: {error.msg}")
    except (ValueError, ImportError, BudgetError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


def fail(message: str) -> NoReturn:
    """End the program with one line on stderr and exit code 2."""
    if message:  # none where the help was printed instead
        sys.stderr.write(f"mmdrex: {' '.join(message.split())}\n")
    sys.exit(2)

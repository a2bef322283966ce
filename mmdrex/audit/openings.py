"""How often a test split was opened: who looks often enough finds something by chance."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

OPENINGS = "test_split.jsonl"


def log_opening(folder: Path, who: str) -> int:
    """Append when the test split was opened, and by whom; return how often it has been.

    Parameters
    ----------
    folder : path
        Of the run; gets the file ``test_split.jsonl``, a line per opening.
    who : str
        What is scored, such as the digest of a router.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / OPENINGS
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"time": now, "who": who}) + "\n")
    return len(path.read_text(encoding="utf-8").splitlines())

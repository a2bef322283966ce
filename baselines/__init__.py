"""Strategies MM-DREX is measured against, in the order of MM-DREX, Table 2.

``BASELINES`` maps a name to its class. A baseline produces targets in [-1, 1] like every rule, so
it trades in both engines at the same fills and costs. The table is empty until the first baseline
arrives: one new file here and one line below.
"""

from __future__ import annotations

BASELINES: dict[str, type] = {}

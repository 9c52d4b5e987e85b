"""Resident memory of the process tree: idle, and after many calls."""

from __future__ import annotations

import time

from bench.figures.cpu import told, whole
from bench.rig import subjects
from bench.rig.callers import spend
from bench.rig.processes import Hop
from bench.rig.table import Figure

CONNECTIONS = 32
SETTLED_S = 1.5


def figures(upstream: Hop, calls: int) -> list[Figure]:
    with subjects.trunkline(upstream.port) as hop:
        time.sleep(SETTLED_S)
        idle = hop.rss_mb()
        load = whole(hop.port)
        load.each = -(-calls // CONNECTIONS)
        spent = spend(hop, load)
        time.sleep(SETTLED_S)
        after = hop.rss_mb()
    told(hop, "memory", spent.errors, spent.example)
    return [
        Figure("RSS idle", "MB", 80, [idle], kind="plain"),
        Figure(f"RSS after {calls:,} calls", "MB", 110, [after], kind="plain", errors=spent.errors),
    ]

"""Requests and tokens per minute: leaking buckets, and the port to whoever keeps them.

Of a bucket two moments are kept: `full`, when it will be full again if nobody takes more, and `at`,
when it was last looked at. A unit puts `full` off by a minute divided by the limit; as much as a
minute's worth may be taken at once. So a bucket of which nothing is known is a full one, and one
that was left alone for a while need not be kept. A clock that was put back is noticed by `at`, and
`full` goes back with it. Other limits for a bucket leave its level where it was, as a share.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

MINUTE_NS = 60 * 10**9
AT, FULL = 0, 1
_MOST_KEPT = 10_000


class Draw(NamedTuple):
    """So many units of one bucket."""

    bucket: str
    per_minute: int
    units: int


class Level(NamedTuple):
    """A bucket after it was asked."""

    used_ns: int
    """How long it takes to be full again; what was asked for is in it unless it was refused."""
    wait_ns: int
    """How long it takes until there is room; 0 = there was."""


class Buckets(Protocol):
    """Who keeps buckets, for as many as share them; safe to use from any thread."""

    @property
    def trouble(self) -> str:
        """Why others who should share these buckets do not; "" = they do."""

    async def take(self, draws: Sequence[Draw]) -> list[Level]:
        """Take all or nothing: where one has no room, none is taken.

        More than a minute's worth passes when the bucket is full, and is paid off later.
        """

    def give_back(self, draws: Sequence[Draw]) -> None:
        """Give back what was not used; negative takes what was used beyond, room or not."""

    def close(self) -> None:
        """Let go of what is open; a later use opens it again."""


class Cell(Protocol):
    """Where a bucket is kept: the nanoseconds `AT` and `FULL`."""

    def __getitem__(self, place: int, /) -> int: ...

    def __setitem__(self, place: int, value: int, /) -> None: ...


def take(cells: Sequence[Cell], draws: Sequence[Draw], now_ns: int) -> list[Level]:
    """Take `draws` of their cells, all or nothing."""
    room, states = True, []
    for cell, (_, per_minute, units) in zip(cells, draws, strict=True):
        used_ns, cost_ns = _used_ns(cell, now_ns), units * MINUTE_NS // per_minute
        wait_ns = used_ns + (cost_ns if cost_ns < MINUTE_NS else MINUTE_NS) - MINUTE_NS
        room = room and wait_ns <= 0
        states.append((used_ns, cost_ns, wait_ns))
    if not room:
        return [Level(used_ns, max(wait_ns, 0)) for used_ns, _, wait_ns in states]
    levels = []
    for cell, (used_ns, cost_ns, _) in zip(cells, states, strict=True):
        cell[FULL] = now_ns + used_ns + cost_ns
        levels.append(Level(used_ns + cost_ns, 0))
    return levels


def give_back(cells: Sequence[Cell], draws: Sequence[Draw], now_ns: int) -> None:
    """Give `draws` back to their cells."""
    for cell, (_, per_minute, units) in zip(cells, draws, strict=True):
        cell[FULL] = now_ns + _used_ns(cell, now_ns) - units * MINUTE_NS // per_minute


def _used_ns(cell: Cell, now_ns: int) -> int:
    """Bring a cell up to date; return how long it takes to be full again."""
    at_ns, full_ns = cell[AT], cell[FULL]
    if now_ns < at_ns:
        full_ns -= at_ns - now_ns
        cell[FULL] = full_ns
    cell[AT] = now_ns
    return full_ns - now_ns if full_ns > now_ns else 0


class InProcessBuckets:
    """Buckets of this process alone."""

    trouble = ""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        """`now_ns` tells nanoseconds since whenever."""
        self._now_ns = now_ns
        self._lock = threading.Lock()
        self._cells: dict[str, list[int]] = {}
        self._most = _MOST_KEPT

    async def take(self, draws: Sequence[Draw]) -> list[Level]:
        """Take all or nothing; see `Buckets.take`."""
        with self._lock:
            now_ns = self._now_ns()
            return take(self._found(draws, now_ns), draws, now_ns)

    def give_back(self, draws: Sequence[Draw]) -> None:
        """Give back what was not used; see `Buckets.give_back`."""
        with self._lock:
            now_ns = self._now_ns()
            give_back(self._found(draws, now_ns), draws, now_ns)

    def close(self) -> None:
        """Nothing is open."""

    def _found(self, draws: Sequence[Draw], now_ns: int) -> list[list[int]]:
        if len(self._cells) > self._most:
            cells = self._cells.items()
            self._cells = {name: cell for name, cell in cells if cell[FULL] > now_ns}
            self._most = max(_MOST_KEPT, 2 * len(self._cells))
        return [self._cells.setdefault(draw.bucket, [now_ns, now_ns]) for draw in draws]

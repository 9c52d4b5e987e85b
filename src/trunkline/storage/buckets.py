"""Buckets of all processes of one machine: a file that each of them has in its memory.

The file is a table of cells under one lock, which the kernel takes back from a process that dies.
Each number is written by one instruction, in an order in which every state is a good one: a process
that is killed in between has taken a little more or less than it meant to, once. A bucket has eight
cells where it may stand, by its name's digest; one that is full again gives way to any other.

Time is the machine's monotonic clock, which its processes have in common. After a restart of the
machine it begins anew, and the buckets take that for a clock that was put back.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

from trunkline.accounting.rates import (
    AT,
    FULL,
    Cell,
    Draw,
    InProcessBuckets,
    Level,
    give_back,
    take,
)

_WORDS = 4
"""Of eight bytes, in a cell: `AT`, `FULL`, and the digest of the bucket's name."""
_WAYS = 8
_SETS = 8192
_SIZE_BYTES = _SETS * _WAYS * _WORDS * 8
_NAME = 2
_PATIENCE_S = 0.02
"""A process that stands still with the lock must not stop the others."""
_HASTE_S = 1.0
"""For so long after that nobody waits for it."""
_PAUSE_S = 0.0001
_REST_S = 10.0
_MOST_KNOWN = 8192
_TROUBLE = "rate limits hold for each process by itself"
T = TypeVar("T")
_log = logging.getLogger("trunkline.storage")
_open: weakref.WeakSet[FileBuckets] = weakref.WeakSet()


class FileBuckets:
    """Buckets in a file; where it cannot be used, those of this process alone."""

    def __init__(self, path: Path, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        """Take the file, which is made at the first use."""
        self._path = path
        self._now_ns = now_ns
        self._own = InProcessBuckets(now_ns)
        self._fd = -1
        self._words: memoryview | None = None
        self.leave_parent()
        _open.add(self)

    @property
    def trouble(self) -> str:
        """Whether the file cannot be used; see `Buckets.trouble`."""
        return _TROUBLE if self._rests_until_s else ""

    def leave_parent(self) -> None:
        """Begin afresh, in a forked child: a lock on the parent's descriptor is the parent's."""
        self._lock = threading.Lock()
        self._rests_until_s = self._hasty_until_s = 0.0
        self._forget()

    async def take(self, draws: Sequence[Draw]) -> list[Level]:
        """Take all or nothing; see `Buckets.take`."""
        with self._lock:
            if self._words is not None or self._opened():
                return self._do(take, draws)
        return await self._own.take(draws)

    def give_back(self, draws: Sequence[Draw]) -> None:
        """Give back what was not used; see `Buckets.give_back`."""
        with self._lock:
            if self._words is not None or self._opened():
                return self._do(give_back, draws)
        return self._own.give_back(draws)

    def close(self) -> None:
        """Let go of the file; a later use opens it again."""
        with self._lock:
            self._forget()

    def _do(
        self, work: Callable[[Sequence[Cell], Sequence[Draw], int], T], draws: Sequence[Draw]
    ) -> T:
        """Do something to the buckets of `draws`, while nobody else does."""
        now_s = time.monotonic()
        held = _claimed(self._fd, 0.0 if now_s < self._hasty_until_s else _PATIENCE_S)
        if not held:
            self._hasty_until_s = now_s + _HASTE_S
        try:
            now_ns = self._now_ns()
            return work([self._cell(draw.bucket, now_ns) for draw in draws], draws, now_ns)
        finally:
            if held:
                fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _cell(self, bucket: str, now_ns: int) -> memoryview:
        """Return where a bucket stands; one that stands nowhere is full."""
        place, first, second = _place(bucket)
        cell = self._known.get(bucket)
        if cell is not None and cell[_NAME] == first and cell[_NAME + 1] == second:
            return cell
        words = self._words
        assert words is not None
        cells = [words[at : at + _WORDS] for at in range(place, place + _WAYS * _WORDS, _WORDS)]
        for cell in cells:
            if cell[_NAME] == first and cell[_NAME + 1] == second:
                break
        else:  # the one that is full soonest, or has been; its name is forgotten
            cell = min(cells, key=lambda each: each[FULL])
            cell[_NAME] = 0  # nobody's, until all of it is the new one's
            cell[AT] = cell[FULL] = now_ns
            cell[_NAME + 1] = second
            cell[_NAME] = first
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[bucket] = cell
        return cell

    def _opened(self) -> bool:
        """Open the file; False = it cannot be used, which is tried again after a while."""
        if time.monotonic() < self._rests_until_s:
            return False
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            _claimed(self._fd, _PATIENCE_S)  # done without, zeros may be written twice
            if os.fstat(self._fd).st_size < _SIZE_BYTES:
                # Written out, for a hole that finds no room on the disk later kills the process.
                os.pwrite(self._fd, bytes(_SIZE_BYTES), 0)
                os.fsync(self._fd)
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            self._words = memoryview(mmap.mmap(self._fd, _SIZE_BYTES)).cast("q")
        except (OSError, ValueError) as error:
            self._forget()
            if not self._rests_until_s:
                _log.error("%s: %s: %s", _TROUBLE, self._path, error)
            self._rests_until_s = time.monotonic() + _REST_S
            return False
        self._rests_until_s = 0.0
        return True

    def _forget(self) -> None:
        self._words = None  # the memory goes with the last view of it
        self._known: dict[str, memoryview] = {}
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _claimed(fd: int, patience_s: float) -> bool:
    """Lock a file; False = somebody stands still with the lock, and it is done without."""
    until_s = 0.0
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            now_s = time.monotonic()
            until_s = until_s or now_s + patience_s
            if now_s >= until_s:
                return False
            time.sleep(_PAUSE_S)
        else:
            return True


@lru_cache(maxsize=8192)
def _place(bucket: str) -> tuple[int, int, int]:
    """Return which set of cells a name belongs to, and the two words it is known by there."""
    digest = blake2b(bucket.encode(errors="replace"), digest_size=24).digest()
    place, first, second = (
        int.from_bytes(digest[at : at + 8], "little", signed=True) for at in (0, 8, 16)
    )
    return place % _SETS * _WAYS * _WORDS, first or 1, second


def _after_fork_in_child() -> None:
    for buckets in _open:
        buckets.leave_parent()


os.register_at_fork(after_in_child=_after_fork_in_child)

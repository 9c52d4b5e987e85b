"""Buckets of all replicas, in Valkey: one script over all buckets of a call, by Valkey's clock.

A thread asks: whatever is wanted while one question is under way goes with the next, so that many
calls cost one round trip, and no loop waits for a socket. While Valkey is away the buckets of this
machine count, which are kept up all the time: no machine lets more through than the limit then, and
nobody waits to find out whether it is back. What Valkey forgets in a restart may be taken again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from trunkline.accounting.rates import Buckets, Draw, Level
from trunkline.storage.valkey import Valkey

# Microseconds since 2026, so that a double has them to the hundredth; `at` and `full` as in
# `trunkline.accounting.rates`. What is full again is forgotten. ARGV has for each key: 1 in the
# last one of those that are taken together, 2 in it where there need be no room; the limit; units.
SCRIPT = """
local time = redis.call('TIME')
local now = (time[1] - 1767225600) * 1e6 + time[2]
local answer, draws, room = {}, {}, true
local function keep(key, used)
    local most = string.format('%.0f', used / 1000 + 1000)
    redis.call('SET', key, string.format('%.2f %.2f', now, now + used), 'PX', most)
end
for place, key in ipairs(KEYS) do
    local flags = tonumber(ARGV[3 * place - 2])
    local limit, units = tonumber(ARGV[3 * place - 1]), tonumber(ARGV[3 * place])
    local cost, used = units * 6e7 / limit, 0
    local found = redis.call('GET', key)
    if found then
        local at, full = string.match(found, '(%S+) (%S+)')
        used = math.max(tonumber(full) - math.max(tonumber(at), now), 0)
    end
    local wait = math.max(used + math.min(cost, 6e7) - 6e7, 0)
    if wait < 0.5 then wait = 0 end
    room = room and (wait == 0 or flags >= 2)
    draws[#draws + 1] = {key = key, found = found, used = used, cost = cost, wait = wait}
    if flags % 2 == 1 then
        for _, draw in ipairs(draws) do
            if room then
                draw.used, draw.wait = math.max(draw.used + draw.cost, 0), 0
            end
            if draw.used > 0 or draw.found then keep(draw.key, draw.used) end
            answer[#answer + 1] = math.ceil(draw.used)
            answer[#answer + 1] = math.ceil(draw.wait)
        end
        draws, room = {}, true
    end
end
return answer
"""
WITHOUT = "rate limits hold for each machine by itself"
_LAST, _FORCED = 1, 2
_MOST_TOGETHER = 100
_US = 1000
"""Nanoseconds."""
_log = logging.getLogger("trunkline.storage")
_open: weakref.WeakSet[ValkeyBuckets] = weakref.WeakSet()


class _Wanted(NamedTuple):
    draws: Sequence[Draw]
    forced: bool
    answer: Future[list[Level] | None]


class ValkeyBuckets:
    """Buckets in Valkey; while it is away, those of this machine."""

    def __init__(self, valkey: Valkey, name: str, local: Buckets) -> None:
        """`name` tells those who share these buckets from others in the same Valkey."""
        self._valkey = valkey
        self._prefix = f"{{trunkline}}:{name}:rate:"
        self._local = local
        self._away = False
        self.leave_parent()
        _open.add(self)

    def leave_parent(self) -> None:
        """Begin afresh, in a forked child: the thread is its parent's."""
        self._lock = threading.Lock()
        self._waiting: list[_Wanted] = []
        self._asking = False
        self._hands: ThreadPoolExecutor | None = None

    @property
    def trouble(self) -> str:
        """Whether Valkey is away; asks for the next time, without waiting."""
        self._post((), forced=True)
        return (self._local.trouble or WITHOUT) if self._away else ""

    async def take(self, draws: Sequence[Draw]) -> list[Level]:
        """Take all or nothing; see `Buckets.take`."""
        asked = self._post(draws, forced=False)
        if asked is not None:
            try:
                levels = await asyncio.wrap_future(asked)
            except BaseException:
                asked.add_done_callback(partial(self._let_go, draws))
                raise
            if levels is not None:
                if not any(level.wait_ns for level in levels):
                    self._local.give_back(_negative(draws))
                return levels
        return await self._local.take(draws)

    def give_back(self, draws: Sequence[Draw]) -> None:
        """Give back what was not used; see `Buckets.give_back`."""
        self._local.give_back(draws)
        self._post(_negative(draws), forced=True)

    def close(self) -> None:
        """Say what is still to be said, and let go of the server; a later use opens it again."""
        with self._lock:
            hands, self._hands = self._hands, None
        if hands is not None:
            hands.shutdown()
        self._valkey.close()
        self._local.close()

    def _post(self, draws: Sequence[Draw], *, forced: bool) -> Future[list[Level] | None] | None:
        """Have the thread ask; None = it cannot, at most it is tried whether Valkey is back."""
        away = self._away
        if away:
            if not self._valkey.usable:
                return None
            draws = ()
        wanted = _Wanted(draws, forced, Future())
        with self._lock:
            self._waiting.append(wanted)
            if not self._asking and not self._start():
                self._waiting.clear()
                return None
        return None if away else wanted.answer

    def _start(self) -> bool:
        """Have the thread begin; False = there is none now, as where no more may be started."""
        if self._hands is None:
            self._hands = ThreadPoolExecutor(1, thread_name_prefix="trunkline-rates")
        try:
            self._hands.submit(self._ask_all)
        except RuntimeError as error:
            _log.warning("Valkey cannot be asked, %s: %s", WITHOUT, error)
            self._hands, self._away = None, True
            return False
        self._asking = True
        return True

    def _ask_all(self) -> None:
        """Ask for all that is wanted, until nothing is."""
        while True:
            with self._lock:
                batch, self._waiting = (
                    self._waiting[:_MOST_TOGETHER],
                    self._waiting[_MOST_TOGETHER:],
                )
                if not batch:
                    self._asking = False
                    return
            self._ask([each for each in batch if each.answer.set_running_or_notify_cancel()])

    def _ask(self, batch: Sequence[_Wanted]) -> None:
        levels = None
        try:
            levels = self._levels(batch)
        except Exception:  # whoever waits, now or later, would wait for good
            _log.exception("Valkey could not be asked, %s", WITHOUT)
        self._away = levels is None
        for place, wanted in enumerate(batch):
            wanted.answer.set_result(None if levels is None else levels[place])

    def _levels(self, batch: Sequence[_Wanted]) -> list[list[Level]] | None:
        """Ask, and return what was taken for each; None = Valkey is away."""
        keys: list[bytes] = []
        given: list[int] = []
        for wanted in batch:
            for left, draw in zip(range(len(wanted.draws) - 1, -1, -1), wanted.draws, strict=True):
                keys.append(f"{self._prefix}{draw.bucket}".encode(errors="backslashreplace"))
                flags = (0 if left else _LAST) + (_FORCED if wanted.forced else 0)
                given += (flags, draw.per_minute, draw.units)
        answer = self._valkey.ask(keys, given)
        if answer is None:
            return None
        said = iter(answer)
        return [[Level(next(said) * _US, next(said) * _US) for _ in w.draws] for w in batch]

    def _let_go(self, draws: Sequence[Draw], asked: Future[list[Level] | None]) -> None:
        """Give back what was taken for somebody who did not wait for it."""
        if asked.cancelled() or (levels := asked.result()) is None:
            return
        if not any(level.wait_ns for level in levels):
            self._post(_negative(draws), forced=True)


def _negative(draws: Sequence[Draw]) -> list[Draw]:
    return [draw._replace(units=-draw.units) for draw in draws]


def _after_fork_in_child() -> None:
    for buckets in _open:
        buckets.leave_parent()


os.register_at_fork(after_in_child=_after_fork_in_child)

"""Weigh every attempt: hold before it, journal it begun and ended, settle it at its cost.

The hold of a hard budget is an estimate. Twice a second it is compared with what a streamed answer
has cost so far, and grows before that exceeds it. Where the budget has no more, the answer ends
like one that reached its `max_tokens`. Each time `Begun` is written anew, so that an attempt that
is never ended is settled at what it held last.

Where a budget caps answers, one that is too long for what is left goes out with a lower cap.
"""

from __future__ import annotations

import asyncio
import weakref
from contextlib import suppress
from typing import NamedTuple

from msgspec.structs import replace

from trunkline.accounting.account import left_by
from trunkline.accounting.estimate import Estimates
from trunkline.accounting.weigh import most, weigh
from trunkline.clock import Clock, Timer
from trunkline.errors import BudgetExhausted, BudgetHeld, RecordError, code_of
from trunkline.observability.redact import scrub
from trunkline.reply import Reply
from trunkline.service import Layer, Service
from trunkline.types import (
    Attempt,
    Begun,
    Book,
    Call,
    Cost,
    CountTokens,
    Deployment,
    Ended,
    Finish,
    Frame,
    Hold,
    Mark,
    Outcome,
    Tab,
    Usage,
    UsageReport,
)
from trunkline.types.answer import BUDGET_CUT

_LOOK_S = 0.5
_PARTS = (1, 2, 4, 8, 16)
"""Where a budget has less than is wanted, a part of it will do for a while."""
_MOST_CAPS = 4
"""Several budgets may each have less left than the one before, and what is left may be gone."""
_CUT = Mark.FINISH | Mark.USAGE | Mark.TERMINAL


def meter(book: Book, estimates: Estimates, clock: Clock) -> Layer:
    """Hold, journal and settle each attempt; nothing is sent before `Begun` is written.

    Counting tokens costs nothing, so of that nothing is held or written.
    """
    tools = _Tools(book, estimates, clock)

    def layer(inner: Service) -> Service:
        async def service(call: Call) -> Reply:
            if isinstance(call, CountTokens):
                return await inner(call)
            target, tab = call.target, call.tab
            assert target is not None
            assert tab is not None
            try:
                hold = await tab.begin(target, estimates.quote(call, target))
            except (BudgetExhausted, BudgetHeld) as refusal:
                call, hold = await _begin_shorter(call, estimates, refusal)
            weighing = _Weighing(tools, call, target, tab, hold)
            try:
                reply = await inner(call)
            except BaseException as error:
                cancelled = isinstance(error, asyncio.CancelledError)
                weighing.end("cancelled" if cancelled else "failed", error, None)
                raise
            weighing.follow(reply)
            return reply

        return service

    return layer


async def _begin_shorter(
    call: Call, estimates: Estimates, refusal: BudgetExhausted | BudgetHeld
) -> tuple[Call, Hold]:
    """Hold money for a shorter answer, if the budget that refused allows that.

    Raises:
        LocalRefusal: none of them does, or there is too little left for an answer.
    """
    target, tab, trail = call.target, call.tab, call.trail
    assert target is not None
    assert tab is not None
    assert trail is not None
    for _ in range(_MOST_CAPS):
        left = left_by(refusal)
        cap = left and estimates.cap(call, target, left.nusd, proven=left.proven)
        if not cap:
            break
        call = replace(call, body=replace(call.body, max_output_tokens=cap))
        try:
            hold = await tab.begin(target, estimates.quote(call, target))
        except (BudgetExhausted, BudgetHeld) as error:
            refusal = error
        else:
            trail.route.append(f"{target.name}: output_capped {cap}")
            return call, hold
    raise refusal


class _Tools(NamedTuple):
    book: Book
    estimates: Estimates
    clock: Clock


class _Weighing:
    """One attempt under way: its records, and its hold, which grows with a streamed answer."""

    __slots__ = (
        "_attempt",
        "_call",
        "_hold",
        "_reply",
        "_seen_nusd",
        "_started_s",
        "_tab",
        "_target",
        "_task",
        "_timer",
        "_tools",
        "_weight",
    )

    def __init__(self, tools: _Tools, call: Call, target: Deployment, tab: Tab, hold: Hold) -> None:
        """Write `Begun`; where that fails, there was no attempt."""
        trail, clock = call.trail, tools.clock
        assert trail is not None
        self._tools = tools
        self._call = call
        self._target = target
        self._tab = tab
        self._hold = hold
        self._timer: Timer | None = None
        self._weight: tuple[Usage, Cost] | None = None
        """What the answer came to when it was cut."""
        self._attempt = Attempt(
            n=len(trail.attempts) + 1,
            deployment=target.name,
            started_ns=hold.at_ns,
            hold_nusd=hold.nusd or 0,
            price_snapshot=target.price.snapshot if target.price else "",
        )
        self._started_s = clock.monotonic_s()
        try:
            self._write_begun()
        except BaseException:
            tab.end(hold, Cost(0))
            raise
        trail.attempts.append(self._attempt)

    def end(self, outcome: Outcome, error: BaseException | None, reply: Reply | None) -> None:
        """Journal and settle the attempt."""
        if self._timer is not None:
            self._timer.cancel()
        attempt = self._attempt
        attempt.usage, attempt.cost = self._weight or self._weigh(error, reply)
        attempt.outcome = outcome
        attempt.latency_ms = (self._tools.clock.monotonic_s() - self._started_s) * 1000
        if error is not None:
            attempt.error_code = code_of(error)
            attempt.error = scrub(error, 500)
        if reply is not None:
            attempt.finish, attempt.upstream_id = reply.finish, reply.upstream_id
        self._tab.end(self._hold, attempt.cost)
        self._tools.book.append(_ended(self._call, attempt), flush=False)

    def follow(self, reply: Reply) -> None:
        """Go with an answer to its end."""
        elapsed_s = self._tools.clock.monotonic_s() - self._started_s
        self._attempt.first_token_ms = elapsed_s * 1000
        reply.on_close(lambda reply: self.end(reply.outcome or "failed", reply.error, reply))
        if self._call.stream and self._hold.hard_nusd:
            # Weak, or the timer would keep a reply that its reader dropped.
            self._reply = weakref.ref(reply)
            self._seen_nusd = 0
            self._wait()

    def _weigh(self, error: BaseException | None, reply: Reply | None) -> tuple[Usage, Cost]:
        return weigh(self._call, self._target, self._tools.estimates, error, reply)

    def _write_begun(self) -> None:
        self._tools.book.append(
            _begun(self._call, self._target, self._attempt, self._hold), flush=True
        )

    # --- while an answer streams --------------------------------------------------------------

    def _wait(self) -> None:
        self._timer = self._tools.clock.call_later(_LOOK_S, self._look)

    def _look(self) -> None:
        """Have the hold grow if most of it is used."""
        reply, hold_nusd = self._unfinished(), self._hold.hard_nusd
        if reply is None or hold_nusd is None:
            return
        usage, cost = self._weigh(None, reply)
        used_nusd = cost.nusd or 0
        wanted_nusd = 2 * max(hold_nusd, used_nusd)
        most_nusd = most(self._call, self._target, usage)
        if most_nusd is not None and used_nusd <= most_nusd:  # else the cap is not kept
            wanted_nusd = min(wanted_nusd, most_nusd)
        little = not reply.shown_frames or used_nusd * 4 <= hold_nusd * 3
        if little or wanted_nusd <= hold_nusd:
            self._seen_nusd = used_nusd
            self._wait()
            return
        # Kept, because the loop does not keep it.
        self._task = asyncio.create_task(self._top_up(used_nusd, wanted_nusd - hold_nusd))

    async def _top_up(self, used_nusd: int, more_nusd: int) -> None:
        """Ask for more, or for a part of it; without any, cut the answer before it is overdrawn."""
        hold_nusd = self._hold.hard_nusd or 0
        for part in _PARTS:
            if await self._tab.top_up(self._hold, max(1, more_nusd // part)):
                self._attempt.hold_nusd = self._hold.nusd or 0
                with suppress(RecordError):  # which the end will meet as well, and tell
                    self._write_begun()
                break
        else:
            reply = self._unfinished()
            if reply is not None and 2 * used_nusd - self._seen_nusd >= hold_nusd:
                self._cut(reply)
        if self._unfinished() is None:
            return
        self._seen_nusd = used_nusd
        self._wait()

    def _unfinished(self) -> Reply | None:
        """Return the answer if more of it may come."""
        reply = self._reply()
        return reply if reply and reply.outcome is None and reply.finish is None else None

    def _cut(self, reply: Reply) -> None:
        """End the answer as one that reached its length."""
        assert self._call.trail is not None
        self._call.trail.route.append(f"{self._target.name}: budget_cut")
        usage, _ = self._weight = self._weigh(None, reply)
        finishes = [
            Finish(choice=choice, reason="length", raw=BUDGET_CUT)
            for choice in range(self._call.body.choices)
            if choice not in reply.finished
        ]
        with suppress(Exception):  # a broken tail is told to the reader
            reply.finish_early(Frame(b"", _CUT, events=(*finishes, UsageReport(usage=usage))))


def _begun(call: Call, target: Deployment, attempt: Attempt, hold: Hold) -> Begun:
    who = call.principal
    return Begun(
        call_id=call.id,
        n=attempt.n,
        started_ns=attempt.started_ns,
        deployment=target.name,
        model=call.model or target.name,
        hold_nusd=hold.nusd,
        price_snapshot=attempt.price_snapshot,
        key_id=who.key_id,
        user_id=who.user_id,
        team_id=who.team_id,
        tenant_id=who.tenant_id,
        tags=call.tags,
        run=call.run,
        tracked=call.track_tokens,
    )


def _ended(call: Call, attempt: Attempt) -> Ended:
    return Ended(
        call_id=call.id,
        n=attempt.n,
        outcome=attempt.outcome or "failed",
        cost_nusd=attempt.cost.nusd,
        cost_state=attempt.cost.state,
        usage=attempt.usage,
        error_code=attempt.error_code,
        error=attempt.error,
        finish=attempt.finish,
        latency_ms=attempt.latency_ms,
        first_token_ms=attempt.first_token_ms,
        upstream_id=attempt.upstream_id,
    )

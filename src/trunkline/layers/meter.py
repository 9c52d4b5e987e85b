"""Weigh every attempt: hold before it, journal it begun and ended, settle it at its cost.

What an attempt costs follows from how it went. Reported usage is exact. An answer that broke off,
or did not say, is estimated from what was received. An attempt that never left, or that the
provider refused, cost nothing; one whose fate nobody knows is estimated as well.
"""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from trunkline.accounting.estimate import Estimates
from trunkline.accounting.price import cost, output_tokens_from_frames
from trunkline.clock import Clock
from trunkline.errors import ProviderError, code_of, was_sent
from trunkline.observability.redact import scrub
from trunkline.reply import Reply
from trunkline.service import Layer, Service
from trunkline.types import (
    Attempt,
    Begun,
    Book,
    Call,
    Cost,
    Deployment,
    Ended,
    Hold,
    Outcome,
    Usage,
)

_MOST_TOKENS = 1_000_000_000
_MOST_REPORTED_NUSD = 100_000 * 1_000_000_000


def meter(book: Book, estimates: Estimates, clock: Clock) -> Layer:
    """Hold, journal and settle each attempt; nothing is sent before `Begun` is written."""

    def layer(inner: Service) -> Service:
        async def service(call: Call) -> Reply:
            target, trail, tab = call.target, call.trail, call.tab
            assert target is not None
            assert trail is not None
            assert tab is not None
            hold = await tab.begin(target, estimates.quote(call, target))
            attempt = Attempt(
                n=len(trail.attempts) + 1,
                deployment=target.name,
                started_ns=clock.now_ns(),
                hold_nusd=hold.nusd or 0,
                price_snapshot=target.price.snapshot if target.price else "",
            )
            started_s = clock.monotonic_s()
            try:
                book.append(_begun(call, target, attempt, hold), flush=True)
            except BaseException:
                tab.end(hold, Cost(0))
                raise
            trail.attempts.append(attempt)

            def end(outcome: Outcome, error: BaseException | None, reply: Reply | None) -> None:
                attempt.usage, attempt.cost = _weigh(call, target, estimates, error, reply)
                attempt.outcome = outcome
                attempt.latency_ms = (clock.monotonic_s() - started_s) * 1000
                if error is not None:
                    attempt.error_code = code_of(error)
                    attempt.error = scrub(error, 500)
                if reply is not None:
                    attempt.finish, attempt.upstream_id = reply.finish, reply.upstream_id
                tab.end(hold, attempt.cost)
                book.append(_ended(call, attempt), flush=False)

            try:
                reply = await inner(call)
            except BaseException as error:
                cancelled = isinstance(error, asyncio.CancelledError)
                end("cancelled" if cancelled else "failed", error, None)
                raise
            attempt.first_token_ms = (clock.monotonic_s() - started_s) * 1000
            reply.on_close(lambda reply: end(reply.outcome or "failed", reply.error, reply))
            return reply

        return service

    return layer


def _weigh(
    call: Call,
    target: Deployment,
    estimates: Estimates,
    error: BaseException | None,
    reply: Reply | None,
) -> tuple[Usage, Cost]:
    """Decide what an attempt used and cost; see the module docstring for the rule."""
    if reply is None:
        if not _may_be_billed(error):
            return Usage(), Cost(0)
        usage = Usage(prompt_tokens=estimates.prompt_tokens(call))
        return usage, cost(usage, target.price, estimated=True)
    told = reply.usage if reply.usage is not None and _credible(reply.usage) else None
    usage = told or Usage()
    whole = reply.outcome == "complete" or reply.finish is not None
    if told is not None and whole:
        estimates.learn(target.name, usage.completion_tokens // call.body.choices)
        return usage, cost(usage, target.price)
    shown = output_tokens_from_frames(
        reply.shown_frames, reply.shown_bytes, reply.least_frame_bytes
    )
    usage = replace(
        usage,
        prompt_tokens=usage.prompt_tokens or estimates.prompt_tokens(call),
        completion_tokens=max(usage.completion_tokens, shown),
    )
    return usage, cost(usage, target.price, estimated=True)


def _credible(usage: Usage) -> bool:
    """Whether a report can be true; one that cannot must not empty a budget."""
    reported_nusd = usage.reported_cost_nusd or 0
    return usage.total_tokens <= _MOST_TOKENS and reported_nusd <= _MOST_REPORTED_NUSD


def _may_be_billed(error: BaseException | None) -> bool:
    refused = isinstance(error, ProviderError) and (error.upstream_status or 200) >= 300
    return was_sent(error) and not refused


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

"""Write each call down once, whatever became of it, and tell the log."""

from __future__ import annotations

import asyncio

from trunkline.clock import Clock
from trunkline.errors import RecordError, code_of
from trunkline.observability.log import EventLog
from trunkline.observability.redact import scrub
from trunkline.reply import Reply
from trunkline.service import Layer, Service
from trunkline.types import Book, Call, Called, CountTokens, Outcome, Trail


def record(book: Book, events: EventLog, clock: Clock) -> Layer:
    """Append a `Called` for every call before its end is seen, and emit the call's events.

    Counting tokens is free and comes often, so it is nothing to be written down.
    """

    def layer(inner: Service) -> Service:
        async def service(call: Call) -> Reply:
            if isinstance(call, CountTokens):
                return await inner(call)
            trail = call.trail
            assert trail is not None
            events.asked(call)

            def write(outcome: Outcome, error: BaseException | None, reply: Reply | None) -> None:
                elapsed_s = clock.monotonic_s() - trail.started_s
                called = _called(call, trail, outcome, error, elapsed_s * 1000)
                try:
                    book.append(called, flush=True)
                finally:
                    events.answered(call, called, error, reply)

            try:
                reply = await inner(call)
            except BaseException as error:
                cancelled = isinstance(error, asyncio.CancelledError)
                try:
                    write("cancelled" if cancelled else "failed", error, None)
                except RecordError as unwritable:  # must not hide why the call ended
                    error.add_note(f"while recording it: {unwritable}")
                raise
            reply.on_close(lambda reply: write(reply.outcome or "failed", reply.error, reply))
            return reply

        return service

    return layer


def _called(
    call: Call, trail: Trail, outcome: Outcome, error: BaseException | None, latency_ms: float
) -> Called:
    who, cost, attempts = call.principal, trail.cost, trail.attempts
    last = attempts[-1] if attempts else None
    prompt_tokens = completion_tokens = 0
    for attempt in attempts:
        prompt_tokens += attempt.usage.prompt_tokens
        completion_tokens += attempt.usage.completion_tokens
    # By position: from 16 keywords on Python makes a dict of them first, for a microsecond.
    return Called(
        call.id,
        call.kind,
        trail.started_ns,
        call.model or (last.deployment if last else ""),
        outcome,
        call.stream,
        call.body.message_count,
        len(attempts),
        last.deployment if last else None,
        code_of(error) if error is not None else None,
        scrub(error, 500) if error is not None else None,
        last.finish if last else None,
        cost.nusd,
        cost.state,
        prompt_tokens,
        completion_tokens,
        latency_ms,
        last.first_token_ms if last else None,
        who.key_id,
        who.user_id,
        who.team_id,
        who.tenant_id,
        call.body.end_user,
        call.tags,
        call.run,
        call.track_tokens,
        tuple(trail.route),
    )

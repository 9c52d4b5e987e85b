"""Write each call down once, whatever became of it, and tell the log."""

from __future__ import annotations

import asyncio

from trunkline.clock import Clock
from trunkline.errors import RecordError, code_of
from trunkline.observability.log import EventLog
from trunkline.observability.redact import scrub
from trunkline.reply import Reply
from trunkline.service import Layer, Service
from trunkline.types import Book, Call, Called, Outcome, Trail


def record(book: Book, events: EventLog, clock: Clock) -> Layer:
    """Append a `Called` for every call before its end is seen, and emit the call's events."""

    def layer(inner: Service) -> Service:
        async def service(call: Call) -> Reply:
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
    return Called(
        call_id=call.id,
        kind=call.kind,
        started_ns=trail.started_ns,
        model=call.model or (last.deployment if last else ""),
        outcome=outcome,
        stream=call.stream,
        message_count=call.body.message_count,
        attempts=len(attempts),
        deployment=last.deployment if last else None,
        error_code=code_of(error) if error is not None else None,
        error=scrub(error, 500) if error is not None else None,
        finish=last.finish if last else None,
        cost_nusd=cost.nusd,
        cost_state=cost.state,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        latency_ms=latency_ms,
        first_token_ms=last.first_token_ms if last else None,
        key_id=who.key_id,
        user_id=who.user_id,
        team_id=who.team_id,
        tenant_id=who.tenant_id,
        end_user=call.body.end_user,
        tags=call.tags,
        run=call.run,
        tracked=call.track_tokens,
        route=tuple(trail.route),
    )

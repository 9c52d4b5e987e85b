"""One call from request to answer: read, ask the line, relay what comes back."""

from __future__ import annotations

import asyncio
import math
import secrets

from msgspec.structs import replace

from trunkline.accounting.price import format_usd
from trunkline.client import Trunkline
from trunkline.dialects import Dialect, Writer
from trunkline.errors import (
    AllProvidersUnavailable,
    InputError,
    Overloaded,
    ProviderError,
    TrunklineError,
)
from trunkline.gateway.holders import Holder
from trunkline.gateway.http import Request
from trunkline.gateway.pulse import Pulse
from trunkline.gateway.stored import refuse_stored
from trunkline.gateway.surfaces.family import family_of
from trunkline.reply import Reply
from trunkline.types import Call, Chat, Cost, Mark, Prompt, Trail
from trunkline.vectors import aside

STOPPING = Overloaded("the gateway is about to stop", retry_after_s=1.0)
_UNKNOWN = Cost(None, "unknown")
_STREAM_HEADERS = [
    ("content-type", "text/event-stream; charset=utf-8"),
    ("cache-control", "no-cache"),
    ("x-accel-buffering", "no"),
]
_MEANINGFUL = ("x-request-id", "request-id", "openai-processing-ms", "openai-version")
"""Upstream headers that mean something to the SDKs of the same family."""


async def relay(
    request: Request, dialect: Dialect, line: Trunkline, holder: Holder, limit_bytes: int
) -> None:
    """Answer a request for a model in its own dialect, whole or as a stream."""
    body = await request.json_body(limit_bytes)
    trail = Trail()
    call = _call(dialect.read(body, request.headers), request, holder, trail)
    if line.config.server.stored_state == "refuse":
        refuse_stored(call)
    watch = Watch(request.task)
    request.on_hangup = watch.leave
    try:
        try:
            reply = await line(call)
        finally:
            if trail.room is not None:
                now_ns = line.clock.now_ns()
                request.about = family_of(dialect.NAME).rate_headers(trail.room, now_ns)
        watch.reply = reply
        async with reply:
            writer = dialect.write(reply.call or call, reply.deployment.dialect)
            headers = _headers(reply, dialect)
            if call.stream:
                pulse = Pulse(request, family_of(dialect.NAME).ping, line.clock)
                await _stream(request, reply, writer, headers, pulse)
            else:
                await _whole(request, reply, writer, headers)
    except asyncio.CancelledError:
        if not watch.took_back():
            raise
    except TrunklineError:
        if not watch.gone:
            raise
    finally:
        request.on_hangup = None


async def _whole(
    request: Request, reply: Reply, writer: Writer, headers: list[tuple[str, str]]
) -> None:
    frame = await anext(reply)
    frames = [frame]
    while not frame.mark & Mark.TERMINAL:
        frame = await anext(reply)
        frames.append(frame)
    cost = _cost(reply)
    if cost.nusd is not None:
        headers.append(("x-trunkline-cost-usd", format_usd(cost.nusd)))
    request.answer(200, await aside(frames, writer.whole, frames, cost), headers)


async def _stream(
    request: Request,
    reply: Reply,
    writer: Writer,
    headers: list[tuple[str, str]],
    pulse: Pulse,
) -> None:
    try:
        request.begin(200, [*_STREAM_HEADERS, *headers])
        async for frame in reply:
            if piece := writer.frame(frame):
                pulse.silent = False
                await request.write(piece, more=True)
        last = writer.end(_cost(reply))
    except TrunklineError as error:
        last = writer.error(error)  # the head is out: an error event is all that can be said
    except asyncio.CancelledError:
        await request.write(writer.error(STOPPING), more=False)
        raise
    finally:
        pulse.stop()
    await request.write(last, more=False)


class Watch:
    """Ends what is done for a caller who leaves."""

    def __init__(self, main: asyncio.Task[None]) -> None:
        """`main` is the task in which all of it is done."""
        self.reply: Reply | None = None
        self.gone = False
        self._main = main
        self._cancelled = False

    def leave(self) -> None:
        """The caller left."""
        self.gone = True
        if self.reply is not None:
            self.reply.abandon()
        else:
            self._cancelled = True
            self._main.cancel()

    def took_back(self) -> bool:
        """Whether the cancellation was ours alone; it is taken back then."""
        return self._cancelled and self._main.uncancel() == 0


def refusal(dialect: Dialect, error: TrunklineError) -> tuple[bytes, list[tuple[str, str]]]:
    """Return the body and headers that say `error` in a dialect."""
    id_ = error.call_id or f"req_{secrets.token_hex(12)}"
    nothing = Chat(id=id_, model="", body=Prompt(messages=()))
    headers = [(family_of(dialect.NAME).id_header, id_)]
    if error.call_id is not None:
        headers.append(("x-trunkline-call-id", error.call_id))
    if error.retry_after_s is not None:
        headers.append(("retry-after", str(max(1, math.ceil(error.retry_after_s)))))
    causes = [error]
    if isinstance(error, AllProvidersUnavailable):
        causes = [cause for _, cause in error.causes]
    if any(isinstance(cause, ProviderError) for cause in causes):
        headers.append(("x-should-retry", "false"))  # our own attempts are spent
    return dialect.write(nothing, "events").error(error), headers


def _call(call: Call, request: Request, holder: Holder, trail: Trail) -> Call:
    """Add to the request what its headers say: who pays, tags, run, time-out."""
    holder.check(call.model)
    headers = request.headers
    timeout_s = None
    if (text := headers.get("x-trunkline-timeout-ms")) is not None:
        if not text.isdecimal() or len(text) > 8 or not 0 < int(text) <= 86_400_000:
            raise InputError(
                f"x-trunkline-timeout-ms: found {text[:40]!r}; write milliseconds, 1 to 86400000",
                param="x-trunkline-timeout-ms",
            )
        timeout_s = int(text) / 1000
    tags: tuple[str, ...] = ()
    if (text := headers.get("x-trunkline-tags")) is not None:
        tags = tuple(tag for part in text.split(",") if (tag := part.strip()))
    if holder.required_tags:
        holder.check_tags(tags)
    return replace(
        call,
        principal=holder.principal,
        tags=tags,
        run=headers.get("x-trunkline-run"),
        timeout_s=timeout_s,
        trail=trail,
    )


def _headers(reply: Reply, dialect: Dialect) -> list[tuple[str, str]]:
    call = reply.call
    assert call is not None
    assert call.trail is not None
    headers = {
        "x-trunkline-call-id": call.id,
        "x-trunkline-deployment": reply.deployment.name,
        "x-trunkline-attempts": str(len(call.trail.attempts)),
    }
    if reply.deployment.dialect == dialect.NAME:
        for name in _MEANINGFUL:
            if name in reply.headers:
                headers[name] = reply.headers[name]
    if not _is_plain("".join(headers.values())):  # one test for all
        headers = {name: value for name, value in headers.items() if _is_plain(value)}
    headers.setdefault(family_of(dialect.NAME).id_header, call.id)
    return list(headers.items())


def _is_plain(value: str) -> bool:
    return value.isascii() and value.isprintable()


def _cost(reply: Reply) -> Cost:
    call = reply.call
    return call.trail.cost if call is not None and call.trail is not None else _UNKNOWN

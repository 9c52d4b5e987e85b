"""One call from request to answer: read, ask the line, relay what comes back."""

from __future__ import annotations

import asyncio
import math

from msgspec.structs import replace

from trunkline.accounting.price import format_usd
from trunkline.client import Trunkline
from trunkline.dialects import Dialect, Writer
from trunkline.errors import AllProvidersUnavailable, InputError, ProviderError, TrunklineError
from trunkline.gateway.http import Receive, Request
from trunkline.gateway.keys import Holder
from trunkline.reply import Reply
from trunkline.types import Call, Chat, Cost, Principal, Prompt, Trail

_LASTING_S = 0.05
"""A request that takes longer gets a watcher for its caller leaving."""
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
    """Answer a chat request in its own dialect, whole or as a stream."""
    body = await request.json_body(limit_bytes)
    call = _call(dialect.read(body, request.headers), request, holder)
    watch = Watch(request.receive)
    try:
        reply = await line(call)
        watch.reply = reply
        async with reply:
            writer = dialect.write(call, reply.deployment.dialect)
            headers = _headers(reply, dialect)
            if call.stream:
                await _stream(request, reply, writer, headers)
            else:
                await _whole(request, reply, writer, headers)
    except asyncio.CancelledError:
        if not watch.took_back():
            raise
    except TrunklineError:
        if not watch.gone:
            raise
    finally:
        watch.stop()


async def _whole(
    request: Request, reply: Reply, writer: Writer, headers: list[tuple[str, str]]
) -> None:
    frames = [frame async for frame in reply]
    cost = _cost(reply)
    if cost.nusd is not None:
        headers.append(("x-trunkline-cost-usd", format_usd(cost.nusd)))
    await request.answer(200, writer.whole(frames, cost), headers)


async def _stream(
    request: Request, reply: Reply, writer: Writer, headers: list[tuple[str, str]]
) -> None:
    await request.begin(200, [*_STREAM_HEADERS, *headers])
    try:
        async for frame in reply:
            if piece := writer.frame(frame):
                await request.write(piece, more=True)
        last = writer.end(_cost(reply))
    except TrunklineError as error:
        last = writer.error(error)  # the head is out: an error event is all that can be said
    await request.write(last, more=False)


class Watch:
    """Notices that the caller left, and ends what is done for it.

    The watcher task starts only when the request lasts; a short one costs a timer.
    """

    def __init__(self, receive: Receive) -> None:
        self.reply: Reply | None = None
        self.gone = False
        self._receive = receive
        self._main = asyncio.current_task()
        self._cancelled = False
        self._task: asyncio.Task[None] | None = None
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_LASTING_S, self._start, loop)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._task = loop.create_task(self._run())

    async def _run(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        if self.reply is not None:
            await self.reply.aclose()
        elif self._main is not None:
            self._cancelled = True
            self._main.cancel()

    def took_back(self) -> bool:
        """Whether the cancellation was ours alone; it is taken back then."""
        return self._cancelled and self._main is not None and self._main.uncancel() == 0

    def stop(self) -> None:
        """Watch no longer."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()


def refusal(dialect: Dialect, error: TrunklineError) -> tuple[bytes, list[tuple[str, str]]]:
    """Return the body and headers that say `error` in a dialect."""
    nothing = Chat(model="", body=Prompt(messages=()))
    headers = []
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


def _call(chat: Chat, request: Request, holder: Holder) -> Call:
    """Add to the request what its headers say: who pays, tags, run, time-out."""
    holder.check(chat.model)
    headers = request.headers
    timeout_s = None
    if (text := headers.get("x-trunkline-timeout-ms")) is not None:
        if not text.isdecimal() or len(text) > 8 or not 0 < int(text) <= 86_400_000:
            raise InputError(
                f"x-trunkline-timeout-ms: found {text[:40]!r}; write milliseconds, 1 to 86400000",
                param="x-trunkline-timeout-ms",
            )
        timeout_s = int(text) / 1000
    tags = (tag.strip() for tag in headers.get("x-trunkline-tags", "").split(","))
    return replace(
        chat,
        principal=Principal(key_id=holder.name),
        tags=tuple(tag for tag in tags if tag),
        run=headers.get("x-trunkline-run"),
        timeout_s=timeout_s,
        trail=Trail(),
    )


def _headers(reply: Reply, dialect: Dialect) -> list[tuple[str, str]]:
    call = reply.call
    assert call is not None
    assert call.trail is not None
    headers = [
        ("x-trunkline-call-id", call.id),
        ("x-trunkline-deployment", reply.deployment.name),
        ("x-trunkline-attempts", str(len(call.trail.attempts))),
    ]
    if reply.deployment.dialect == dialect.NAME:
        headers += [(name, reply.headers[name]) for name in _MEANINGFUL if name in reply.headers]
    return [(name, value) for name, value in headers if value.isascii() and value.isprintable()]


def _cost(reply: Reply) -> Cost:
    call = reply.call
    return call.trail.cost if call is not None and call.trail is not None else _UNKNOWN

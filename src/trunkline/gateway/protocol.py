"""One caller's connection: HTTP/1.1 read by httptools, with the limits that a public door needs.

Each `Request` goes to the gateway without a framework in between: that costs a third of what ASGI
and a server for it do (`docs/decisions/0013-own-connection-class.md`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import lru_cache
from typing import Protocol
from urllib.parse import unquote

import httptools

from trunkline import dialects
from trunkline.codec import field_name
from trunkline.errors import InputError
from trunkline.gateway.http import Request
from trunkline.gateway.relay import refusal

HEAD_BYTES = 64 * 1024
HEAD_S = 30.0
IDLE_S = 75.0
STALLED_S = 60.0
_MOST_HELD_BYTES = 64 * 1024


class Responder(Protocol):
    """Who answers requests: the gateway."""

    async def respond(self, request: Request) -> None:
        """Answer one request; its answer has ended when this returns, or is cut."""


class Connection(asyncio.Protocol):
    """Closes on who sends a head too large or too slowly, and on who does not read its answer."""

    def __init__(
        self,
        responder: Responder,
        connections: set[Connection],
        tasks: set[asyncio.Task[None]],
    ) -> None:
        """`connections` has this one while it stands, `tasks` one for each request under way."""
        self._responder = responder
        self._connections = connections
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self.peer = ""
        self._parser = httptools.HttpRequestParser(self)
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._request: Request | None = None
        """The one being answered."""
        self._arriving: Request | None = None
        """The one whose body comes in."""
        self._pipeline: deque[Request] = deque()
        self._url = b""
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._head_open = False
        self._since_s = 0.0
        """Since when a head is awaited."""
        self._timer: asyncio.TimerHandle | None = None
        self.full: asyncio.Future[None] | None = None
        """Pending while the caller does not read what waits for it."""
        self._stalled: asyncio.TimerHandle | None = None
        self._held = b""
        """Sent, but not written yet."""
        self._last = False
        """No request is taken after the one being answered."""

    # --- asyncio ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect the first request."""
        self._transport = transport
        self.peer = (transport.get_extra_info("peername") or ("",))[0]
        self._connections.add(self)
        self._await_head(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything that belongs to the caller."""
        self._connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        self._pipeline.clear()
        self.resume_writing()
        for request in (self._request, self._arriving):
            if request is not None:
                request.hang_up()

    def data_received(self, data: bytes) -> None:
        """Parse; count what has come of a head since the piece in which it began."""
        if self._last and self._arriving is None:
            return
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Nothing here speaks another protocol: answer in this one, then hang up.
            self._last = True
            self.on_message_complete()
        except httptools.HttpParserError:
            self._refuse("this is not valid HTTP")
            return
        if self._head_open:
            if self._head_bytes > HEAD_BYTES:
                self._refuse(f"the headers are larger than {HEAD_BYTES} bytes")
            elif self._head_bytes == len(data):  # its first piece
                self._await_head(HEAD_S)

    def pause_writing(self) -> None:
        """Give the caller some time to read what waits for it."""
        self.full = self._loop.create_future()
        self._stalled = self._loop.call_later(STALLED_S, self._transport.abort)

    def resume_writing(self) -> None:
        """The caller has read, or is gone."""
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        if self.full is not None:
            self.full.set_result(None)
            self.full = None
        self._next()

    # --- httptools --------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        self._url, self._headers = b"", {}
        self._head_bytes = 0
        self._head_open = True

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; what repeats is joined (RFC 9110, section 5.3). Trailers are dropped."""
        if not self._head_open:
            return
        headers, key, text = self._headers, field_name(name), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text

    def on_headers_complete(self) -> None:
        """Answer the request, or let it wait for the one before it."""
        self._head_open = False
        parser = self._parser
        request = self._arriving = Request(
            self,
            parser.get_method().decode("ascii"),
            _target(self._url),
            self._headers,
            keep_alive=parser.get_http_version() == "1.1" and parser.should_keep_alive(),
        )
        if self._request is None and self.full is None:
            self._answer(request)
        else:
            self._pipeline.append(request)
            self._transport.pause_reading()

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        if self._arriving is not None:
            self._arriving.feed(body)

    def on_message_complete(self) -> None:
        """A request is whole."""
        if self._arriving is not None:
            self._arriving.feed_end()
            self._arriving = None

    # --- for requests: see `http.Wire` --------------------------------------------------------

    def send(self, data: bytes, *, more: bool = False) -> None:
        """Write `data`; with `more`, together with what is sent in the same turn of the loop.

        Pieces of a stream often come several at once: one system call takes them all.
        """
        self._held += data
        if not more or len(self._held) > _MOST_HELD_BYTES:
            self._flush()
        elif len(self._held) == len(data):
            self._loop.call_soon(self._flush)

    def read_on(self, *, wanted: bool) -> None:
        """Read, or do not."""
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def done(self, request: Request) -> None:
        """Go on with the next request, if there may be one."""
        if not request.keep_alive or self._last:
            self._transport.close()
            return
        self._request = None
        self._since_s = self._loop.time()
        self._next()

    # --- for the server -----------------------------------------------------------------------

    def shutdown(self) -> None:
        """Take no more requests; the one being answered is."""
        self._last = True
        if self._request is None:
            self._transport.close()
        elif not self._request.started:
            self._request.keep_alive = False

    def abort(self) -> None:
        """Hang up at once, whatever is unwritten."""
        self._transport.abort()

    # --- inside -------------------------------------------------------------------------------

    def _flush(self) -> None:
        held, self._held = self._held, b""
        if held and not self._transport.is_closing():
            self._transport.write(held)

    def _next(self) -> None:
        """Answer who waits, once the caller has read what it was sent before."""
        if self._pipeline and self._request is None and self.full is None:
            self._answer(self._pipeline.popleft())
        if not self._pipeline:
            self._transport.resume_reading()

    def _answer(self, request: Request) -> None:
        self._request = request
        if self._last:
            request.keep_alive = False
        request.task = self._loop.create_task(self._run(request))
        self._tasks.add(request.task)

    async def _run(self, request: Request) -> None:
        try:
            await self._responder.respond(request)
        finally:
            self._tasks.discard(request.task)
            if not request.ended:  # what the caller has of it must not look complete
                self._flush()
                self._transport.close()

    def _await_head(self, limit_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._since_s = self._loop.time()
        self._timer = self._loop.call_later(limit_s, self._look)

    def _look(self) -> None:
        """Hang up on who has been silent for too long; else look again."""
        left_s = IDLE_S
        if self._request is None or self._head_open:
            limit_s = HEAD_S if self._head_open or not self._url else IDLE_S
            left_s = self._since_s + limit_s - self._loop.time()
            if left_s <= 0:
                self._transport.close()
                return
        self._timer = self._loop.call_later(left_s, self._look)

    def _refuse(self, why: str) -> None:
        """Hang up on what is not HTTP, once what was asked before it is answered."""
        if self._request is not None and self._arriving is None:
            self._last = True
            return
        if self._request is None and not self._transport.is_closing():
            body, _ = refusal(dialects.load("openai_chat"), InputError(why))
            head = (
                "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            )
            self._transport.write(head.encode() + body)
        self._transport.close()


@lru_cache(maxsize=64)
def _target(url: bytes) -> tuple[str, bytes]:
    """Return path, unquoted, and query; nearly all requests ask for the same few."""
    parsed = httptools.parse_url(url)
    return unquote(parsed.path.decode("ascii")), parsed.query or b""

"""HTTP/1.1 as a client speaks it: one request, and its answer as it comes off a connection.

httptools (llhttp, in C) parses; the rest is about who gets which bytes, and about what broke an
answer off. No task, no timer and no exception per request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from trunkline.codec import field_name
from trunkline.errors import BadAnswer, ConnectFailed, ConnectionLost, ProviderError, Truncated
from trunkline.observability.redact import scrub
from trunkline.transport.connection import Connection
from trunkline.transport.inflate import Inflater

UNREAD_BYTES = 256 * 1024
"""More than this unread, and nothing more is taken off the wire until somebody reads."""
HEAD_BYTES = 96 * 1024
"""The most that a head, the trailers, or a chunk's extensions may take."""


class Http1Exchange:
    """One request and its answer on one connection; satisfies `port.Exchange`.

    Each has a parser of its own (a third of a microsecond), so nothing of one answer can be taken
    for a part of the next.
    """

    __slots__ = (
        "_body",
        "_chunks",
        "_connection",
        "_error",
        "_fields",
        "_fruitless_bytes",
        "_head",
        "_head_bytes",
        "_inflater",
        "_keepable",
        "_loop",
        "_parser",
        "_unread_bytes",
        "_waiter",
        "ended",
        "headers",
        "heard",
        "on_body",
        "reused",
        "status",
    )

    def __init__(self, connection: Connection, head: bytes, body: bytes) -> None:
        self.reused = connection.served
        self.status = 0
        self._fields: dict[str, str] = {}
        self.headers: Mapping[str, str] = self._fields
        """Complete once there is a status."""
        self.heard = False
        """Whether any byte of an answer came."""
        self.ended = False
        """Whether the whole body has arrived, read or not."""
        self._connection: Connection | None = connection
        self._loop = connection.loop
        self._head = head
        self._body = body
        self._chunks: list[bytes] = []
        self.on_body = self._chunks.append
        self._parser: HttpResponseParser | None = None
        self._inflater: Inflater | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._error: ProviderError | None = None
        self._keepable = False
        self._unread_bytes = 0
        self._head_bytes = 0
        self._fruitless_bytes = 0
        """Since something of a body came."""

    @property
    def spent(self) -> bool:
        """Whether `read` has nothing more to give; False = it has to be asked."""
        return self.ended and not (self._chunks or self._error or self._inflater)

    async def start(self) -> None:
        """Send the request and wait for the head of the answer."""
        connection = self._connection
        if connection is None or not connection.stands:
            raise ConnectFailed("the connection was closed before the request", sent=False)
        self._parser = HttpResponseParser(self)
        # What some servers write and what cannot be misunderstood here.
        self._parser.set_dangerous_leniencies(
            lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        connection.begin(self, self._head, self._body)
        self._head = self._body = b""
        while not self.status:
            if self._error is not None:
                raise self._error
            await self._more()

    async def read(self) -> bytes:
        """Return the next bytes of the body, decompressed; empty at its end.

        What came before the body broke off is handed out first.
        """
        inflater = self._inflater
        while True:
            if inflater is not None and (piece := inflater.take()):
                return piece
            if self._chunks:
                piece = self._take()
                if inflater is None:
                    return piece
                inflater.put(piece)
            elif self._error is not None:
                raise self._error
            elif not self.ended:
                await self._more()
            else:
                if inflater is not None:
                    inflater.finish()
                return b""

    def fail(self, error: ProviderError) -> None:
        """Break off: whoever waits in `start` or `read` gets `error`."""
        self._chunks.clear()
        self._error = error
        self.close()

    def close(self) -> None:
        """Let go of the connection; callable from any thread, also when the loop is gone."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if asyncio._get_running_loop() is self._loop:
            self._let_go(connection)
            return
        try:
            self._loop.call_soon_threadsafe(self._let_go, connection)
        except RuntimeError:  # the loop is closed
            connection.abandon()

    def _let_go(self, connection: Connection) -> None:
        connection.end(whole=self.ended and self._keepable)
        self._parser = None  # which holds us
        if not self.ended:
            self._break(ConnectionLost("the exchange was closed"))

    def _more(self) -> asyncio.Future[None]:
        self._waiter = self._loop.create_future()
        return self._waiter

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _break(self, error: ProviderError) -> None:
        """End with `error`, unless there is one already; the first is the cause."""
        if self._error is None:
            self._error = error
        self._wake()

    def _take(self) -> bytes:
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        if self._unread_bytes > UNREAD_BYTES and self._connection is not None:
            self._connection.resume()
        self._unread_bytes = 0
        return data

    # --- what the connection tells --------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Take what came."""
        parser = self._parser
        assert parser is not None
        self.heard = True
        if self.ended:
            self._keepable = False  # it is not for us, and must not be for another
            return
        try:
            parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._keepable = False
            if not self.ended:
                self._break(_invalid(error, in_body=bool(self.status)))
        if not self.ended:
            self._count(len(data))
        if self._waiter is not None:
            self._wake()

    def feed_eof(self) -> None:
        """Take the end of all that comes."""
        if self.ended:
            return
        if not self.status:
            self._break(ConnectionLost("the connection was closed before an answer"))
        elif "content-length" in self.headers or "transfer-encoding" in self.headers:
            self._break(Truncated("the answer stopped before its end"))
        else:
            self.ended = True  # the body ends where the connection does
            self._wake()

    def lose(self, error: Exception | None) -> None:
        """Learn that the connection is gone, by `error` or by our own doing."""
        if self.ended:
            return
        where = "in the middle of the answer" if self.status else "before an answer"
        if error is None:
            self._break(ConnectionLost(f"the connection was closed {where}"))
        elif self.status:
            self._break(ConnectionLost(f"the connection was reset {where}"))
        else:
            self._break(ConnectionLost(f"the connection broke: {scrub(error, 200)}"))

    def _count(self, size: int) -> None:
        """Keep what is held within bounds: what nobody reads, and what makes no body."""
        if not self._chunks:
            self._fruitless_bytes += size
            if self._fruitless_bytes > HEAD_BYTES:
                self._break(_too_large())
            return
        self._fruitless_bytes = 0
        self._unread_bytes += size
        if self._unread_bytes > UNREAD_BYTES and self._connection is not None:
            self._connection.pause()

    # --- what the parser tells (`on_body` puts a piece among the chunks) ------------------------

    def on_message_begin(self) -> None:
        """Stop at a second answer: nobody asked for it."""
        if self.ended:
            raise ValueError

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; trailers come here too, and nobody looks at them."""
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > HEAD_BYTES:
            self._break(_too_large())
            raise ValueError
        if not self.status:
            fields, key, text = self._fields, field_name(name), value.decode("latin-1").rstrip()
            fields[key] = f"{fields[key]}, {text}" if key in fields else text

    def on_headers_complete(self) -> None:
        """Take the head, unless it announces another."""
        assert self._parser is not None
        status, headers = self._parser.get_status_code(), self._fields
        if 100 <= status < 200 and status != 101:
            headers.clear()
            return
        self.status = status
        if "transfer-encoding" in headers or "content-encoding" in headers:
            transfer = headers.get("transfer-encoding", "chunked").lower()
            content = headers.get("content-encoding", "identity").lower()
            if transfer != "chunked":
                self._inflater = Inflater(transfer)
            elif content != "identity":
                self._inflater = Inflater(content)

    def on_message_complete(self) -> None:
        """Note the end of the body."""
        if self.status:
            assert self._parser is not None
            self.ended = True
            self._keepable = self.status != 101 and self._parser.should_keep_alive()


def _invalid(error: Exception, *, in_body: bool) -> BadAnswer:
    if in_body:
        return BadAnswer(f"the body of the answer is not valid HTTP: {scrub(error, 200)}")
    return BadAnswer("the answer is not valid HTTP")


def _too_large() -> BadAnswer:
    return BadAnswer(f"the head of the answer is larger than {HEAD_BYTES} bytes")

"""One connection, its socket side: what comes and goes, and whether it may serve once more."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from trunkline.transport.sockets import abandon

ONE_WRITE_BYTES = 64 * 1024
"""Bodies up to this size leave in one piece with their head."""


class Keeper(Protocol):
    """Who made a connection, and keeps it while it has nothing to do."""

    def made(self, connection: Connection) -> None:
        """Take note of a connection that stands."""

    def free(self, connection: Connection) -> None:
        """Take a connection back that may serve once more."""

    def lost(self, connection: Connection) -> None:
        """Forget a connection that is gone."""


class Listener(Protocol):
    """Who takes what comes: the exchange that has the connection."""

    def feed(self, data: bytes) -> None:
        """Take what came."""

    def feed_eof(self) -> None:
        """Take the end of all that comes."""

    def lose(self, error: Exception | None) -> None:
        """Learn that the connection is gone, by `error` or by our own doing."""


class Connection(asyncio.Protocol):
    """One connection: gives what comes to the exchange that has it."""

    __slots__ = (
        "_early",
        "_exchange",
        "_keeper",
        "idle_since_s",
        "loop",
        "served",
        "shelf",
        "transport",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, keeper: Keeper, shelf: dict[Connection, None]
    ) -> None:
        self.loop = loop
        self.shelf = shelf
        """Where it waits when it is idle, with others to the same place."""
        self.served = False
        """It has carried a request before."""
        self.idle_since_s: float | None = None
        self.transport: asyncio.Transport | None = None
        self._keeper = keeper
        self._exchange: Listener | None = None
        self._early = b""
        """What came before the first request."""

    @property
    def stands(self) -> bool:
        """Whether a request can be sent on it."""
        return self.transport is not None and not self.transport.is_closing()

    def begin(self, exchange: Listener, head: bytes, body: bytes) -> None:
        """Send a request; from now on all that comes is the answer to it."""
        transport = self.transport
        assert transport is not None
        self.served, self._exchange = True, exchange
        if len(body) <= ONE_WRITE_BYTES:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)
        if self._early:
            exchange.feed(self._early)

    def end(self, *, whole: bool) -> None:
        """Let go of the exchange; only with a `whole` answer can the connection serve once more."""
        self._exchange = None
        transport = self.transport
        # A server may answer before it has read everything, or anything; then it may answer again.
        unread = self._early or transport is None or transport.get_write_buffer_size()
        if whole and self.stands and not unread:
            self._keeper.free(self)
        else:
            self.abort()

    def pause(self) -> None:
        """Take nothing more off the wire."""
        if self.transport is not None and self.stands:
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self.transport is not None and self.stands:
            self.transport.resume_reading()

    def abort(self) -> None:
        """Close at once: under TLS a polite goodbye would let the peer go on generating."""
        if self.transport is not None:
            self.transport.abort()

    def abandon(self) -> None:
        """Give the socket up without a word on the wire: its loop or process is gone."""
        transport, self.transport = self.transport, None
        abandon(transport)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note (the loop calls this)."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass
        self._keeper.made(self)

    def data_received(self, data: bytes) -> None:
        """Give bytes to the exchange (the loop calls this)."""
        if self._exchange is not None:
            self._exchange.feed(data)
        elif self.served:
            self.abort()  # unasked, it would be taken for the answer to the next request
        else:
            self._early += data  # a server may refuse whoever connects

    def eof_received(self) -> None:
        """Tell the exchange that nothing more comes; the loop closes (the loop calls this)."""
        if self._exchange is not None:
            self._exchange.feed_eof()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the exchange (the loop calls this)."""
        self.transport = None
        self._keeper.lost(self)
        if self._exchange is not None:
            self._exchange.lose(error)

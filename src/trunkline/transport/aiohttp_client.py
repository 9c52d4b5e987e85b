"""The HTTP client for addresses behind a proxy, on aiohttp: its connector and its response parser.

aiohttp's `ClientSession` is left out on purpose. It cannot say whether a request that failed was
sent, and it costs 35 us of CPU per call more; what it adds (redirects, cookies, netrc) is what a
request that carries a credential must not have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import lru_cache, partial
from typing import cast
from weakref import WeakSet

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientHttpProxyError,
    ClientOSError,
    ClientPayloadError,
    ClientTimeout,
    ServerDisconnectedError,
    StreamReader,
    TCPConnector,
)
from aiohttp import ClientRequest as Route
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import EofStream
from yarl import URL

from trunkline.errors import (
    BadAnswer,
    ConnectFailed,
    ConnectionLost,
    ConnectTimeout,
    ProviderError,
    Truncated,
)
from trunkline.observability.redact import scrub
from trunkline.transport.address import Address
from trunkline.transport.sockets import abandon
from trunkline.types import Outgoing

KEEP_ALIVE_S = 55.0
"""How long an idle connection is kept: less than the 60 s of common load balancers."""
READ_BYTES = 256 * 1024
ONE_WRITE_BYTES = 64 * 1024
"""Bodies up to this size leave in one piece with their head."""
MAX_ADDRESSES = 1024


class _Handler(ResponseHandler):
    """One connection: aiohttp's parser, and the two things it does not remember."""

    served = False
    """It has carried a request before."""
    heard = False
    """Something came back since the last request, or since it was put into the pool."""

    def __init__(self, loop: asyncio.AbstractEventLoop, standing: WeakSet[_Handler]) -> None:
        super().__init__(loop)
        standing.add(self)

    def data_received(self, data: bytes) -> None:
        self.heard = True
        super().data_received(data)


class _RoutedAddress(Address):
    """An address, and where it leads in the words of aiohttp's connector."""

    __slots__ = ("route",)

    def __init__(self, text: str, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(text)
        url, proxy = URL(text, encoded=True), URL(self.proxy) if self.proxy else None
        trust = True if self.trust is None else self.trust
        self.route = Route("POST", url, loop=loop, proxy=proxy, ssl=trust)
        """Only its place and its trust are used; nothing is sent from it."""


class AiohttpClient:
    """A pool of connections on the running loop; satisfies `port.HttpClient`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._standing: WeakSet[_Handler] = WeakSet()
        self._connector = TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S)
        factory = partial(_Handler, self._loop, self._standing)
        self._connector._factory = cast("partial[ResponseHandler]", factory)
        self._addresses: dict[str, _RoutedAddress] = {}

    async def open(
        self, outgoing: Outgoing, *, connect_timeout_s: float, fresh: bool = False
    ) -> AiohttpExchange:
        """Get a connection for `outgoing`, with `fresh` one that has never served.

        Raises:
            ConnectFailed: DNS, TCP, TLS or a proxy failed; nothing was sent.
            ConnectTimeout: no connection in time; nothing was sent.
            ConfigError: the URL or a header cannot be sent at all.
        """
        address = self._address(outgoing.url)
        head = address.head(outgoing)
        timeout = _timeout(connect_timeout_s)
        try:
            while True:
                connection = await self._connector.connect(address.route, [], timeout)
                handler = connection.protocol
                assert isinstance(handler, _Handler)
                # What a server says unasked would be taken for the answer to our request.
                if not (handler.served and (fresh or handler.heard)):
                    break
                connection.close()
        except TimeoutError as error:
            raise ConnectTimeout(
                f"no connection to {address.host} within {connect_timeout_s:g} s", sent=False
            ) from error
        except (ClientError, OSError) as error:
            raise _connect_failed(error, address.host) from error
        return AiohttpExchange(connection, handler, head, outgoing.body)

    async def close(self) -> None:
        """Close all connections; calls under way fail."""
        for handler in tuple(self._standing):
            if handler.transport is not None:
                handler.transport.abort()
        # The connector forgets who reads; first the readers must hear of it, under TLS in a
        # later turn of the loop.
        for _ in range(3):
            await asyncio.sleep(0)
        await self._connector.close()

    def abandon(self) -> None:
        """Give up the sockets without a word on the wire: their loop or process is gone."""
        self._connector._closed = True
        for handler in tuple(self._standing):
            _abandon(handler)

    def _address(self, url: str) -> _RoutedAddress:
        address = self._addresses.get(url)
        if address is None:
            if len(self._addresses) >= MAX_ADDRESSES:
                self._addresses.clear()
            address = self._addresses[url] = _RoutedAddress(url, self._loop)
        return address


class AiohttpExchange:
    """One request and its answer on one connection; satisfies `port.Exchange`."""

    __slots__ = (
        "_body",
        "_connection",
        "_handler",
        "_head",
        "_loop",
        "_payload",
        "_until_close",
        "headers",
        "reused",
        "status",
    )

    def __init__(self, connection: Connection, handler: _Handler, head: bytes, body: bytes) -> None:
        self.reused = handler.served
        self.status = 0
        self.headers: Mapping[str, str] = {}
        handler.served, handler.heard = True, False
        self._connection: Connection | None = connection
        self._handler = handler
        self._loop = handler._loop
        self._head = head
        self._body = body
        self._payload: StreamReader | None = None
        self._until_close = False

    @property
    def heard(self) -> bool:
        """Whether any byte of an answer came."""
        return self._handler.heard

    @property
    def ended(self) -> bool:
        """Whether the whole body has arrived, read or not."""
        return self._payload is not None and self._payload.is_eof()

    @property
    def spent(self) -> bool:
        """Whether `read` has nothing more to give; False = it has to be asked."""
        return False

    async def start(self) -> None:
        """Send the request and wait for the head of the answer."""
        handler = self._handler
        if not handler.is_connected():
            raise ConnectFailed("the connection was closed before the request", sent=False)
        assert handler.transport is not None
        handler.set_response_params(read_until_eof=True, read_bufsize=READ_BYTES)
        if len(self._body) <= ONE_WRITE_BYTES:
            handler.transport.write(self._head + self._body)
        else:
            handler.transport.write(self._head)
            handler.transport.write(self._body)
        self._head = self._body = b""
        try:
            message, payload = await handler.read()
            while 100 <= message.code < 200 and message.code != 101:
                message, payload = await handler.read()
        except ProviderError:
            raise
        except Exception as error:
            raise self._explain(error) from error
        self.status = message.code
        self.headers = headers = {name.lower(): value for name, value in message.headers.items()}
        self._until_close = not message.chunked and "content-length" not in headers
        self._payload = payload

    async def read(self) -> bytes:
        """Return the next bytes of the body, decompressed; empty at its end."""
        assert self._payload is not None
        try:
            chunk = await self._payload.readany()
        except ProviderError:
            raise
        except Exception as error:
            raise self._explain(error) from error
        if not chunk and self._until_close and isinstance(self._handler.exception(), ClientOSError):
            raise ConnectionLost("the connection was reset in the middle of the answer")
        return chunk

    def fail(self, error: ProviderError) -> None:
        """Break off: whoever waits in `start` or `read` gets `error`."""
        (self._payload or self._handler).set_exception(error)

    def close(self) -> None:
        """Let go of the connection; callable from any thread, also when the loop is gone."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if asyncio._get_running_loop() is self._loop:
            self._let_go(connection)
        elif self._loop.is_closed():
            connection._protocol = None
            _abandon(self._handler)
        else:
            self._loop.call_soon_threadsafe(self._let_go, connection)

    def _let_go(self, connection: Connection) -> None:
        transport = connection.transport
        if self.ended and transport is not None and not transport.get_write_buffer_size():
            self._handler.heard = False
            connection.release()
        else:
            # Not close(): under TLS that would wait for the peer's goodbye, and the peer would
            # go on generating.
            self._handler.abort()
            connection.close()

    def _explain(self, error: Exception) -> ProviderError:
        """Say in the words of our tree what broke the answer off."""
        lost = self._handler.exception()
        if isinstance(error, ClientPayloadError):
            if isinstance(lost, ClientOSError):
                return ConnectionLost("the connection was reset in the middle of the answer")
            if isinstance(lost, ServerDisconnectedError):
                return Truncated("the answer stopped before its end")
            return BadAnswer(f"the body of the answer is not valid HTTP: {scrub(error, 200)}")
        if isinstance(error, HttpProcessingError):
            return BadAnswer("the answer is not valid HTTP")
        if isinstance(error, ServerDisconnectedError | EofStream):
            return ConnectionLost("the connection was closed before an answer")
        return ConnectionLost(f"the connection broke: {scrub(error, 200)}")


def _connect_failed(error: Exception, host: str) -> ProviderError:
    cause = error.os_error if isinstance(error, ClientConnectorError) else error
    if isinstance(cause, TimeoutError):
        return ConnectTimeout(f"no connection to {host}: {cause}", sent=False)
    if isinstance(error, ClientHttpProxyError):
        return ConnectFailed(f"the proxy answered {error.status} for {host}", sent=False)
    return ConnectFailed(f"cannot connect to {host}: {scrub(cause, 300)}", sent=False)


def _abandon(handler: _Handler) -> None:
    transport, handler.transport = handler.transport, None
    abandon(transport)


@lru_cache(maxsize=256)
def _timeout(connect_s: float) -> ClientTimeout:
    return ClientTimeout(connect=connect_s, ceil_threshold=float("inf"))

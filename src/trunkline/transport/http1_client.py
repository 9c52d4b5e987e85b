"""The HTTP client of every direct address: our own connections, kept while they are idle.

An address behind a proxy is left to aiohttp, which is loaded when the first such address is used.
"""

from __future__ import annotations

import asyncio

from trunkline.clock import Clock, Timer
from trunkline.errors import ConnectFailed, ConnectTimeout, ProviderError
from trunkline.observability.redact import scrub
from trunkline.transport.address import Address
from trunkline.transport.connection import Connection
from trunkline.transport.http1 import Http1Exchange
from trunkline.transport.port import Exchange, HttpClient
from trunkline.transport.sockets import Dialer
from trunkline.types import Outgoing

KEEP_ALIVE_S = 55.0
"""How long an idle connection is kept: less than the 60 s of common load balancers."""
MAX_ADDRESSES = 1024
_CLOSING_TURNS = 10

_Shelf = dict[Connection, None]
"""Idle connections to one place, the longest idle first."""


class Http1Client:
    """A pool of connections on the running loop; satisfies `port.HttpClient`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._dialer = Dialer()
        self._standing: set[Connection] = set()
        self._addresses: dict[str, tuple[Address, _Shelf]] = {}
        self._shelves: dict[object, _Shelf] = {}
        self._sweep_timer: Timer | None = None
        self._proxied: HttpClient | None = None
        self._closed = False

    async def open(
        self, outgoing: Outgoing, *, connect_timeout_s: float, fresh: bool = False
    ) -> Exchange:
        """Get a connection for `outgoing`, with `fresh` one that has never served.

        Raises:
            ConnectFailed: DNS, TCP, TLS or a proxy failed; nothing was sent.
            ConnectTimeout: no connection in time; nothing was sent.
            ConfigError: the URL or a header cannot be sent at all.
        """
        address, shelf = self._addresses.get(outgoing.url) or self._learn(outgoing.url)
        if address.proxy is not None:
            return await self._behind_proxies().open(
                outgoing, connect_timeout_s=connect_timeout_s, fresh=fresh
            )
        head = address.head(outgoing)
        connection = self._pick(shelf, fresh=fresh)
        if connection is None:
            connection = await self._connect(address, shelf, connect_timeout_s)
        return Http1Exchange(connection, head, outgoing.body)

    async def close(self) -> None:
        """Close all connections; calls under way fail."""
        self._closed = True
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        for connection in tuple(self._standing):
            connection.abort()
        if self._proxied is not None:
            await self._proxied.close()
        for _ in range(_CLOSING_TURNS):  # under TLS it takes some turns of the loop
            if not self._standing:
                break
            await asyncio.sleep(0)

    def abandon(self) -> None:
        """Give up the sockets without a word on the wire: their loop or process is gone."""
        self._closed = True
        for connection in tuple(self._standing):
            connection.abandon()
        self._standing.clear()
        self._shelves.clear()
        if self._proxied is not None:
            self._proxied.abandon()

    # --- for connections ------------------------------------------------------------------------

    def made(self, connection: Connection) -> None:
        """Take note of a connection that stands."""
        self._standing.add(connection)

    def free(self, connection: Connection) -> None:
        """Keep a connection that may serve once more."""
        if self._closed:
            connection.abort()
            return
        connection.idle_since_s = self._clock.monotonic_s()
        connection.shelf[connection] = None
        if self._sweep_timer is None:
            self._sweep_timer = self._clock.call_later(KEEP_ALIVE_S, self._sweep)

    def lost(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        self._standing.discard(connection)
        connection.shelf.pop(connection, None)

    # --- within ---------------------------------------------------------------------------------

    def _learn(self, url: str) -> tuple[Address, _Shelf]:
        address = Address(url)
        if len(self._addresses) >= MAX_ADDRESSES:
            self._addresses.clear()
        shelf = self._shelves.setdefault((address.host, address.port, address.trust), {})
        self._addresses[url] = address, shelf
        return address, shelf

    def _pick(self, shelf: _Shelf, *, fresh: bool) -> Connection | None:
        """Take the connection that was used last; with `fresh` all are as stale as one was."""
        due_s = self._clock.monotonic_s() - KEEP_ALIVE_S
        while shelf:
            connection, _ = shelf.popitem()
            since_s, connection.idle_since_s = connection.idle_since_s, None
            if connection.stands and not fresh and since_s is not None and since_s > due_s:
                return connection
            connection.abort()
        return None

    async def _connect(self, address: Address, shelf: _Shelf, timeout_s: float) -> Connection:
        connection = Connection(self._loop, self, shelf)
        try:
            async with asyncio.timeout(timeout_s) as limit:
                await self._dialer.dial(address, connection)
        except (OSError, ValueError) as error:
            connection.abort()
            raise _explain(error, address.host, timeout_s if limit.expired() else None) from error
        except BaseException:
            connection.abort()
            raise
        if self._closed:
            connection.abort()
            raise ConnectFailed("the transport was closed", sent=False)
        return connection

    def _sweep(self) -> None:
        """Close what was idle for too long, and come back when the next will have been."""
        self._sweep_timer = None
        due_s = self._clock.monotonic_s() - KEEP_ALIVE_S
        left_s: list[float] = []
        for connection in tuple(self._standing):
            since_s = connection.idle_since_s
            if since_s is not None and since_s <= due_s:
                connection.abort()
            elif since_s is not None:
                left_s.append(since_s - due_s)
        if left_s:
            self._sweep_timer = self._clock.call_later(min(left_s), self._sweep)

    def _behind_proxies(self) -> HttpClient:
        if self._proxied is None:
            from trunkline.transport.aiohttp_client import AiohttpClient

            self._proxied = AiohttpClient()
        return self._proxied


def _explain(error: Exception, host: str, timeout_s: float | None) -> ProviderError:
    if timeout_s is not None:
        return ConnectTimeout(f"no connection to {host} within {timeout_s:g} s", sent=False)
    if isinstance(error, TimeoutError):
        return ConnectTimeout(f"no connection to {host}: {error}", sent=False)
    return ConnectFailed(f"cannot connect to {host}: {scrub(error, 300)}", sent=False)

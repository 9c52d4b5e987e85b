"""What the transport asks of an HTTP client library; one module implements it per library.

An exchange is one request and its answer on one connection. Opening a connection and sending on
it are two steps, so that everybody knows what was sent: nothing, until `start` is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from trunkline.errors import ProviderError
from trunkline.types import Outgoing


class Exchange(Protocol):
    """One request and its answer."""

    reused: bool
    """The connection has served before, so the server may have closed it by now."""
    status: int
    headers: Mapping[str, str]
    """Names in lower case; several values of one name are joined by a comma."""

    async def start(self) -> None:
        """Send the request and wait for the head of the answer.

        Raises:
            ProviderError: there will be no answer; `sent` says whether the request may have
                arrived.
        """

    async def read(self) -> bytes:
        """Return the next bytes of the body, decompressed; empty at its end.

        Raises:
            ProviderError: the body broke off.
        """

    @property
    def heard(self) -> bool:
        """Whether any byte of an answer came."""

    @property
    def ended(self) -> bool:
        """Whether the whole body has arrived, read or not."""

    @property
    def spent(self) -> bool:
        """Whether `read` has nothing more to give; False = it has to be asked."""

    def fail(self, error: ProviderError) -> None:
        """Break off: whoever waits in `start` or `read` gets `error`."""

    def close(self) -> None:
        """Let go. The connection is kept for another exchange only if the whole body arrived."""


class HttpClient(Protocol):
    """A pool of connections that belongs to one event loop."""

    async def open(
        self, outgoing: Outgoing, *, connect_timeout_s: float, fresh: bool = False
    ) -> Exchange:
        """Get a connection for `outgoing`, with `fresh` one that has never served.

        Raises:
            ConnectFailed: DNS, TCP, TLS or a proxy failed; nothing was sent.
            ConnectTimeout: no connection in time; nothing was sent.
            ConfigError: the URL or a header cannot be sent at all.
        """

    async def close(self) -> None:
        """Close all connections."""

    def abandon(self) -> None:
        """Give up the sockets without a word on the wire: their loop or process is gone."""

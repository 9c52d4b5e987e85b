"""A listening socket: it takes callers, and at the end lets those here have their answers."""

from __future__ import annotations

import asyncio
import socket

from trunkline.gateway.protocol import Connection, Responder
from trunkline.transport.sockets import stop_accepting

_BACKLOG = 2048
_DRAIN_S = 30.0
_CUT_S = 5.0
_LOOK_S = 0.02


class Server:
    """Serves `app` on one socket."""

    def __init__(self, app: Responder) -> None:
        self.app = app
        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        """One for each request that is being answered."""
        self._server: asyncio.Server | None = None

    async def start(self, listener: socket.socket) -> None:
        """Take callers from `listener`, which belongs to this server from now on."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self.app, self.connections, self.tasks),
            sock=listener,
            backlog=_BACKLOG,
        )

    async def stop(self, drain_s: float = _DRAIN_S) -> None:
        """Take no new callers and wait for open answers; cut those that last too long."""
        assert self._server is not None
        await stop_accepting(self._server)
        await self._drained(drain_s)
        for task in tuple(self.tasks):
            task.cancel()
        await self._drained(_CUT_S)
        for connection in tuple(self.connections):  # whose caller does not read
            connection.abort()
        await self._drained(_CUT_S)

    async def _drained(self, most_s: float) -> None:
        until_s = asyncio.get_running_loop().time() + most_s
        while self.connections or self.tasks:
            if asyncio.get_running_loop().time() > until_s:
                return
            for connection in tuple(self.connections):  # those too that have only just come
                connection.shutdown()
            await asyncio.sleep(_LOOK_S)

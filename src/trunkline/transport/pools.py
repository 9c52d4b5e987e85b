"""One HTTP client per running event loop, closed when its loop is.

A library is used under repeated `asyncio.run`, in threads, in notebooks and after a fork; a
connection belongs to the loop that made it and to nobody else.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from trunkline.transport.port import HttpClient


@dataclass(frozen=True)
class _Pool:
    client: HttpClient
    guard: AsyncGenerator[None]
    """Suspended; the loop finishes it at shutdown, which closes the client."""
    pid: int


_inherited: list[_Pool] = []
"""Pools of a parent process: kept, because finalising them would talk to the parent's loop."""


class Pools:
    """Finds or makes the client of the running loop."""

    def __init__(self, make: Callable[[], HttpClient]) -> None:
        self._make = make
        # Not weak: a client holds its loop, so a weak key would live as long. See `_sweep`.
        self._pools: dict[asyncio.AbstractEventLoop, _Pool] = {}

    async def client(self) -> HttpClient:
        """Return the client of the running loop."""
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None or pool.pid != os.getpid():
            self._sweep()
            client = self._make()
            pool = _Pool(client, self._guard(loop, client), os.getpid())
            self._pools[loop] = pool
            await anext(pool.guard)
        return pool.client

    async def close(self) -> None:
        """Close the client of the running loop; the next call makes another."""
        pool = self._pools.get(asyncio.get_running_loop())
        if pool is not None:
            await pool.guard.aclose()

    async def _guard(
        self, loop: asyncio.AbstractEventLoop, client: HttpClient
    ) -> AsyncGenerator[None]:
        """Close the client when the loop shuts its asynchronous generators down.

        `asyncio.run` does that for every generator that was started on it and not finished.
        """
        try:
            yield
        finally:
            self._pools.pop(loop, None)
            await client.close()

    def _sweep(self) -> None:
        """Drop the pools of loops that were closed without a shutdown, and of a parent process."""
        for loop, pool in tuple(self._pools.items()):
            inherited = pool.pid != os.getpid()
            if inherited or loop.is_closed():
                self._pools.pop(loop, None)
                pool.client.abandon()
                if inherited:
                    _inherited.append(pool)

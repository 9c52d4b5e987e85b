"""The reference hop: a relay that copies bytes both ways and looks at none of them.

Run as a program with the upstream's port; prints its own port and serves until its input ends.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop


class Front(asyncio.Protocol):
    def __init__(self, port: int) -> None:
        self.port = port
        self.back: asyncio.Transport | None = None
        self.early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass
        self.task = asyncio.get_running_loop().create_task(self.connect())

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        self.back, _ = await loop.create_connection(lambda: Back(self), "127.0.0.1", self.port)
        if self.early:
            self.back.write(self.early)

    def data_received(self, data: bytes) -> None:
        if self.back is None:
            self.early += data
        else:
            self.back.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.back is not None:
            self.back.close()


class Back(asyncio.Protocol):
    def __init__(self, front: Front) -> None:
        self.front = front

    def data_received(self, data: bytes) -> None:
        self.front.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.front.transport.close()


async def serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Front(port), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))

"""Gateways in the test's own loop."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator

from trunkline import Trunkline
from trunkline.config import Config
from trunkline.gateway.app import Gateway
from trunkline.gateway.follower import Follower
from trunkline.gateway.keys import KeyRing, secret
from trunkline.gateway.link import Link
from trunkline.gateway.server import Server
from trunkline.gateway.steward import Steward
from trunkline.gateway.told import Told

ADMIN_KEY = "tl-admin-for-tests-only"
_TOLD = Told(url="http://h:1", pid=1, started_s=0, restarts=0)


@contextlib.asynccontextmanager
async def running(line: Trunkline) -> AsyncIterator[str]:
    """Serve `line` on a real socket, and close it; gives the URL without a path."""
    ring = KeyRing(b"p" * 32, ADMIN_KEY, line.config.keys)
    server = Server(Gateway(line, ring))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        await server.start(listener)
        try:
            yield url
        finally:
            await server.stop()
            await line.close()


@contextlib.asynccontextmanager
async def administered(config: Config) -> AsyncIterator[Gateway]:
    """Give a gateway with a steward at work, as a worker has it, but for the look each second."""
    config.data_dir.mkdir(parents=True, exist_ok=True)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        steward = asyncio.create_task(Steward(_TOLD, config).run(Link(theirs.fileno())))
        await asyncio.to_thread(ours.recv, 1)
        async with Trunkline(config, ingesting=False) as line:
            ring = KeyRing(secret(os.environ, config.data_dir), ADMIN_KEY, config.keys)
            gateway = Gateway(line, ring)
            follower = Follower(line, gateway)
            gateway.on_change = follower.look
            await follower.look()
            try:
                yield gateway
            finally:  # before the line, whose last ingestion would wait for this very loop
                ours.close()
                await asyncio.wait_for(steward, 20)

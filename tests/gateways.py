"""A gateway on a real socket, in the test's own loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import uvicorn

from trunkline import Trunkline
from trunkline.gateway.app import Gateway
from trunkline.gateway.keys import KeyRing
from trunkline.gateway.protocol import Connection

ADMIN_KEY = "tl-admin-for-tests-only"


@contextlib.asynccontextmanager
async def running(line: Trunkline) -> AsyncIterator[str]:
    """Serve `line`; gives the URL without a path."""
    ring = KeyRing(b"p" * 32, ADMIN_KEY, line.config.keys)
    config = uvicorn.Config(
        Gateway(line, ring),
        port=0,
        http=Connection,
        ws="none",
        lifespan="on",
        log_level="critical",
        access_log=False,
    )
    server = uvicorn.Server(config)
    socket = config.bind_socket()
    task = asyncio.create_task(server.serve(sockets=[socket]))
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{socket.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        socket.close()

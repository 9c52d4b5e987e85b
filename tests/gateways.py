"""A gateway on a real socket, in the test's own loop."""

import contextlib
import socket
from collections.abc import AsyncIterator

from trunkline import Trunkline
from trunkline.gateway.app import Gateway
from trunkline.gateway.keys import KeyRing
from trunkline.gateway.server import Server

ADMIN_KEY = "tl-admin-for-tests-only"


@contextlib.asynccontextmanager
async def running(line: Trunkline) -> AsyncIterator[str]:
    """Serve `line`, and close it; gives the URL without a path."""
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

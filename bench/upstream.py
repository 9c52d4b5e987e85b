"""A provider in a process of its own that answers at once: fixed bodies, keep-alive, no parsing.

`/v1/chat/completions` gets a whole answer, or with `"stream":true` 60 chunks written 1 ms apart.
Run as a program it prints its port and serves until its input ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator

from trunkline.testing import chat_answer, chat_chunks, chat_usage

CHUNKS = 60
PACE_S = 0.001
WHOLE = json.dumps(chat_answer("word " * 100, usage=chat_usage(20, CHUNKS))).encode()
EVENTS = [
    b"data: %s\n\n" % json.dumps(chunk).encode()
    for chunk in chat_chunks("word " * CHUNKS, usage=chat_usage(20, CHUNKS))
] + [b"data: [DONE]\n\n"]


class Connection(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self.buffer = body[length:]
        if b'"stream":true' in body:
            self.task = asyncio.get_running_loop().create_task(self.stream())
        else:
            kind = b"content-type: application/json\r\n"
            size = b"content-length: %d\r\n" % len(WHOLE)
            self.transport.write(b"HTTP/1.1 200 OK\r\n" + kind + size + b"\r\n" + WHOLE)

    async def stream(self) -> None:
        kind = b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        self.transport.write(b"HTTP/1.1 200 OK\r\n" + kind)
        for event in EVENTS:
            self.transport.write(b"%x\r\n%s\r\n" % (len(event), event))
            await asyncio.sleep(PACE_S)
        self.transport.write(b"0\r\n\r\n")


@contextlib.contextmanager
def running() -> Iterator[str]:
    """Start it as a process; gives its URL."""
    command = [sys.executable, "-m", "bench.upstream"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.communicate()


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve())

"""A provider in a process of its own that answers at once: fixed bodies, keep-alive, no parsing.

`/v1/chat/completions` gets a whole answer, or with `"stream":true` 60 words, one chunk each. What
the request's text says decides how: `bench:burst` all in one write, `bench:paced` 20 ms apart, else
1 ms apart; `bench:stamped` is paced too, and each word is the time at which it was written, in
nanoseconds of the monotonic clock. Usage comes only where it was asked for. Run as a program it
prints its port and serves until its input ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import cast

import uvloop

from trunkline.testing import chat_answer, chat_chunks, chat_usage

CHUNKS = 60
PACE_S = 0.001
PACED_S = 0.02
STAMP = b"t=%019d "
WHOLE = json.dumps(chat_answer("word " * 100, usage=chat_usage(20, CHUNKS))).encode()
EVENTS = [
    b"data: %s\n\n" % json.dumps(chunk).encode()
    for chunk in chat_chunks("word " * CHUNKS, usage=chat_usage(20, CHUNKS))
] + [b"data: [DONE]\n\n"]
UNASKED = [event for event in EVENTS if b'"choices": []' not in event]
"""The events of a caller who did not ask for usage."""


def _framed(event: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(event), event)


_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_LAST = b"0\r\n\r\n"
_JSON_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(WHOLE)
)
_SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-accel-buffering: no\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
_FRAMED = {usage: [*map(_framed, EVENTS if usage else UNASKED)] for usage in (True, False)}
_BURST = {usage: _SSE_HEAD + b"".join(frames) + _LAST for usage, frames in _FRAMED.items()}


class Connection(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass
        self.loop = asyncio.get_running_loop()
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(self.buffer, 0, end)
        if len(self.buffer) < end + 4 + (int(length[1]) if length else 0):
            return
        asked, self.buffer = self.buffer[end + 4 :], b""  # nobody here sends two at once
        if b'"stream":true' in asked:
            self.stream(asked)
        else:
            self.transport.write(_JSON_HEAD + WHOLE)

    def stream(self, asked: bytes) -> None:
        usage = b'"include_usage":true' in asked
        if b"bench:burst" in asked:
            self.transport.write(_BURST[usage])
            return
        self.stamped = b"bench:stamped" in asked
        self.pace_s = PACED_S if self.stamped or b"bench:paced" in asked else PACE_S
        self.frames = iter(_FRAMED[usage])
        self.transport.write(_SSE_HEAD + next(self.frames))  # nobody counts the role as a word
        self.step(self.loop.time())

    def step(self, due_s: float) -> None:
        """Write a chunk; the next one is due a pace after this one was, however late this is."""
        if self.transport.is_closing():
            return
        frame = next(self.frames, None)
        if frame is None:
            self.transport.write(_LAST)
            return
        if self.stamped and b"word " in frame:
            event = frame.partition(b"\r\n")[2][:-2]
            frame = _framed(event.replace(b"word ", STAMP % time.monotonic_ns()))
        self.transport.write(frame)
        due_s += self.pace_s
        self.loop.call_at(due_s, self.step, due_s)


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
    uvloop.run(serve())

"""Callers on raw connections: they ask again when they were answered, or at a steady rate.

They run in this process on uvloop, beside the provider, and read no more of HTTP than they must:
each answer is collected whole and given to a check.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import Callable
from typing import cast

import uvloop

from bench.rig.messages import Check
from bench.rig.processes import LOAD_CORE, Cpu, Hop, on_core

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_LAST = b"\r\n0\r\n\r\n"
PATIENCE_S = 120.0


@dataclasses.dataclass
class Load:
    """What to ask of a hop, how often: for a while, or `each` times per connection."""

    message: bytes
    check: Check
    connections: int = 32
    for_s: float = 1.5
    each: int | None = None
    spread_s: float = 0.0
    """Over how long the first requests are spread."""


@dataclasses.dataclass
class Spent:
    """What a load has cost the hop, and what became of it."""

    us: float = 0.0
    done: int = 0
    errors: int = 0
    example: str = ""

    def count(self, body: bytes | None, check: Check) -> None:
        if body is not None and check(body):
            self.done += 1
        else:
            self.errors += 1
            self.example = self.example or ("cut off" if body is None else repr(body[:300]))


class Connection(asyncio.Protocol):
    """Collects one answer at a time; `answered` gets its body, None if it did not come whole."""

    def __init__(self, answered: Callable[[Connection, bytes | None], None]) -> None:
        self.answered = answered
        self.data = bytearray()
        self.asking = False
        self.body_at = 0
        self.length = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass

    def ask(self, message: bytes) -> None:
        self.asking = True
        self.data.clear()
        self.body_at, self.length = 0, -1
        self.transport.write(message)

    def data_received(self, data: bytes) -> None:
        self.data += data
        if not self.body_at:
            self.body_at = self.data.find(b"\r\n\r\n") + 4
            if self.body_at < 4:
                self.body_at = 0
                return
            if found := _LENGTH.search(self.data, 0, self.body_at):
                self.length = int(found[1])
        if self.length < 0:
            if self.data.endswith(_LAST):
                self.end(unchunked(bytes(self.data), self.body_at))
        elif len(self.data) >= self.body_at + self.length:
            self.end(bytes(self.data[self.body_at :]))

    def end(self, body: bytes) -> None:
        self.asking = False
        if not self.data.startswith(b"HTTP/1.1 200"):
            body = bytes(self.data)  # no check takes it for an answer
        self.answered(self, body)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.asking:
            self.asking = False
            self.answered(self, None)


def unchunked(data: bytes, at: int) -> bytes:
    """Return the body of a chunked answer that starts at `at` and is complete."""
    pieces: list[bytes] = []
    while True:
        line_end = data.index(b"\r\n", at)
        size = int(data[at:line_end], 16)
        if not size:
            return b"".join(pieces)
        pieces.append(data[line_end + 2 : line_end + 2 + size])
        at = line_end + 4 + size


async def connected(
    port: int, count: int, answered: Callable[[Connection, bytes | None], None]
) -> list[Connection]:
    loop = asyncio.get_running_loop()
    made = []
    for _ in range(count):
        _, connection = await loop.create_connection(
            lambda: Connection(answered), "127.0.0.1", port
        )
        made.append(connection)
    return made


async def _spend(hop: Hop, load: Load) -> Spent:
    loop = asyncio.get_running_loop()
    spent = Spent()
    over = asyncio.Event()
    left: dict[Connection, int] = {}

    def answered(connection: Connection, body: bytes | None) -> None:
        spent.count(body, load.check)
        left[connection] -= 1
        go_on = left[connection] > 0 if load.each else loop.time() < until_s
        if go_on and body is not None:
            connection.ask(load.message)
        else:
            del left[connection]
            if not left:
                over.set()

    connections = await connected(hop.port, load.connections, answered)
    left.update(dict.fromkeys(connections, load.each or 0))
    cpu = Cpu(hop)
    until_s = loop.time() + load.for_s
    for i, connection in enumerate(connections):
        loop.call_later(load.spread_s * i / len(connections), connection.ask, load.message)
    async with asyncio.timeout(PATIENCE_S):
        await over.wait()
    spent.us = cpu.us()
    for connection in connections:
        connection.transport.close()
    return spent


def spend(hop: Hop, load: Load) -> Spent:
    """Put a load on a hop; what it cost is counted from the first request to the last answer."""
    with on_core(LOAD_CORE):
        return uvloop.run(_spend(hop, load))

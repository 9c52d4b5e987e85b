"""Callers at a steady rate, whatever the answers do: how long each waits from when it was due.

A request that was due while everything stood still counts from when it was due, not from when it
could be sent. The loop selects with time-outs in microseconds; uvloop's are whole milliseconds.
"""

from __future__ import annotations

import asyncio
import dataclasses
import selectors
import time

from bench.rig import messages
from bench.rig.callers import PATIENCE_S, Connection
from bench.rig.messages import Check
from bench.rig.processes import LOAD_CORE, on_core


@dataclasses.dataclass
class Steady:
    """What to ask how often."""

    message: bytes
    check: Check
    per_s: float = 200.0
    for_s: float = 3.0


@dataclasses.dataclass
class Waits:
    """Milliseconds: to the end of each answer, to each first chunk, of each chunk on its way."""

    whole_ms: list[float] = dataclasses.field(default_factory=list)
    first_ms: list[float] = dataclasses.field(default_factory=list)
    chunk_ms: list[float] = dataclasses.field(default_factory=list)
    errors: int = 0
    example: str = ""


class Timed(Connection):
    """Reads the stamps of the chunks that come, at the time at which they come."""

    due_ns = 0

    def __init__(self, run: Run) -> None:
        super().__init__(run.answered)
        self.waits = run.waits
        self.first = True

    def begin(self, message: bytes, due_ns: int) -> None:
        self.due_ns, self.first = due_ns, True
        self.ask(message)

    def data_received(self, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        for stamp_ns in messages.stamps(data):
            if self.first:
                self.first = False
                self.waits.first_ms.append((now_ns - self.due_ns) / 1e6)
            self.waits.chunk_ms.append((now_ns - stamp_ns) / 1e6)
        super().data_received(data)


class Run:
    """One steady load on one port."""

    def __init__(self, port: int, steady: Steady) -> None:
        self.port = port
        self.steady = steady
        self.waits = Waits()
        self.idle: list[Timed] = []
        self.left = round(steady.per_s * steady.for_s)
        self.over = asyncio.Event()

    async def run(self, connections: int) -> Waits:
        loop = asyncio.get_running_loop()
        made = []
        for _ in range(connections):
            _, timed = await loop.create_connection(lambda: Timed(self), "127.0.0.1", self.port)
            made.append(timed)
        self.idle += made
        start_s = loop.time() + 0.01
        for i in range(self.left):
            due_s = start_s + i / self.steady.per_s
            loop.call_at(due_s, self.send, round(due_s * 1e9))
        async with asyncio.timeout(PATIENCE_S):
            await self.over.wait()
        for timed in made:
            timed.transport.close()
        return self.waits

    def send(self, due_ns: int) -> None:
        if self.idle:
            self.idle.pop().begin(self.steady.message, due_ns)
        else:  # all wait for answers: this one is late, and its wait counts from when it was due
            asyncio.get_running_loop().call_later(0.0002, self.send, due_ns)

    def answered(self, connection: Connection, body: bytes | None) -> None:
        assert isinstance(connection, Timed)
        self.waits.whole_ms.append((time.monotonic_ns() - connection.due_ns) / 1e6)
        if body is None or not self.steady.check(body):
            self.waits.errors += 1
            self.waits.example = self.waits.example or repr(body and body[:300])
        if body is not None:
            self.idle.append(connection)
        self.left -= 1
        if not self.left:
            self.over.set()


def wait(port: int, steady: Steady, connections: int = 64) -> Waits:
    """Put a steady load on a port and return how long its callers waited."""
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    with on_core(LOAD_CORE), asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(Run(port, steady).run(connections))

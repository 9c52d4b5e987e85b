"""A provider over a real socket that does exactly what a test scripted.

It speaks HTTP/1.1 by hand, so that it can also misbehave byte by byte.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from trunkline.testing.answers import Answer, Json, Sse
from trunkline.testing.bodies import (
    chat_answer,
    chat_chunks,
    chat_usage,
    content_answer,
    content_chunks,
    message_answer,
    message_events,
    ollama_answer,
    ollama_lines,
    response_answer,
    response_events,
    text_answer,
    text_chunks,
)
from trunkline.testing.converse import EventStream, converse_answer, converse_messages
from trunkline.transport.sockets import stop_accepting

_LINGER_ZERO = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Request:
    """One request as it arrived; header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    """Number of the connection it came on, from 1."""
    time_s: float
    """When it had been read, on `time.monotonic`."""

    def json(self) -> Any:
        """Return the body, decoded."""
        return json.loads(self.body)


Respond = Callable[[Request], Answer]


def answer_hello(request: Request) -> Answer:
    """Answer any chat request in the API it was made in, streaming where it asked for that."""
    wanted = json.loads(request.body or b"{}")
    if request.path.endswith("/messages"):
        stream = wanted.get("stream")
        return Sse(message_events(), done=False) if stream else Json(message_answer())
    if request.path.endswith("/responses"):
        stream = wanted.get("stream")
        return Sse(response_events(), done=False) if stream else Json(response_answer())
    if request.path.endswith("/api/chat"):
        stream = wanted.get("stream", True)
        return Sse(ollama_lines(), done=False) if stream else Json(ollama_answer())
    if request.path.endswith("/converse-stream"):
        return EventStream(converse_messages())
    if request.path.endswith("/converse"):
        return Json(converse_answer())
    if ":streamGenerateContent" in request.path:
        return Sse(content_chunks(), done=False)
    if request.path.endswith(":generateContent"):
        return Json(content_answer())
    text = request.path.endswith("/completions") and "/chat/" not in request.path
    if not wanted.get("stream"):
        return Json(text_answer() if text else chat_answer())
    usage = chat_usage(10, 5) if (wanted.get("stream_options") or {}).get("include_usage") else None
    return Sse(text_chunks(usage=usage) if text else chat_chunks(usage=usage))


class FakeUpstream:
    """An upstream on loopback: `async with FakeUpstream() as up`, then `up.url`.

    What it answers: first the queue of `script`, else the function given to `on`, else a friendly
    chat answer. For synchronous code and subprocesses use `with FakeUpstream.in_thread() as up`.
    """

    def __init__(self, respond: Respond = answer_hello, *, tls: ssl.SSLContext | None = None):
        self.requests: list[Request] = []
        self.connections_made = 0
        self.url = ""
        self._respond = respond
        self._script: deque[Answer] = deque()
        self._tls = tls
        self._open: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    def script(self, *answers: Answer) -> None:
        """Add to the queue: one answer for each of the next requests, in their order."""
        self._script.extend(answers)

    def on(self, respond: Respond) -> None:
        """Ask `respond` for an answer whenever the queue is empty."""
        self._respond = respond

    @property
    def open_connections(self) -> int:
        """How many connections stand, idle ones too."""
        return len(self._open)

    @property
    def busy_connections(self) -> int:
        """How many connections are in the middle of an answer."""
        return sum(connection.busy for connection in tuple(self._open))

    async def wait_idle(self, timeout_s: float = 5.0, *, closed: bool = False) -> None:
        """Wait until no answer is under way; with `closed`, until no connection stands.

        Raises:
            TimeoutError: it did not happen in time.
        """
        async with asyncio.timeout(timeout_s):
            # Polled, because the test may run on another loop than the upstream.
            while self.open_connections if closed else self.busy_connections:  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    def close_idle(self) -> None:
        """Close the connections that wait for another request, as servers do after a while."""
        for connection in tuple(self._open):
            if not connection.busy:
                connection.close()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self), "127.0.0.1", 0, ssl=self._tls, backlog=4096
        )
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        await stop_accepting(self._server)
        for connection in tuple(self._open):
            connection.abort()
        await self.wait_idle(closed=True)
        await self._server.wait_closed()

    @classmethod
    @contextmanager
    def in_thread(
        cls, respond: Respond = answer_hello, *, tls: ssl.SSLContext | None = None
    ) -> Iterator[Self]:
        """Run one on a loop in a thread of its own."""
        upstream = cls(respond, tls=tls)
        loop = asyncio.new_event_loop()
        ready = threading.Event()
        stop = asyncio.Event()

        async def serve() -> None:
            async with upstream:
                ready.set()
                await stop.wait()

        def run() -> None:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(serve())

        thread = threading.Thread(target=run, name="fake-upstream", daemon=True)
        thread.start()
        ready.wait()
        try:
            yield upstream
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()

    # --- for connections --------------------------------------------------------------------

    def _next_is_early(self) -> bool:
        return bool(self._script) and self._script[0].early

    def _answer(self, request: Request) -> Answer:
        self.requests.append(request)
        return self._script.popleft() if self._script else self._respond(request)


class _Connection(asyncio.Protocol):
    """One connection: reads a request, plays its answer, and again."""

    def __init__(self, upstream: FakeUpstream) -> None:
        self.busy = False
        self._upstream = upstream
        self._buffer = bytearray()
        self._more = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._upstream._open.add(self)
        self._upstream.connections_made += 1
        self._number = self._upstream.connections_made
        self._task = asyncio.get_running_loop().create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._more.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._upstream._open.discard(self)
        if self._task is not None:
            self._task.cancel()

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    async def _serve(self) -> None:
        while True:
            if self._upstream._next_is_early():
                await self._play(self._upstream._script.popleft())
            request = await self._read_request()
            if request is not None:
                self.busy = True
                await self._play(self._upstream._answer(request))
                self.busy = False

    async def _read_request(self) -> Request | None:
        """Return the next request; None when something early is to happen to it."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if await self._wait_for_more():
                return None
        first, *lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        size = end + 4 + int(headers.get("content-length", 0))
        while len(self._buffer) < size:
            await self._wait_for_more()
        body = bytes(self._buffer[end + 4 : size])
        del self._buffer[:size]
        method, path, _ = first.split(" ", 2)
        return Request(method, path, headers, body, self._number, time.monotonic())

    async def _wait_for_more(self) -> bool:
        self._more.clear()
        await self._more.wait()
        return self._upstream._next_is_early()

    async def _play(self, answer: Answer) -> None:
        pieces = (answer.head, *answer.body)
        if len(answer.body) <= 1 and not answer.delay_s:
            pieces = (b"".join(pieces),)  # in one packet, as a quick server's answer is
        await asyncio.sleep(answer.late_s)
        self._transport.write(pieces[0])
        for piece in pieces[1:]:
            await asyncio.sleep(answer.delay_s)
            self._transport.write(piece)
        await self._finish(answer)

    async def _finish(self, answer: Answer) -> None:
        if answer.end == "keep":
            return
        if answer.end == "reset":
            self._reset()
        elif answer.end == "close":
            self.close()
        await asyncio.get_running_loop().create_future()  # until the connection is lost

    def _reset(self) -> None:
        raw: socket.socket = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self._transport.abort()

"""Talk to a gateway in bytes, over its real connection class and a transport made of lists."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from trunkline.gateway.app import Gateway
from trunkline.gateway.http import Request
from trunkline.gateway.protocol import Connection

ADMIN_KEY = "tl-admin-for-tests-only"
HEADERS = {
    "host": "localhost",
    "authorization": f"Bearer {ADMIN_KEY}",
    "content-type": "application/json",
}


@dataclass
class Answer:
    """What was sent, and whether it was sent to its end."""

    status: int
    headers: dict[str, str]
    body: bytes
    ended: bool


def head(
    method: str,
    path: str,
    headers: Mapping[str, str | None] | None = None,
    *,
    length: int | None = None,
) -> bytes:
    """Make the head of a request; a header that is None is left out, no length means chunks."""
    sent: dict[str, str | None] = {**HEADERS}
    if length is not None:
        sent["content-length"] = str(length)
    elif method == "POST":
        sent["transfer-encoding"] = "chunked"
    sent |= headers or {}
    lines = [f"{name}: {value}\r\n" for name, value in sent.items() if value is not None]
    return f"{method} {quote(path, safe='/?=&*%')} HTTP/1.1\r\n{''.join(lines)}\r\n".encode(
        "latin-1"
    )


def chunk(piece: bytes) -> bytes:
    """Make a piece of a body in chunks; an empty one is its end."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


class Wire(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.writes: list[int] = []
        """The sizes of the single writes."""
        self.closing = False
        self.reading = True
        self.lost: Callable[[], None] = lambda: None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Call from this machine."""
        return ("127.0.0.1", 5000) if name == "peername" else default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep it."""
        assert not self.closing
        self.writes.append(len(data))
        self.written += data

    def is_closing(self) -> bool:
        """Say so."""
        return self.closing

    def close(self) -> None:
        """Hang up, and say so in the next turn of the loop, as a socket does."""
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self.lost)

    abort = close

    def pause_reading(self) -> None:
        """Remember it."""
        self.reading = False

    def resume_reading(self) -> None:
        """Remember it."""
        self.reading = True


class Talk:
    """One connection to `app`: a gateway, or what shall be done with each request."""

    def __init__(self, app: Gateway | Callable[[Request], Awaitable[None]]) -> None:
        self.wire = Wire()
        self.tasks: set[asyncio.Task[None]] = set()
        self.connection = Connection(
            app if isinstance(app, Gateway) else _Only(app), set(), self.tasks
        )
        self.wire.lost = lambda: self.connection.connection_lost(None)
        self.connection.connection_made(self.wire)

    def send(self, data: bytes) -> None:
        """Say something, as one packet."""
        self.connection.data_received(data)

    @property
    def unfinished(self) -> bool:
        """Whether more of a body was announced than has come."""
        return self.connection._arriving is not None

    def leave(self) -> None:
        """Hang up."""
        self.wire.close()

    async def over(self) -> None:
        """Wait until everything that was asked is answered; raise what broke."""
        while self.tasks:
            await asyncio.wait_for(asyncio.gather(*self.tasks), 10)
            await asyncio.sleep(0)

    def answer(self) -> Answer:
        """Return what was sent, checked against the rules of HTTP."""
        top, _, rest = self.wire.written.partition(b"\r\n\r\n")
        line, *lines = top.decode("latin-1").split("\r\n")
        pairs = [one.split(": ", 1) for one in lines]
        assert len({name for name, _ in pairs}) == len(pairs)
        headers = dict(pairs)
        body, ended = rest, True
        if headers.get("transfer-encoding") == "chunked":
            body, ended = _joined(rest)
        elif rest:
            ended = len(rest) == int(headers["content-length"])
        return Answer(int(line.split()[1]), headers, body, ended)


class _Only:
    def __init__(self, respond: Callable[[Request], Awaitable[None]]) -> None:
        self._respond = respond

    async def respond(self, request: Request) -> None:
        """Do what was given."""
        await self._respond(request)


def _joined(rest: bytes) -> tuple[bytes, bool]:
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            assert rest == b"\r\n"
            return body, True
        assert rest[length : length + 2] == b"\r\n"
        body, rest = body + rest[:length], rest[length + 2 :]
    return body, False


async def ask(
    app: Gateway,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str | None] | None = None,
    method: str = "POST",
) -> Answer:
    """Send one request and return the whole answer."""
    talk = Talk(app)
    talk.send(head(method, path, headers, length=len(body)) + body)
    await talk.over()
    return talk.answer()


def said(answer: Answer) -> Any:
    """Return the JSON of an answer."""
    return json.loads(answer.body)

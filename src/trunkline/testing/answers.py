"""What a `FakeUpstream` does with a request: answers, and the ways in which they go wrong.

An `Answer` is a value. The four makers are `Json`, `Sse`, `Status` and `Raw`; the methods of any
answer return a copy that misbehaves: `cut_after`, `reset_after`, `hang_after`, `slow`, `late`,
`split`, `closing`, `unread`. Sizes count bytes of the body as written, chunk framing included.
"""

from __future__ import annotations

import copy
import json
import random
from base64 import b64decode
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Literal, Self

End = Literal["keep", "close", "reset", "hang"]
"""What happens to the connection after the last byte."""

_HOP = frozenset({"content-length", "transfer-encoding", "content-encoding", "connection"})


class Answer:
    """One answer, ready for the wire; made by the functions and subclasses of this module."""

    early = False
    """Whether it happens before the request is read; see `unread`."""
    delay_s = 0.0
    """Waited before each piece of the body."""
    late_s = 0.0
    """Waited before the head."""

    def __init__(self, head: bytes, body: Iterable[bytes] = (), *, end: End = "keep") -> None:
        self.head = head
        """Status line and headers; empty when nothing is answered."""
        self.body = tuple(body)
        """The pieces that are written one by one, chunk framing included."""
        self.end: End = end

    def cut_after(self, size_bytes: int) -> Self:
        """Close the connection after `size_bytes` of the body."""
        return self._with(body=_first(self.body, size_bytes), end="close")

    def reset_after(self, size_bytes: int) -> Self:
        """Reset the connection (RST) after `size_bytes` of the body."""
        return self._with(body=_first(self.body, size_bytes), end="reset")

    def hang_after(self, size_bytes: int) -> Self:
        """Fall silent after `size_bytes` of the body, the connection open."""
        return self._with(body=_first(self.body, size_bytes), end="hang")

    def slow(self, delay_s: float) -> Self:
        """Wait `delay_s` before each piece of the body."""
        return self._with(delay_s=delay_s)

    def late(self, delay_s: float) -> Self:
        """Wait `delay_s` before the head."""
        return self._with(late_s=delay_s)

    def closing(self) -> Self:
        """Close the connection after the whole answer, although its head promised to keep it."""
        return self._with(end="close")

    def split(self, dice: random.Random, most_bytes: int = 40) -> Self:
        """Write head and body in pieces of random size, so that reads end anywhere."""
        wire = self.head + b"".join(self.body)
        pieces, start = [], 0
        while start < len(wire):
            size = dice.randint(1, most_bytes)
            pieces.append(wire[start : start + size])
            start += size
        return self._with(head=b"", body=tuple(pieces))

    def unread(self) -> Self:
        """Do it as soon as a client connects or says its first byte, the request unread."""
        return self._with(early=True)

    def _with(self, **changes: object) -> Self:
        changed = copy.copy(self)
        vars(changed).update(changes)
        return changed


class Raw(Answer):
    """These bytes and nothing else; then the connection is closed unless `end` says otherwise."""

    def __init__(self, *pieces: bytes, end: End = "close") -> None:
        super().__init__(b"", pieces, end=end)


class Status(Answer):
    """A status with a body of any kind; one that is neither bytes nor text is sent as JSON."""

    def __init__(
        self, status: int, body: object = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        kind, data = _encode(body)
        own = {"content-type": kind, "content-length": str(len(data))}
        super().__init__(_head(status, own | dict(headers or {})), (data,))


class Json(Status):
    """A whole JSON answer."""

    def __init__(
        self, body: object, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, json.dumps(body).encode(), headers)
        self.head = self.head.replace(b"application/octet-stream", b"application/json", 1)


class Sse(Answer):
    """A stream: each event one HTTP chunk, the end of the body in the packet of the last one.

    An event is anything JSON can say, a `str` (the data as it is), or `bytes` (a whole block as
    it is, comments and framing included).
    """

    def __init__(
        self,
        events: Iterable[object],
        *,
        delay_s: float = 0.0,
        done: bool = True,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        blocks = [_block(event) for event in events]
        if done:
            blocks.append(b"data: [DONE]\n\n")
        chunks = [b"%x\r\n%s\r\n" % (len(block), block) for block in blocks] or [b""]
        chunks[-1] += b"0\r\n\r\n"
        own = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
        super().__init__(_head(200, own | dict(headers or {})), chunks)
        self.delay_s = delay_s


def html(status: int = 200) -> Answer:
    """Answer with the web page of some proxy."""
    page = "<!doctype html><html><body><h1>Welcome to nginx!</h1></body></html>"
    return Status(status, page, {"content-type": "text/html"})


def garbage() -> Answer:
    """Answer with bytes that are not HTTP."""
    return Raw(b"\x16\x03\x01\x00\xa5\x01\x00\x00not http at all\r\n\r\n")


def hang() -> Answer:
    """Read the request and never answer."""
    return Raw(end="hang")


def reset() -> Answer:
    """Read the request and reset the connection (RST)."""
    return Raw(end="reset")


def hang_up() -> Answer:
    """Read the request and close the connection without an answer."""
    return Raw(end="close")


def replay(record: Mapping[str, Any]) -> Answer:
    """Answer as a recording did: `response_status`, `response_headers` and `response_body`.

    `body_encoding` may be `base64`. Headers that describe the recorded connection are ours.
    """
    body = str(record["response_body"] or "")
    data = b64decode(body) if record.get("body_encoding") == "base64" else body.encode()
    headers = {
        name.lower(): value
        for name, value in (record.get("response_headers") or {}).items()
        if name.lower() not in _HOP
    }
    return Status(record.get("response_status") or 200, data, headers)


def _first(pieces: Iterable[bytes], size_bytes: int) -> tuple[bytes, ...]:
    kept = []
    for piece in pieces:
        if size_bytes <= 0:
            break
        kept.append(piece[:size_bytes])
        size_bytes -= len(piece)
    return tuple(kept)


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [
        f"HTTP/1.1 {status} {phrase}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _encode(body: object) -> tuple[str, bytes]:
    if isinstance(body, bytes):
        return "application/octet-stream", body
    if isinstance(body, str):
        return "text/plain; charset=utf-8", body.encode()
    return "application/json", json.dumps(body).encode()


def _block(event: object) -> bytes:
    if isinstance(event, bytes):
        return event
    data = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)
    return f"data: {data}\n\n".encode()

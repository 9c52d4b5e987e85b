"""Requests in and answers out, on raw ASGI: no framework between the socket and a call."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from trunkline.errors import BodyTooLarge, InputError, SlowRequest, WrongMediaType

Event = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

_BODY_TIMEOUT_S = 60.0
_LONGEST_NUMBER = 18
_ZLIB_WINDOW = {
    "gzip": 16 + zlib.MAX_WBITS,
    "x-gzip": 16 + zlib.MAX_WBITS,
    "deflate": zlib.MAX_WBITS,
}


class Hangup(Exception):
    """The caller left before its request was read."""


class Request:
    """One HTTP request; header names are in lower case, what repeats is joined by commas."""

    __slots__ = ("headers", "method", "path", "receive", "send", "started")

    def __init__(self, scope: Event, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            if name in self.headers:  # RFC 9110, section 5.3
                value = f"{self.headers[name]}, {value}"
            self.headers[name] = value
        self.receive = receive
        self.send = send
        self.started = False
        """An answer has begun, so no other one can be given."""

    async def json_body(self, limit_bytes: int) -> bytes:
        """Read the body of a request that has to be JSON.

        Raises:
            WrongMediaType: it says that it is something else.
            InputError: it is not what its headers say.
            BodyTooLarge: it is larger than `limit_bytes`, compressed or not.
            SlowRequest: it did not arrive in time.
            Hangup: the caller left.
        """
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise WrongMediaType(
                f"content-type: found {kind[:80] or 'nothing'!r}; write application/json",
                param="content-type",
            )
        length = self.headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            raise InputError(
                f"content-length: found {length[:40]!r}; write the number of bytes",
                param="content-length",
            )
        if len(length) > _LONGEST_NUMBER or int(length) > limit_bytes:
            raise _too_large(limit_bytes)
        try:
            async with asyncio.timeout(_BODY_TIMEOUT_S):
                body = await self._body(limit_bytes)
        except TimeoutError:
            raise SlowRequest(f"the body did not arrive within {_BODY_TIMEOUT_S:g} s") from None
        encoding = self.headers.get("content-encoding", "identity").strip().lower()
        return body if encoding == "identity" else _decompressed(body, encoding, limit_bytes)

    async def _body(self, limit_bytes: int) -> bytes:
        event = await self.receive()
        if event["type"] == "http.request" and not event.get("more_body"):
            whole: bytes = event.get("body", b"")
            if len(whole) > limit_bytes:
                raise _too_large(limit_bytes)
            return whole
        pieces, size = [], 0
        while True:
            if event["type"] != "http.request":
                raise Hangup
            piece = event.get("body", b"")
            pieces.append(piece)
            size += len(piece)
            if size > limit_bytes:
                raise _too_large(limit_bytes)
            if not event.get("more_body"):
                return b"".join(pieces)
            event = await self.receive()

    async def begin(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        """Send the head of the answer."""
        self.started = True
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await self.send({"type": "http.response.start", "status": status, "headers": encoded})

    async def write(self, body: bytes, *, more: bool) -> None:
        """Send a piece of the body."""
        await self.send({"type": "http.response.body", "body": body, "more_body": more})

    async def answer(
        self, status: int, body: bytes, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Send a whole JSON answer."""
        length = ("content-length", str(len(body)))
        await self.begin(status, [("content-type", "application/json"), length, *headers])
        await self.write(b"" if self.method == "HEAD" else body, more=False)


def _decompressed(body: bytes, encoding: str, limit_bytes: int) -> bytes:
    window = _ZLIB_WINDOW.get(encoding)
    if window is None:
        raise WrongMediaType(
            f"content-encoding: found {encoding[:80]!r}; write gzip, deflate or none",
            param="content-encoding",
        )
    unpack = zlib.decompressobj(window)
    try:
        plain = unpack.decompress(body, limit_bytes + 1)
    except zlib.error as error:
        raise InputError(f"the body is not valid {encoding}: {error}") from None
    if len(plain) > limit_bytes:
        raise _too_large(limit_bytes)
    if not unpack.eof or unpack.unused_data:
        raise InputError(f"the {encoding} body is cut short, or something follows its end")
    return plain


def _too_large(limit_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body is larger than {limit_bytes} bytes")

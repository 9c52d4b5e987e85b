"""One request and its answer: bodies in, within limits; answers out, whole or piece by piece."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterable
from http import HTTPStatus
from itertools import chain
from typing import Protocol

from trunkline.errors import BodyTooLarge, InputError, SlowRequest, WrongMediaType

_BODY_TIMEOUT_S = 60.0
_READ_AHEAD_BYTES = 64 * 1024
"""How much of a body is taken before somebody asks for it."""
_ZLIB_WINDOW = {
    "gzip": 16 + zlib.MAX_WBITS,
    "x-gzip": 16 + zlib.MAX_WBITS,
    "deflate": zlib.MAX_WBITS,
}
_STATUS_LINES = {
    status: f"HTTP/1.1 {status} {phrase}\r\n"
    for status, phrase in [
        *((s.value, s.phrase) for s in HTTPStatus),
        (499, "Closed"),
        (529, "Overloaded"),
    ]
}


class Hangup(Exception):
    """The caller left before its request was read."""


class Wire(Protocol):
    """The connection, as far as a request needs it."""

    peer: str
    """The caller's address, without a port."""

    def send(self, data: bytes, *, more: bool = False) -> None:
        """Write `data`, with `more` soon; nothing happens when the caller is gone."""

    @property
    def full(self) -> asyncio.Future[None] | None:
        """Pending while the caller does not read what was sent; None = it may be more."""

    def read_on(self, *, wanted: bool) -> None:
        """Go on reading from the caller, or stop for now."""

    def done(self, request: Request) -> None:
        """Take the answer to `request` as ended."""


class Request:
    """One HTTP request: what its head says, its body as it comes, and the way to answer it."""

    task: asyncio.Task[None]
    """The task that answers it."""
    started = False
    """An answer has begun, so no other one can be given."""
    ended = False
    """The answer was given to its end."""
    about: tuple[tuple[str, str], ...] = ()
    """Headers that any answer has from now on, refusals too."""
    gone = False
    """The caller left."""
    on_hangup: Callable[[], None] | None = None
    """Called when the caller leaves before the answer has ended."""
    _size = 0
    _arrived = False
    _wanted = False
    _waiter: asyncio.Future[None] | None = None
    _chunked = False

    def __init__(
        self,
        wire: Wire,
        method: str,
        target: tuple[str, bytes],
        headers: dict[str, str],
        *,
        keep_alive: bool,
    ) -> None:
        """Take what stands before a body.

        Args:
            target: path, unquoted, and query.
            headers: names in lower case; what repeats is joined by commas.
            keep_alive: whether the connection can serve another request after this one.
        """
        self.method = method
        self.path, self.query = target
        self.headers = headers
        self.keep_alive = keep_alive
        self._wire = wire
        self._pieces: list[bytes] = []

    @property
    def peer(self) -> str:
        """The caller's address, without a port."""
        return self._wire.peer

    # --- for the connection -----------------------------------------------------------------

    def feed(self, piece: bytes) -> None:
        """Take a piece of the body; what comes after the answer is dropped."""
        if self.ended:
            return
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > _READ_AHEAD_BYTES and not self._wanted:
            self._wire.read_on(wanted=False)
        self._wake()

    def feed_end(self) -> None:
        """The body is whole."""
        self._arrived = True
        self._wake()

    def hang_up(self) -> None:
        """The caller left; a second time does nothing."""
        if not self.gone and not self.ended:
            self.gone = True
            self._wake()
            if self.on_hangup is not None:
                self.on_hangup()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- the request ------------------------------------------------------------------------

    async def json_body(self, limit_bytes: int) -> bytes:
        """Read the body of a request that has to be JSON.

        Raises:
            WrongMediaType: it says that it is something else.
            InputError: it is not packed as its headers say.
            BodyTooLarge: it is larger than `limit_bytes`, compressed or not.
            SlowRequest: it did not arrive in time.
            Hangup: the caller left.
        """
        headers = self.headers
        kind = headers.get("content-type", "")
        if kind != "application/json":
            kind = kind.partition(";")[0].strip().lower()
            if kind != "application/json":
                raise WrongMediaType(
                    f"content-type: found {kind[:80] or 'nothing'!r}; write application/json",
                    param="content-type",
                )
        if not self._arrived:
            await self._arrive(limit_bytes)
        if self.gone:
            raise Hangup  # nothing is asked for a caller who will not hear the answer
        if self._size > limit_bytes:
            raise _too_large(limit_bytes)
        body = b"".join(self._pieces)
        self._pieces.clear()
        if "content-encoding" not in headers:
            return body
        encoding = headers["content-encoding"].strip().lower()
        return body if encoding == "identity" else _decompressed(body, encoding, limit_bytes)

    async def _arrive(self, limit_bytes: int) -> None:
        """Wait for the whole body, for more than the limit, or for the caller to leave."""
        if int(self.headers.get("content-length", "0")) > limit_bytes:  # only digits come here
            raise _too_large(limit_bytes)
        if self.headers.get("expect", "").lower() == "100-continue":
            self._wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._wanted = True
        self._wire.read_on(wanted=True)
        try:
            async with asyncio.timeout(_BODY_TIMEOUT_S):
                while not (self._arrived or self.gone or self._size > limit_bytes):
                    self._waiter = asyncio.get_running_loop().create_future()
                    await self._waiter
        except TimeoutError:
            raise SlowRequest(f"the body did not arrive within {_BODY_TIMEOUT_S:g} s") from None

    # --- the answer -------------------------------------------------------------------------

    def begin(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        """Begin an answer that comes in pieces."""
        self.started = True
        self._chunked = self.keep_alive
        how = [("transfer-encoding", "chunked")] if self._chunked else []
        self._wire.send(self._head_of(status, [*headers, *how, *self.about]), more=True)

    async def write(self, piece: bytes, *, more: bool) -> None:
        """Send a piece of the body; without `more` it is the last."""
        if self._chunked:
            if piece:
                piece = b"%x\r\n%b\r\n" % (len(piece), piece)
            if not more:
                piece += b"0\r\n\r\n"
        self._wire.send(piece, more=more)
        if not more:
            self._end()
        if (full := self._wire.full) is not None:
            await asyncio.shield(full)

    def answer(
        self,
        status: int,
        body: bytes,
        headers: Iterable[tuple[str, str]] = (),
        *,
        kind: str = "application/json",
    ) -> None:
        """Send a whole answer, in one piece."""
        self.started = True
        about = ("content-type", kind), ("content-length", str(len(body)))
        head = self._head_of(status, [*about, *headers, *self.about])
        self._wire.send(head if self.method == "HEAD" else head + body)
        self._end()

    def _end(self) -> None:
        self.ended = True
        self._wire.done(self)

    def _head_of(self, status: int, headers: list[tuple[str, str]]) -> bytes:
        if not self.keep_alive:
            headers.append(("connection", "close"))
        said = "".join(chain.from_iterable(headers))
        if "\n" in said or "\r" in said:
            raise ValueError("a header of the answer holds a line end")
        lines = "\r\n".join(map(": ".join, headers))
        return f"{_STATUS_LINES[status]}{lines}\r\n\r\n".encode("latin-1")


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

"""Requests in: limits, encodings, and callers that stall, lie or leave."""

import gzip
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.gateway.asgi import GONE, Talk, piece, scope
from trunkline.errors import BodyTooLarge, InputError, SlowRequest, WrongMediaType
from trunkline.gateway import http
from trunkline.gateway.http import Hangup, Request

LIMIT = 1000
BODY = b'{"a":1}'


async def read(*events: dict[str, Any], **headers: str | None) -> bytes:
    """Read a body under `LIMIT`; a header's name is spelled with underscores."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    talk = Talk(*events)
    request = Request(scope("POST", "/", sent), talk.receive, talk.send)
    return await request.json_body(LIMIT)


async def test_a_body_in_pieces() -> None:
    """However it comes, it is whole; empty pieces do no harm."""
    pieces = [piece(BODY[:2], more=True), piece(b"", more=True), piece(BODY[2:])]
    assert await read(*pieces) == await read(piece(BODY)) == BODY
    assert await read(piece(b"x" * LIMIT)) == b"x" * LIMIT


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
async def test_json_is_taken(kind: str) -> None:
    """With parameters, in any case."""
    assert await read(piece(BODY), content_type=kind) == BODY


@pytest.mark.parametrize("kind", [None, "text/plain", "application/json-seq", "*/*"])
async def test_anything_else_is_not(kind: str | None) -> None:
    """What a form of another site can send is never taken."""
    with pytest.raises(WrongMediaType, match="write application/json"):
        await read(piece(BODY), content_type=kind)


async def test_too_large_as_announced() -> None:
    """Refused before anything is read."""
    for length in (str(LIMIT + 1), "9" * 5000):
        with pytest.raises(BodyTooLarge, match="larger than 1000 bytes"):
            await read(content_length=length)


async def test_too_large_as_it_comes() -> None:
    """Refused with the piece that is too many, announced or not."""
    for events in ([piece(b"x" * (LIMIT + 1))], [piece(b"x" * 501, more=True)] * 2):
        with pytest.raises(BodyTooLarge):
            await read(*events, content_length="5")


@pytest.mark.parametrize("length", ["abc", "-5", "1_0", "+1", "5, 5", "\xb2", "0x10"])
async def test_a_length_that_is_none(length: str) -> None:
    """The error names the header."""
    with pytest.raises(InputError, match="content-length: found") as caught:
        await read(piece(BODY), content_length=length)
    assert caught.value.param == "content-length"


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
}


@pytest.mark.parametrize("encoding", list(PACK))
async def test_a_compressed_body(encoding: str) -> None:
    """Unpacked; the limit counts what comes out; damage is the caller's mistake."""
    pack = PACK[encoding]
    assert await read(piece(pack(BODY)), content_encoding=f" {encoding.upper()}") == BODY
    assert await read(piece(pack(b" " * LIMIT)), content_encoding=encoding) == b" " * LIMIT
    with pytest.raises(BodyTooLarge):
        await read(piece(pack(b" " * (LIMIT + 1))), content_encoding=encoding)
    for broken in (b"", BODY, pack(BODY)[:-1], pack(BODY)[:5], pack(BODY) + b"x", pack(BODY) * 2):
        with pytest.raises(InputError, match=encoding):
            await read(piece(broken), content_encoding=encoding)


async def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than the limit and one byte ever comes out."""
    asked: list[int] = []
    real = zlib.decompressobj

    class Spy:
        def __init__(self, window: int) -> None:
            self.inner = real(window)

        def decompress(self, body: bytes, most: int) -> bytes:
            asked.append(most)
            return self.inner.decompress(body, most)

    bomb = gzip.compress(bytes(400_000))
    assert len(bomb) < LIMIT
    monkeypatch.setattr(zlib, "decompressobj", Spy)
    with pytest.raises(BodyTooLarge):
        await read(piece(bomb), content_encoding="gzip")
    assert asked == [LIMIT + 1]


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "zstd"])
async def test_another_encoding(encoding: str) -> None:
    """The error says which ones are known."""
    with pytest.raises(WrongMediaType, match="write gzip, deflate or none"):
        await read(piece(BODY), content_encoding=encoding)


async def test_a_body_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole body has to be there in time, not just the next piece."""
    monkeypatch.setattr(http, "_BODY_TIMEOUT_S", 0.01)
    with pytest.raises(SlowRequest):
        await read(piece(BODY, more=True))


async def test_a_caller_that_leaves() -> None:
    """Before anything, or in the middle."""
    for events in ([GONE], [piece(BODY, more=True), GONE]):
        with pytest.raises(Hangup):
            await read(*events)


def test_repeated_headers_are_joined() -> None:
    """As HTTP has it: `anthropic-beta` may come in several lines."""
    talk = Talk()
    twice = [(b"anthropic-beta", b"one"), (b"x", b"\xff"), (b"anthropic-beta", b"two")]
    request = Request({**scope("GET", "/"), "headers": twice}, talk.receive, talk.send)
    assert request.headers == {"anthropic-beta": "one, two", "x": "\xff"}


@pytest.mark.parametrize(("method", "body"), [("GET", BODY), ("HEAD", b"")])
async def test_an_answer(method: str, body: bytes) -> None:
    """Its length is said, also where HEAD gets no body."""
    talk = Talk()
    request = Request(scope(method, "/"), talk.receive, talk.send)
    await request.answer(200, BODY, [("x-a", "b")])
    assert request.started
    answer = talk.answer()
    assert (answer.status, answer.body, answer.ended) == (200, body, True)
    assert answer.headers == {
        "content-type": "application/json",
        "content-length": str(len(BODY)),
        "x-a": "b",
    }

"""Requests in: limits, encodings, and callers that stall, lie or leave."""

import asyncio
import gzip
import zlib
from collections.abc import Callable

import pytest

from tests.unit.gateway.talk import Talk, chunk, head
from trunkline.errors import BodyTooLarge, InputError, SlowRequest, WrongMediaType
from trunkline.gateway import http
from trunkline.gateway.http import Hangup, Request

LIMIT = 1000
BODY = b'{"a":1}'


async def read(*pieces: bytes, gone: bool = False, **headers: str | None) -> bytes:
    """Read a body under `LIMIT` that comes in packets; a header is spelled with underscores.

    One piece is a whole body, several are chunks, of which an empty one is the last; with `gone`
    the caller leaves after them.
    """
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    found: list[bytes | Exception] = []

    async def respond(request: Request) -> None:
        try:
            found.append(await request.json_body(LIMIT))
        except Exception as error:
            found.append(error)

    talk = Talk(respond)
    if len(pieces) == 1:
        talk.send(head("POST", "/", sent, length=len(pieces[0])) + pieces[0])
    else:
        talk.send(head("POST", "/", sent))
        for piece in pieces:
            await asyncio.sleep(0)
            if not talk.wire.closing:
                talk.send(chunk(piece))
    if gone:
        talk.leave()
    await talk.over()
    [result] = found
    if isinstance(result, Exception):
        raise result
    return result


async def test_a_body_in_pieces() -> None:
    """However it comes, it is whole."""
    assert await read(BODY[:2], BODY[2:], b"") == await read(BODY) == BODY
    assert await read(b"x" * LIMIT) == b"x" * LIMIT


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
async def test_json_is_taken(kind: str) -> None:
    """With parameters, in any case."""
    assert await read(BODY, content_type=kind) == BODY


@pytest.mark.parametrize("kind", [None, "text/plain", "application/json-seq", "*/*"])
async def test_anything_else_is_not(kind: str | None) -> None:
    """What a form of another site can send is never taken."""
    with pytest.raises(WrongMediaType, match="write application/json"):
        await read(BODY, content_type=kind)


async def test_too_large_as_announced() -> None:
    """Refused before anything is read."""
    with pytest.raises(BodyTooLarge, match="larger than 1000 bytes"):
        await read(b"", content_length=str(LIMIT + 1))


async def test_too_large_as_it_comes() -> None:
    """Refused with the piece that is too many."""
    for pieces in ([b"x" * (LIMIT + 1), b""], [b"x" * 501] * 3, [b"x" * (LIMIT + 1)]):
        with pytest.raises(BodyTooLarge):
            await read(*pieces)


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
}


@pytest.mark.parametrize("encoding", list(PACK))
async def test_a_compressed_body(encoding: str) -> None:
    """Unpacked; the limit counts what comes out; damage is the caller's mistake."""
    pack = PACK[encoding]
    assert await read(pack(BODY), content_encoding=f" {encoding.upper()}") == BODY
    assert await read(pack(b" " * LIMIT), content_encoding=encoding) == b" " * LIMIT
    with pytest.raises(BodyTooLarge):
        await read(pack(b" " * (LIMIT + 1)), content_encoding=encoding)
    for broken in (b"", BODY, pack(BODY)[:-1], pack(BODY)[:5], pack(BODY) + b"x", pack(BODY) * 2):
        with pytest.raises(InputError, match=encoding):
            await read(broken, content_encoding=encoding)


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
        await read(bomb, content_encoding="gzip")
    assert asked == [LIMIT + 1]


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "zstd"])
async def test_another_encoding(encoding: str) -> None:
    """The error says which ones are known."""
    with pytest.raises(WrongMediaType, match="write gzip, deflate or none"):
        await read(BODY, content_encoding=encoding)


async def test_a_body_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole body has to be there in time, not just the next piece."""
    monkeypatch.setattr(http, "_BODY_TIMEOUT_S", 0.01)
    with pytest.raises(SlowRequest):
        await read(BODY, BODY)


async def test_a_caller_that_leaves_at_once() -> None:
    """Gone before its whole request is looked at: nothing is done for it."""
    asked: list[bytes] = []

    async def respond(request: Request) -> None:
        with pytest.raises(Hangup):
            asked.append(await request.json_body(LIMIT))

    talk = Talk(respond)
    talk.send(head("POST", "/", length=len(BODY)) + BODY)
    talk.connection.connection_lost(None)
    await talk.over()
    assert asked == []


async def test_a_caller_that_leaves() -> None:
    """Before anything, or in the middle."""
    for pieces in ([], [BODY, BODY]):
        with pytest.raises(Hangup):
            await read(*pieces, gone=True)


async def asked(*data: bytes, answer: bytes = b"{}") -> tuple[list[Request], Talk]:
    """Send packets, give every request the same answer; return the requests."""
    requests: list[Request] = []

    async def respond(request: Request) -> None:
        requests.append(request)
        request.answer(200, answer, [("x-a", "b")])

    talk = Talk(respond)
    for packet in data:
        talk.send(packet)
    await talk.over()
    return requests, talk


async def test_what_a_head_says() -> None:
    """Names in lower case; what repeats is joined: `anthropic-beta` may come in several lines."""
    raw = (
        b"GET /a%20b?c=%20d HTTP/1.1\r\nAnthropic-Beta: one\r\nx: \xff\r\n"
        b"anthropic-beta: two\r\n\r\n"
    )
    [request], _ = await asked(raw)
    assert request.headers == {"anthropic-beta": "one, two", "x": "\xff"}
    assert (request.method, request.path, request.query) == ("GET", "/a b", b"c=%20d")
    assert request.peer == "127.0.0.1"


async def test_trailers_are_not_headers() -> None:
    """Nothing reads what comes after a body, and it is not collected."""
    raw = head("POST", "/", {"x-a": "b"}) + b"0\r\nx-a: c\r\nx-more: d\r\n\r\n"
    [request], _ = await asked(raw)
    assert request.headers["x-a"] == "b"
    assert "x-more" not in request.headers


@pytest.mark.parametrize(("method", "body"), [("GET", BODY), ("HEAD", b"")])
async def test_an_answer(method: str, body: bytes) -> None:
    """Its length is said, also where HEAD gets no body."""
    [request], talk = await asked(head(method, "/"), answer=BODY)
    assert request.started
    assert request.ended
    assert talk.wire.written.endswith(b"\r\n\r\n" + body)
    assert talk.answer().headers == {
        "content-type": "application/json",
        "content-length": str(len(BODY)),
        "x-a": "b",
    }


async def test_an_answer_in_pieces() -> None:
    """Its head leaves with the first piece; an old caller gets it without chunks, to the end."""

    async def respond(request: Request) -> None:
        request.begin(200, [("x-a", "b")])
        assert not talk.wire.written
        await request.write(b"one", more=True)
        await request.write(b"", more=True)
        await request.write(b"two", more=False)

    talk = Talk(respond)
    talk.send(head("GET", "/"))
    await talk.over()
    answer = talk.answer()
    assert (answer.body, answer.ended, talk.wire.closing) == (b"onetwo", True, False)
    talk = Talk(respond)
    talk.send(b"GET / HTTP/1.0\r\n\r\n")
    await talk.over()
    assert talk.wire.written.endswith(b"x-a: b\r\nconnection: close\r\n\r\nonetwo")
    assert talk.wire.closing


async def test_a_last_piece_that_is_empty_takes_the_others_along() -> None:
    """What waits to be written is not lost where the end of the answer is a hang-up."""

    async def respond(request: Request) -> None:
        request.begin(200, [])
        await request.write(b"one", more=True)
        await request.write(b"", more=False)

    talk = Talk(respond)
    talk.send(b"GET / HTTP/1.0\r\n\r\n")
    await talk.over()
    assert talk.wire.written.endswith(b"\r\n\r\none")
    assert talk.wire.closing


async def test_pieces_of_one_turn_leave_together() -> None:
    """One write for all of them; a piece that comes alone does not wait; many do not pile up."""
    go = asyncio.Event()

    async def respond(request: Request) -> None:
        request.begin(200, [])
        for _ in range(3):
            await request.write(b"one", more=True)
        assert not talk.wire.writes
        await go.wait()
        await request.write(b"x" * 70_000, more=True)
        assert len(talk.wire.writes) == 2
        await request.write(b"last", more=False)

    talk = Talk(respond)
    talk.send(head("GET", "/"))
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(talk.wire.writes) == 1
    assert talk.answer().body == b"one" * 3
    go.set()
    await talk.over()
    assert len(talk.wire.writes) == 3
    assert talk.answer().ended


async def test_a_header_cannot_smuggle() -> None:
    """A line end in an answer's header is our mistake, and nothing is sent."""

    async def respond(request: Request) -> None:
        for value in ("a\r\nset-cookie: b", "a\nb", "a\rb"):
            with pytest.raises(ValueError, match="line end"):
                request.answer(200, b"", [("x-a", value)])

    talk = Talk(respond)
    talk.send(head("GET", "/"))
    await talk.over()
    assert (talk.wire.written, talk.wire.closing) == (b"", True)


async def test_one_after_another() -> None:
    """Requests in one packet, or in torn ones, are answered in their order."""
    post = head("POST", "/two", length=3) + b"abc"
    raw = head("GET", "/one") + post + head("GET", "/three")
    for packets in ([raw], [raw[at : at + 1] for at in range(len(raw))]):
        requests, talk = await asked(*packets)
        assert [request.path for request in requests] == ["/one", "/two", "/three"]
        assert talk.wire.written.count(b"HTTP/1.1 200 OK") == 3
        assert talk.wire.reading
        assert not talk.wire.closing


async def test_who_does_not_read_is_not_answered_further() -> None:
    """What was asked in advance waits until what was sent before is read."""
    paths: list[str] = []

    async def respond(request: Request) -> None:
        paths.append(request.path)
        request.answer(200, b"{}")

    talk = Talk(respond)
    talk.connection.pause_writing()
    talk.send(b"".join(head("GET", f"/{n}") for n in range(3)))
    await talk.over()
    assert (paths, talk.wire.reading) == ([], False)
    talk.connection.resume_writing()
    await talk.over()
    assert (paths, talk.wire.reading) == (["/0", "/1", "/2"], True)


async def test_a_refused_body_is_passed_over() -> None:
    """What still comes of it is not taken for the next request."""
    requests, talk = await asked(head("POST", "/", length=200_000), b"GET / " * 25_000)
    assert talk.wire.reading
    talk.send(b"x" * 50_000 + head("GET", "/next"))
    await talk.over()
    assert [request.path for request in requests] == ["/", "/next"]


async def test_a_body_nobody_asked_for_waits() -> None:
    """Only so much of it is read ahead, all of it once it is wanted."""
    go = asyncio.Event()

    async def respond(request: Request) -> None:
        await go.wait()
        request.answer(200, await request.json_body(200_000))

    talk = Talk(respond)
    reading: list[bool] = []
    talk.send(head("POST", "/", length=100_000) + b"x" * 70_000)
    reading.append(talk.wire.reading)
    go.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    reading.append(talk.wire.reading)
    assert reading == [False, True]
    talk.send(b"y" * 30_000)
    await talk.over()
    assert talk.answer().body == b"x" * 70_000 + b"y" * 30_000


async def test_who_waits_for_a_go() -> None:
    """Gets one, when the body is wanted."""
    raw = head("POST", "/", {"expect": "100-continue"}, length=2)

    async def respond(request: Request) -> None:
        request.answer(200, await request.json_body(LIMIT))

    talk = Talk(respond)
    talk.send(raw)
    await asyncio.sleep(0)
    assert talk.wire.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    talk.send(b"{}")
    await talk.over()
    assert talk.wire.written.endswith(b"\r\n\r\n{}")


@pytest.mark.parametrize("length", ["abc", "-5", "1_0", "+1", "5, 5", "0x10", "9" * 5000])
async def test_a_length_that_is_none(length: str) -> None:
    """Is not HTTP: refused, and the connection ends."""
    _, talk = await asked(head("POST", "/", {"content-length": length}, length=0))
    assert talk.wire.written.startswith(b"HTTP/1.1 400 ")
    assert talk.wire.closing


async def test_nonsense_after_a_request() -> None:
    """The request before it is answered well."""
    requests, talk = await asked(head("GET", "/") + b"\x00\x01\r\n\r\n")
    assert len(requests) == 1
    assert talk.wire.written.startswith(b"HTTP/1.1 200 ")
    assert talk.wire.written.count(b"HTTP/1.1") == 1
    assert talk.wire.closing


async def test_another_protocol_is_not_spoken() -> None:
    """Who offers an upgrade, body or not, is answered in HTTP/1.1, and that is the end."""
    more = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAMA"}
    for body in (b"", b"{}"):
        requests, talk = await asked(head("POST", "/", more, length=len(body)) + body)
        assert len(requests) == 1
        assert talk.wire.written.startswith(b"HTTP/1.1 200 ")
        assert talk.wire.closing


async def test_the_server_stops() -> None:
    """A connection at rest is closed at once, one at work when its answer is given."""
    go = asyncio.Event()

    async def respond(request: Request) -> None:
        await go.wait()
        request.answer(200, b"{}")

    talk, idle = Talk(respond), Talk(respond)
    talk.send(head("GET", "/"))
    for one in (talk, idle):
        one.connection.shutdown()
    assert (talk.wire.closing, idle.wire.closing) == (False, True)
    await asyncio.sleep(0)
    go.set()
    await talk.over()
    assert b"connection: close" in talk.wire.written
    assert talk.wire.closing

"""One exchange: what comes off the wire becomes which answer, and which error."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable

import pytest

from tests.unit.transport.scripted import ScriptedKeeper, ScriptedTransport
from trunkline.errors import (
    BadAnswer,
    ConnectFailed,
    ConnectionLost,
    IdleTimeout,
    ProviderError,
    Truncated,
)
from trunkline.transport.connection import Connection
from trunkline.transport.http1 import HEAD_BYTES, UNREAD_BYTES, Http1Exchange

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
LENGTH = OK + b"content-length: 5\r\n\r\n"
HELLO = LENGTH + b"hello"
ZIPPED = OK + b"content-encoding: gzip\r\n\r\n"


class Wire:
    """An exchange, and the connection below it in the hands of the test."""

    def __init__(self) -> None:
        self.transport = ScriptedTransport()
        self.keeper = ScriptedKeeper()
        self.connection = Connection(asyncio.get_running_loop(), self.keeper, {})
        self.connection.connection_made(self.transport)
        self.exchange = Http1Exchange(self.connection, b"head", b"body")

    @property
    def kept(self) -> bool:
        """Whether the connection may serve once more."""
        return "free" in self.keeper.log

    async def begin(self, *pieces: bytes) -> Http1Exchange:
        """Send the request, let `pieces` come one by one, and have the head."""
        start = asyncio.create_task(self.exchange.start())
        await asyncio.sleep(0)
        for piece in pieces:
            self.connection.data_received(piece)
        await start
        return self.exchange

    async def whole(self, *pieces: bytes, eof: bool = False) -> bytes:
        """Return the body of the answer in `pieces`, and let go of it."""
        exchange = await self.begin(*pieces)
        if eof:
            self.connection.eof_received()
            self.connection.connection_lost(None)
        try:
            body = b""
            while data := await exchange.read():
                body += data
            return body
        finally:
            exchange.close()


@pytest.fixture
async def wire() -> Wire:
    """A connection that has not served."""
    return Wire()


@pytest.mark.parametrize(
    "answer",
    [
        HELLO,
        CHUNKED + b"2\r\nhe\r\n3;note=x\r\nllo\r\n0\r\n\r\n",
        CHUNKED + b"5 \r\nhello\r\n0\r\nx-trailer: 1\r\nstatus: 500\r\n\r\n",
        OK.replace(b"\r", b"") + b"content-length: 5\n\nhello",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: x\r\n\r\n" + HELLO,
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\nhello",
    ],
)
async def test_an_answer_wherever_it_is_cut(answer: bytes) -> None:
    """In one piece, cut at every place, and byte by byte; then the connection is kept."""
    cuts = [(answer[:n], answer[n:]) for n in range(1, len(answer))]
    for pieces in ((answer,), *cuts, [answer[n : n + 1] for n in range(len(answer))]):
        wire = Wire()
        assert await wire.whole(*pieces) == b"hello"
        assert wire.exchange.status == 200
        assert not {"link", "x-trailer", "status"} & set(wire.exchange.headers)
        assert wire.kept


@pytest.mark.parametrize(
    ("answer", "eof"),
    [
        (OK + b"\r\nhello", True),
        (OK + b"connection: close\r\ncontent-length: 5\r\n\r\nhello", False),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", False),
        (HELLO, True),
        (HELLO + b"\r\nH", False),
        (HELLO + HELLO, False),
        (HELLO + b"garbage", False),
    ],
)
async def test_an_answer_after_which_the_connection_is_not_kept(
    wire: Wire, answer: bytes, eof: bool
) -> None:
    """It ends with the connection, the server says so, or something came behind it."""
    assert await wire.whole(answer, eof=eof) == b"hello"
    assert wire.exchange.ended
    assert not wire.kept


@pytest.mark.parametrize("more", [b"\r\n", b"H", HELLO])
async def test_what_comes_behind_a_whole_answer_costs_the_connection(
    wire: Wire, more: bytes
) -> None:
    """Nothing of it is read, and nobody else gets it."""
    exchange = await wire.begin(HELLO)
    wire.connection.data_received(more)
    assert await exchange.read() == b"hello"
    assert await exchange.read() == b""
    exchange.close()
    assert not wire.kept
    assert wire.transport.aborted


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 204 No\r\n\r\n", b"HTTP/1.1 304 No\r\netag: x\r\n\r\n"]
)
async def test_a_status_that_has_no_body(wire: Wire, head: bytes) -> None:
    """It ends with its head."""
    assert await wire.whole(head) == b""
    assert wire.kept


@pytest.mark.parametrize("fields", [b"", b"connection: upgrade\r\nupgrade: x\r\n"])
async def test_another_protocol_is_an_answer_without_a_body(wire: Wire, fields: bytes) -> None:
    """What follows a 101 is not HTTP, so the connection is not used again."""
    assert await wire.whole(b"HTTP/1.1 101 Switch\r\n" + fields + b"\r\nfoo") == b""
    assert wire.exchange.status == 101
    assert not wire.kept


async def test_a_body_is_spent_once_all_of_it_was_read(wire: Wire) -> None:
    """Not when it has only arrived, nor while there is something to decompress or to fail by."""
    exchange = await wire.begin(HELLO)
    seen = [exchange.spent]
    await exchange.read()
    seen.append(exchange.spent)
    exchange.fail(IdleTimeout("silent"))
    assert [*seen, exchange.spent] == [False, True, False]


async def test_a_compressed_body_has_to_be_asked_for_its_end(wire: Wire) -> None:
    """What has come of it may be cut short, which only its reader finds out."""
    exchange = await wire.begin(
        ZIPPED.replace(b"\r\n\r\n", b"\r\ncontent-length: 2\r\n\r\n\x1f\x8b")
    )
    assert exchange.ended
    with pytest.raises(Truncated):
        await exchange.read()
    assert not exchange.spent


async def test_headers_have_lower_names_and_are_joined(wire: Wire) -> None:
    """Blanks around a value are not part of it; odd bytes do no harm."""
    exchange = await wire.begin(
        OK + b"X-A:  one \r\nx-a: two\r\nx-b: \xfc\r\ncontent-length: 0\r\n\r\n"
    )
    assert exchange.headers == {"x-a": "one, two", "x-b": "ü", "content-length": "0"}


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage",
        b"HTTP/1.1 20 OK\r\n\r\n",
        OK + b"content-length: 5\r\ncontent-length: 6\r\n\r\n",
        OK + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        OK + b"content-length: -5\r\n\r\n",
        OK + b"content-length: 99999999999999999999\r\n\r\n",
        OK + b"bad header\r\n\r\n",
        OK + b"x: " + b"x" * HEAD_BYTES + b"\r\n\r\n",
        OK + b"x: y\r\n" * (HEAD_BYTES // 6 + 1) + b"\r\n",
    ],
)
async def test_a_head_that_is_none(wire: Wire, answer: bytes) -> None:
    """It is refused, and with it the connection."""
    with pytest.raises(BadAnswer, match=r"not valid HTTP|larger than 98304 bytes"):
        await wire.begin(answer)
    wire.exchange.close()
    assert not wire.kept


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (OK + b"x: ", b"y" * 1000),
        (b"HTTP/1.1 200 ", b"k" * 1000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (CHUNKED + b"0\r\nx: ", b"y" * 1000),
        (CHUNKED + b"5;", b"y" * 1000),
    ],
)
async def test_what_never_becomes_a_body_is_bounded(wire: Wire, start: bytes, more: bytes) -> None:
    """A head, trailers or an extension without an end are not collected for ever."""
    task = asyncio.create_task(wire.whole(start))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for _ in range(HEAD_BYTES // len(more) + 1):
        wire.connection.data_received(more)
    with pytest.raises(BadAnswer, match="larger than 98304 bytes"):
        await task


async def test_many_small_chunks_are_no_endless_head(wire: Wire) -> None:
    """Framing in packets of its own counts only until the next piece of the body."""
    exchange = await wire.begin(CHUNKED)
    for _ in range(HEAD_BYTES // 2):
        wire.connection.data_received(b"1\r\n")
        wire.connection.data_received(b"x")
        wire.connection.data_received(b"\r\n")
        assert await exchange.read() == b"x"


@pytest.mark.parametrize(
    ("answer", "error", "first"),
    [
        (CHUNKED + b"2\r\nhe\r\nzz\r\n", BadAnswer, b"he"),
        (CHUNKED + b"2\r\nhello\r\n", BadAnswer, b"he"),
        (CHUNKED + b"fffffffffffffffff\r\n", BadAnswer, b""),
        (CHUNKED + b"5\r\nhe", Truncated, b"he"),
        (CHUNKED + b"5\r\nhello\r\n", Truncated, b"hello"),
        (LENGTH + b"he", Truncated, b"he"),
        (LENGTH, Truncated, b""),
        (OK + b"transfer-encoding: gzip, chunked\r\n\r\n2\r\nhe\r\n0\r\n\r\n", BadAnswer, b""),
        (OK + b"transfer-encoding: gzip\r\n\r\nhello", BadAnswer, b""),
        (OK + b"content-encoding: br\r\n\r\nhello", BadAnswer, b""),
        (ZIPPED + b"hello", BadAnswer, b""),
        (ZIPPED + gzip.compress(b"hello", mtime=0)[:-1], Truncated, b"hello"),
    ],
)
async def test_a_body_that_breaks_off(
    wire: Wire, answer: bytes, error: type[ProviderError], first: bytes
) -> None:
    """What was good of it is handed out first, then the error, every time."""
    exchange = await wire.begin(answer)
    wire.connection.eof_received()
    wire.connection.connection_lost(None)
    assert exchange.status == 200
    if first:
        assert await exchange.read() == first
    for _ in range(2):
        with pytest.raises(error) as caught:
            await exchange.read()
        assert type(caught.value) is error
    exchange.close()
    assert not wire.kept


@pytest.mark.parametrize(
    ("came", "loss", "text"),
    [
        (b"", None, "closed before an answer"),
        (b"", OSError("Broken pipe"), "broke: Broken pipe"),
        (b"HTTP/1.1 2", OSError("reset"), "broke"),
        (LENGTH, OSError("reset"), "reset in the middle"),
        (OK + b"\r\nhel", OSError("reset"), "reset in the middle"),
        (OK + b"\r\nhel", None, "closed in the middle"),
    ],
)
async def test_a_connection_that_is_lost(
    wire: Wire, came: bytes, loss: Exception | None, text: str
) -> None:
    """The error says when; a body up to the end of the connection is not taken for whole then."""
    task = asyncio.create_task(wire.whole(came) if came else wire.whole())
    for _ in range(3):
        await asyncio.sleep(0)
    wire.connection.connection_lost(loss)
    with pytest.raises(ConnectionLost, match=text):
        await task


@pytest.mark.parametrize("answer", [b"content-encoding: Gzip", b"content-encoding: x-gzip"])
async def test_a_compressed_body_is_read_in_its_own_words(wire: Wire, answer: bytes) -> None:
    """Its length is the compressed one, and its connection is kept."""
    zipped = gzip.compress(b"hello", mtime=0)
    head = OK + answer + b"\r\ncontent-length: %d\r\n\r\n" % len(zipped)
    assert await wire.whole(head + zipped[:7], zipped[7:]) == b"hello"
    assert wire.kept


@pytest.mark.parametrize("coding", [b"identity", b"br"])
async def test_a_coding_of_nothing_is_no_error(wire: Wire, coding: bytes) -> None:
    """Nothing has to be decoded."""
    head = OK + b"content-encoding: " + coding + b"\r\ncontent-length: 0\r\n\r\n"
    assert await wire.whole(head) == b""


async def test_nothing_is_taken_off_the_wire_that_nobody_reads(wire: Wire) -> None:
    """Above the limit reading stops, and goes on with the reader."""
    exchange = await wire.begin(OK + b"\r\n")
    seen = []
    for _ in range(UNREAD_BYTES // 1024 + 1):
        wire.connection.data_received(b"x" * 1024)
        seen.append(wire.transport.reading)
    assert seen == [True] * (len(seen) - 1) + [False]
    assert len(await exchange.read()) == UNREAD_BYTES + 1024
    assert wire.transport.reading


async def test_a_large_answer_that_came_whole_leaves_its_connection_reading(wire: Wire) -> None:
    """An idle connection has to hear that the server closed it."""
    body = b"x" * (2 * UNREAD_BYTES)
    assert await wire.whole(OK + b"content-length: %d\r\n\r\n" % len(body) + body) == body
    assert wire.kept
    assert wire.transport.reading


async def test_a_connection_that_was_lost_before_the_request(wire: Wire) -> None:
    """Nothing was sent, and the error says so."""
    wire.connection.connection_lost(None)
    with pytest.raises(ConnectFailed) as caught:
        await wire.exchange.start()
    assert not caught.value.sent
    assert not wire.transport.written


async def _start(wire: Wire) -> None:
    await wire.exchange.start()


async def _read(wire: Wire) -> None:
    await wire.begin(LENGTH)
    await wire.exchange.read()


@pytest.mark.parametrize("wait", [_start, _read])
async def test_whoever_waits_hears_of_a_failure(
    wire: Wire, wait: Callable[[Wire], Awaitable[None]]
) -> None:
    """A time-out reaches the reader at once, and closes the connection."""
    task = asyncio.ensure_future(wait(wire))
    for _ in range(3):
        await asyncio.sleep(0)
    wire.exchange.fail(IdleTimeout("silent"))
    with pytest.raises(IdleTimeout):
        await task
    assert wire.transport.aborted


async def test_a_failure_comes_before_what_is_unread(wire: Wire) -> None:
    """Unlike a connection that broke, a time-out ends an answer at once."""
    exchange = await wire.begin(LENGTH + b"he")
    exchange.fail(IdleTimeout("silent"))
    wire.connection.data_received(b"llo")
    with pytest.raises(IdleTimeout):
        await exchange.read()


@pytest.mark.parametrize("wait", [_start, _read])
async def test_closing_wakes_whoever_waits(
    wire: Wire, wait: Callable[[Wire], Awaitable[None]]
) -> None:
    """Nobody waits for ever on an exchange that another task has closed, in whatever thread."""
    task = asyncio.ensure_future(wait(wire))
    for _ in range(3):
        await asyncio.sleep(0)
    await asyncio.to_thread(wire.exchange.close)
    with pytest.raises(ConnectionLost, match="closed"):
        await task
    assert wire.transport.aborted


@pytest.mark.parametrize("wait", [_start, _read])
async def test_a_reader_may_be_cancelled(
    wire: Wire, wait: Callable[[Wire], Awaitable[None]]
) -> None:
    """What comes in the same turn of the loop finds nobody, and does no harm."""
    task = asyncio.ensure_future(wait(wire))
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    wire.connection.data_received(HELLO if wait is _start else b"hello")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await wire.exchange.read() == b"hello"


async def test_letting_go_twice_ends_one_exchange(wire: Wire) -> None:
    """The second time the connection may be another's already."""
    await wire.whole(HELLO)
    wire.exchange.close()
    wire.exchange.fail(IdleTimeout("silent"))
    assert wire.keeper.log == ["made", "free"]
    assert not wire.transport.aborted

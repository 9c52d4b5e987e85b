"""Connections: when they are used again, when they must not be, and that none leaks."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import msgspec
import pytest

from tests.wire import ECHO, ask, read
from trunkline.clock import SystemClock
from trunkline.errors import ConnectionLost, ProviderError, ReplyClosed, Truncated
from trunkline.testing import (
    Answer,
    FakeUpstream,
    Json,
    Raw,
    Request,
    Sse,
    Status,
    chat_answer,
    chat_chunks,
    hang,
    hang_up,
    reset,
)
from trunkline.transport import Transport
from trunkline.transport.aiohttp_client import AiohttpClient
from trunkline.transport.pools import Pools
from trunkline.types import Trail

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.fixture
async def up() -> AsyncIterator[FakeUpstream]:
    """A provider."""
    async with FakeUpstream() as upstream:
        yield upstream


@pytest.fixture(params=["direct", "aiohttp"])
async def transport(up: FakeUpstream, request: pytest.FixtureRequest) -> AsyncIterator[Transport]:
    """A transport that must have let go of everything when its test is over.

    Once as it is, once over the client that otherwise serves only what is behind a proxy.
    """
    made = Transport(SystemClock())
    if request.param == "aiohttp":
        made._pools = Pools(AiohttpClient)
    yield made
    await up.wait_idle()
    await made.close()
    await up.wait_idle(closed=True)


def chunk(data: bytes) -> bytes:
    """Frame an HTTP chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_hundred_calls_in_a_row_use_one_connection(
    up: FakeUpstream, transport: Transport, stream: bool
) -> None:
    """Streams too: the end of the body came with [DONE], so the connection goes back."""
    for _ in range(100):
        await read(await transport.send(ask(up.url, stream=stream)))
    assert up.connections_made == 1


async def test_the_end_of_a_body_in_a_packet_of_its_own_is_caught(
    up: FakeUpstream, transport: Transport
) -> None:
    """The terminator that follows [DONE] at once does not cost the connection."""
    events = Sse(chat_chunks("a b")).body
    up.on(lambda _: Raw(HEAD, *events[:-1], events[-1][:-5], b"0\r\n\r\n", end="keep"))
    for _ in range(20):
        await read(await transport.send(ask(up.url, stream=True)))
    assert up.connections_made == 1


async def test_nobody_waits_for_the_end_of_a_body(up: FakeUpstream, transport: Transport) -> None:
    """After [DONE] the caller has the end at once, whatever the connection does."""
    up.script(Raw(HEAD + b"".join(Sse(chat_chunks("a b")).body)[:-5], end="hang"))
    started_s = time.monotonic()
    assert await read(await transport.send(ask(up.url, stream=True))) == "a b"
    assert time.monotonic() - started_s < 1
    await up.wait_idle(closed=True)


async def test_errors_with_a_whole_body_keep_the_connection(
    up: FakeUpstream, transport: Transport
) -> None:
    """A refusal is an answer like another."""
    up.script(*[Status(429, {"error": {"message": "no"}})] * 5)
    for _ in range(5):
        with pytest.raises(ProviderError):
            await transport.send(ask(up.url))
    assert up.connections_made == 1


async def test_redirects_are_not_followed(up: FakeUpstream, transport: Transport) -> None:
    """The credential goes nowhere it was not configured for."""
    async with FakeUpstream() as elsewhere:
        up.script(Status(307, b"", {"location": f"{elsewhere.url}/v1/chat/completions"}))
        with pytest.raises(ProviderError, match="redirects are not followed"):
            await transport.send(ask(up.url))
        assert not elsewhere.requests


async def test_cookies_are_not_kept(up: FakeUpstream, transport: Transport) -> None:
    """One caller's session never reaches another's."""
    up.on(lambda _: Json(chat_answer(), headers={"set-cookie": "session=1"}))
    for _ in range(2):
        await read(await transport.send(ask(up.url)))
    assert "cookie" not in up.requests[1].headers


async def test_nagle_is_off(up: FakeUpstream, transport: Transport) -> None:
    """A small write leaves at once; without it, chunks stall for 40 ms."""
    reply = await transport.send(ask(up.url.replace("127.0.0.1", "localhost"), stream=True))
    (handler,) = (await transport._pools.client())._standing  # type: ignore[attr-defined]
    sock = handler.transport.get_extra_info("socket")
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    await read(reply)


# --- a connection that broke while it was idle ----------------------------------------------


async def test_a_connection_closed_while_idle_is_replaced(
    up: FakeUpstream, transport: Transport
) -> None:
    """The caller does not notice."""
    for _ in range(3):
        await read(await transport.send(ask(up.url)))
        up.close_idle()
        await asyncio.sleep(0.01)
    assert up.connections_made == 3
    assert len(up.requests) == 3


@pytest.mark.parametrize("fault", [hang_up().unread(), reset().unread(), hang_up(), reset()])
async def test_a_request_on_a_stale_connection_is_sent_once_more(
    up: FakeUpstream, transport: Transport, fault: Answer
) -> None:
    """The server closed it just as we wrote; not a byte of an answer came."""
    await read(await transport.send(ask(up.url)))
    up.script(fault)
    assert await read(await transport.send(ask(up.url))) == "Hello."
    assert up.connections_made == 2


async def test_the_second_try_is_on_a_new_connection_and_the_last(
    up: FakeUpstream, transport: Transport
) -> None:
    """Other idle connections are as stale as the first; they are not tried one by one."""
    both = [await transport.send(ask(up.url, stream=True)) for _ in range(3)]
    for reply in both:
        await read(reply)
    assert up.connections_made == 3
    up.script(reset(), reset())
    with pytest.raises(ConnectionLost):
        await transport.send(ask(up.url))
    assert up.connections_made == 4
    await up.wait_idle(closed=True)


@pytest.mark.parametrize("said", [b"H", b"HTTP/1.1 200 OK\r\n", HEAD])
async def test_one_byte_of_an_answer_forbids_the_second_try(
    up: FakeUpstream, transport: Transport, said: bytes
) -> None:
    """The provider was at work, so it may bill."""
    await read(await transport.send(ask(up.url)))
    up.script(Raw(said))
    with pytest.raises((ConnectionLost, Truncated)):
        await transport.send(ask(up.url))
    assert len(up.requests) == 2


async def test_a_new_connection_is_not_tried_twice(up: FakeUpstream, transport: Transport) -> None:
    """It was not stale; the request may have been read."""
    up.script(hang_up())
    with pytest.raises(ConnectionLost):
        await transport.send(ask(up.url))
    assert len(up.requests) == 1


async def test_what_was_sent_on_the_stale_connection_counts(
    up: FakeUpstream, transport: Transport
) -> None:
    """If the second try cannot connect, the first may still have arrived."""
    await read(await transport.send(ask(up.url)))
    assert up._server is not None
    up._server.close()
    up.script(reset())
    with pytest.raises(ProviderError, match="cannot connect") as caught:
        await transport.send(ask(up.url))
    assert caught.value.sent


# --- answers that must not cross ------------------------------------------------------------


@pytest.mark.parametrize(
    "unasked",
    [
        b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n" + b'{"nonce": "x"}',
        b"HT",
    ],
)
async def test_what_a_server_says_unasked_is_no_answer(
    up: FakeUpstream, transport: Transport, unasked: bytes
) -> None:
    """Some say 408 to an idle connection; the next request must not take it for its own."""
    up.on(lambda request: Json({"nonce": request.json()["nonce"]}))
    assert await read(await transport.send(ask(up.url, "one", dialect=ECHO))) == "one"
    (connection,) = up._open
    connection._transport.write(unasked)
    await asyncio.sleep(0.01)
    assert await read(await transport.send(ask(up.url, "two", dialect=ECHO))) == "two"


async def test_a_second_answer_to_one_request_is_nobodys(
    up: FakeUpstream, transport: Transport
) -> None:
    """A connection with bytes left over is not used again."""

    def twice(request: Request) -> Answer:
        answer = Json({"nonce": request.json()["nonce"]})
        return Raw((answer.head + answer.body[0]) * 2, end="keep")

    up.on(twice)
    for nonce in ("one", "two", "three"):
        assert await read(await transport.send(ask(up.url, nonce, dialect=ECHO))) == nonce
    assert up.connections_made == 3


@pytest.mark.parametrize("frames", [0, 1, 3])
async def test_an_answer_that_was_not_read_to_its_end_costs_its_connection(
    up: FakeUpstream, transport: Transport, frames: int
) -> None:
    """Closing early closes the connection at once, so the provider can stop."""
    up.script(Sse(chat_chunks("a b c d e f")).hang_after(800))
    reply = await transport.send(ask(up.url, stream=True))
    for _ in range(frames):
        await anext(reply)
    await reply.aclose()
    await up.wait_idle(closed=True)
    assert await read(await transport.send(ask(up.url))) == "Hello."


async def test_an_answer_that_arrived_whole_keeps_its_connection_even_unread(
    up: FakeUpstream, transport: Transport
) -> None:
    """Its end was parsed, so nothing of it can reach another caller."""
    up.script(Raw(HEAD + b"".join(Sse(chat_chunks("a b c")).body), end="keep"))
    async with await transport.send(ask(up.url, stream=True)):
        pass
    await read(await transport.send(ask(up.url)))
    assert up.connections_made == 1


# --- cancellation ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        hang(),
        Raw(b"HTTP/1.1 200 OK\r\n", end="hang"),
        Json(chat_answer()).hang_after(10),
        Status(500, {"error": "x"}).hang_after(3),
        Sse([b": ping\n\n", "x"]).hang_after(12),
    ],
)
async def test_cancelling_a_call_that_waits_closes_its_connection(
    up: FakeUpstream, transport: Transport, answer: Answer
) -> None:
    """Before the reply, wherever the call is."""
    up.script(answer)
    task = asyncio.create_task(transport.send(ask(up.url, stream=True)))
    await asyncio.sleep(0.03)
    assert up.open_connections == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await up.wait_idle(closed=True)


async def test_cancelling_a_reader_closes_the_connection(
    up: FakeUpstream, transport: Transport
) -> None:
    """In the middle of an answer, and from another task."""
    for _ in range(2):
        up.script(Sse(chat_chunks("a b c d e f")).hang_after(800))
    reply = await transport.send(ask(up.url, stream=True))
    reader = asyncio.create_task(read(reply))
    await asyncio.sleep(0.01)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert reply.outcome == "cancelled"
    reply = await transport.send(ask(up.url, stream=True))
    reader = asyncio.create_task(read(reply))
    await asyncio.sleep(0.01)
    await reply.aclose()
    with pytest.raises(ReplyClosed):
        await reader
    await up.wait_idle(closed=True)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cancellation_at_every_turn_of_the_loop_leaks_nothing(
    up: FakeUpstream, transport: Transport, stream: bool
) -> None:
    """Turn by turn, from before the connection to after the end."""
    up.on(lambda _: Sse(chat_chunks("a b")) if stream else Json(chat_answer("a b")))
    ends: list[str | BaseException] = []
    for turns in range(40):
        task = asyncio.create_task(_whole(transport, up.url, stream=stream))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        ends += await asyncio.gather(task, return_exceptions=True)
        if turns % 2:
            await transport.close()
    await up.wait_idle()
    assert {end if isinstance(end, str) else type(end) for end in ends} == {
        "a b",
        asyncio.CancelledError,
    }
    assert await _whole(transport, up.url, stream=stream) == "a b"


@pytest.mark.parametrize("answer", [hang(), Sse(chat_chunks("a b c d")).hang_after(700)])
async def test_closing_the_transport_fails_what_is_under_way(
    up: FakeUpstream, transport: Transport, answer: Answer
) -> None:
    """Nobody waits for ever on a connection that is gone."""
    up.script(answer)
    task = asyncio.create_task(_whole(transport, up.url, stream=True))
    await asyncio.sleep(0.03)
    await transport.close()
    with pytest.raises((ConnectionLost, Truncated)):
        await asyncio.wait_for(task, 1)


async def test_the_trail_says_what_was_not_sent(up: FakeUpstream, transport: Transport) -> None:
    """Options that the dialect dropped for this deployment."""
    up.on(lambda request: Json({"nonce": request.json()["nonce"]}))
    trail = Trail(started_ns=0, started_s=0.0)
    chat = msgspec.structs.replace(ask(up.url, dialect=ECHO), trail=trail)
    reply = await transport.send(chat)
    assert await read(reply) == "hi"
    assert trail.dropped == ("top_k",)
    assert reply.headers["content-type"] == "application/json"


async def _whole(transport: Transport, url: str, *, stream: bool) -> str:
    async with await transport.send(ask(url, stream=stream)) as reply:
        return await read(reply)

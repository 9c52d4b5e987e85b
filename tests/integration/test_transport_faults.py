"""Every way in which a provider fails, over real sockets: the exact error, and what was sent."""

import asyncio
import random
import re
import socket
from collections.abc import AsyncIterator

import pytest

from tests.wire import ECHO, ask, read
from trunkline.clock import SystemClock
from trunkline.errors import (
    AuthFailed,
    BadAnswer,
    ConfigError,
    ConnectFailed,
    ConnectionLost,
    ConnectTimeout,
    FirstTokenTimeout,
    IdleTimeout,
    ProviderError,
    Truncated,
    UpstreamFailed,
    UpstreamRateLimited,
)
from trunkline.testing import (
    Answer,
    FakeUpstream,
    Json,
    Raw,
    Sse,
    Status,
    chat_answer,
    chat_chunks,
    garbage,
    hang,
    hang_up,
    html,
    reset,
)
from trunkline.transport import MAX_ERROR_BYTES, Transport
from trunkline.transport.aiohttp_client import AiohttpClient
from trunkline.transport.pools import Pools
from trunkline.types import Limits

QUICK = Limits(connect_timeout_s=5, first_token_timeout_s=0.15, idle_timeout_s=0.1)
WHOLE = Json(chat_answer("one two three"))
STREAM = Sse(chat_chunks("one two three"))
EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
BAD_CHUNK = EVENTS[:-2] + b"transfer-encoding: chunked\r\n\r\nzz\r\n"
ONE_EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'


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


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (hang_up(), ConnectionLost, "closed before an answer"),
        (reset(), ConnectionLost, "broke"),
        (garbage(), BadAnswer, "not valid HTTP"),
        (Raw(b"HTTP/1.1 2"), ConnectionLost, "closed before an answer"),
        (html(), BadAnswer, "HTML"),
        (Status(200, b""), BadAnswer, "empty"),
        (Status(204, b""), BadAnswer, "empty"),
        (Status(200, b'{"choices":'), BadAnswer, "JSON"),
        (Status(200, b"\x00\xff\xfe garbage"), BadAnswer, None),
        (WHOLE.cut_after(30), Truncated, "stopped before its end"),
        (WHOLE.reset_after(30), ConnectionLost, "reset in the middle"),
        (STREAM.cut_after(30), Truncated, "stopped before its end"),
        (STREAM.reset_after(30), ConnectionLost, "reset in the middle"),
        (Sse([b": ping\n\n"], done=False), Truncated, "stopped before its end"),
        (Raw(EVENTS), BadAnswer, "empty"),
        (Raw(EVENTS, end="reset"), ConnectionLost, "reset in the middle"),
        (Raw(BAD_CHUNK), BadAnswer, "HTTP"),
        (Status(302, b"", {"location": "https://other/"}), BadAnswer, "302 (to https://other/)"),
        (Status(101, b""), BadAnswer, "101"),
        (hang(), FirstTokenTimeout, "0.15 s"),
        (STREAM.hang_after(30), FirstTokenTimeout, "0.15 s"),
        (STREAM.late(1), FirstTokenTimeout, "0.15 s"),
        (WHOLE.hang_after(30), IdleTimeout, "0.1 s"),
        (Sse([{"error": {"message": "boom", "type": "server_error"}}]), ProviderError, "boom"),
        (Status(500, {"error": {"message": "boom"}}), UpstreamFailed, "boom"),
        (Status(502, "<html>bad gateway</html>").cut_after(10), UpstreamFailed, None),
        (Status(500, b"x" * (MAX_ERROR_BYTES + 1)), UpstreamFailed, None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
async def test_a_fault_before_anything_was_shown_raises(
    up: FakeUpstream,
    transport: Transport,
    answer: Answer,
    error: type[ProviderError],
    text: str | None,
    stream: bool,
) -> None:
    """The class says what happened, the request counts as sent, the deployment is named."""
    up.script(answer)
    with pytest.raises(error, match=text and re.escape(text)) as caught:
        await transport.send(ask(up.url, stream=stream, limits=QUICK))
    assert type(caught.value) is error or error is ProviderError
    assert caught.value.sent
    assert caught.value.deployment == "fake/m"
    assert len(up.requests) == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Sse(chat_chunks("one two three")).cut_after(700), Truncated),
        (Sse(chat_chunks("one two three")).reset_after(700), ConnectionLost),
        (Sse(chat_chunks("one two three")).hang_after(700), IdleTimeout),
        (Sse(chat_chunks("one two", finish=None), done=False), Truncated),
        (Raw(EVENTS, ONE_EVENT), Truncated),
        (Raw(EVENTS, ONE_EVENT, end="reset"), ConnectionLost),
        (Sse([*chat_chunks("one", finish=None), {"error": {"message": "boom"}}]), ProviderError),
        (Sse([*chat_chunks("one", finish=None), "{not json"]), BadAnswer),
    ],
)
async def test_a_fault_after_something_was_shown_ends_the_reply(
    up: FakeUpstream, transport: Transport, answer: Answer, error: type[ProviderError]
) -> None:
    """The reply begins, then fails with the error, and its connection is gone."""
    up.script(answer.slow(0.005))
    reply = await transport.send(ask(up.url, stream=True, limits=QUICK))
    with pytest.raises(error) as caught:
        await read(reply)
    assert reply.outcome == "failed"
    assert reply.shown_frames >= 1
    assert caught.value is reply.error


@pytest.mark.parametrize("fault", [reset().unread(), hang_up().unread()])
async def test_a_connection_that_is_dropped_at_once(
    up: FakeUpstream, transport: Transport, fault: Answer
) -> None:
    """Accepted and dropped without being read: sent says whether bytes had left by then."""
    up.script(fault)
    with pytest.raises((ConnectionLost, ConnectFailed)) as caught:
        await transport.send(ask(up.url))
    assert caught.value.sent == isinstance(caught.value, ConnectionLost)
    assert not up.requests


async def test_a_refused_connection_sent_nothing(transport: Transport) -> None:
    """Nobody listens there."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(ConnectFailed, match=f"cannot connect to 127.0.0.1:{port}") as caught:
        await transport.send(ask(f"http://127.0.0.1:{port}"))
    assert not caught.value.sent


async def test_an_unknown_host_sent_nothing(transport: Transport) -> None:
    """The name does not resolve."""
    with pytest.raises(ConnectFailed, match=r"cannot connect to nowhere\.invalid") as caught:
        await transport.send(ask("http://nowhere.invalid"))
    assert not caught.value.sent


async def test_plain_text_where_tls_was_expected_sent_nothing(
    up: FakeUpstream, transport: Transport
) -> None:
    """The handshake fails, so no request ever left."""
    up.script(garbage().unread())
    with pytest.raises(ConnectFailed, match="cannot connect") as caught:
        await transport.send(ask(up.url.replace("http:", "https:")))
    assert not caught.value.sent
    assert not up.requests


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_no_connection_in_time_sent_nothing(transport: Transport, scheme: str) -> None:
    """A full backlog swallows the SYN; a mute peer swallows the TLS handshake."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as mute:
        fillers = [socket.socket() for _ in range(4 if scheme == "http" else 0)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(mute.getsockname())
        await asyncio.sleep(0.05)
        limits = Limits(connect_timeout_s=0.1)
        with pytest.raises(ConnectTimeout, match=r"within 0\.1 s") as caught:
            await transport.send(
                ask(f"{scheme}://127.0.0.1:{mute.getsockname()[1]}", limits=limits)
            )
        for filler in fillers:
            filler.close()
    assert not caught.value.sent


async def test_the_first_token_time_out_also_ends_connecting(transport: Transport) -> None:
    """Then it is a connect time-out: nothing was sent."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"https://127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(ConnectTimeout):
            await transport.send(ask(url, limits=Limits(first_token_timeout_s=0.1)))


@pytest.mark.parametrize("base_url", ["", "not a url", "ftp://host"])
async def test_an_unusable_url_is_a_configuration_error(
    transport: Transport, base_url: str
) -> None:
    """Nothing a provider did."""
    with pytest.raises(ConfigError):
        await transport.send(ask(base_url))


async def test_an_error_body_is_scrubbed_and_keeps_its_wait(
    up: FakeUpstream, transport: Transport
) -> None:
    """Credentials go, Retry-After stays, and the text of an authentication error is ours."""
    up.script(
        Status(429, {"error": {"message": "slow down sk-abcdefghijklmnop"}}, {"retry-after": "7"}),
        Status(401, {"error": {"message": "Incorrect API key: hunter2"}}),
    )
    with pytest.raises(UpstreamRateLimited) as limited:
        await transport.send(ask(up.url))
    assert "sk-abc" not in str(limited.value)
    assert limited.value.retry_after_s == 7
    with pytest.raises(AuthFailed) as refused:
        await transport.send(ask(up.url))
    assert "hunter2" not in str(refused.value)
    assert up.connections_made == 1


@pytest.mark.parametrize("answer", [STREAM, Raw(STREAM.head + b"".join(STREAM.body), end="keep")])
async def test_a_slow_reader_is_not_a_slow_provider(
    up: FakeUpstream, transport: Transport, answer: Answer
) -> None:
    """Time-outs count while somebody waits for the provider, also if all came in one packet."""
    up.script(answer)
    reply = await transport.send(ask(up.url, stream=True, limits=QUICK))
    async for _ in reply:
        await asyncio.sleep(0.05)
    assert reply.outcome == "complete"


async def test_a_late_answer_is_fine_without_a_first_token_time_out(
    up: FakeUpstream, transport: Transport
) -> None:
    """A model may think for longer than an answer may be silent."""
    up.script(Sse(chat_chunks("a b c")).late(0.2))
    limits = Limits(idle_timeout_s=0.1)
    reply = await transport.send(ask(up.url, stream=True, limits=limits))
    assert await read(reply) == "a b c"


@pytest.mark.parametrize("seed", range(20))
async def test_answers_survive_any_split(up: FakeUpstream, transport: Transport, seed: int) -> None:
    """A read may end anywhere: in the head, in a chunk size, in a character."""
    dice = random.Random(seed)
    text = "née \u2028 漢字 🙂 end"
    up.script(Sse(chat_chunks(text)).split(dice), Json(chat_answer(text)).split(dice))
    assert await read(await transport.send(ask(up.url, stream=True))) == text
    assert await read(await transport.send(ask(up.url))) == text
    assert up.connections_made == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_the_wire_may_differ_from_what_was_asked(
    up: FakeUpstream, transport: Transport, stream: bool
) -> None:
    """A stream request answered whole, and a whole one by a stream, mean the same."""
    up.script(Sse(chat_chunks("hello")) if not stream else Json(chat_answer("hello")))
    assert await read(await transport.send(ask(up.url, stream=stream))) == "hello"


async def test_compressed_answers_are_understood(up: FakeUpstream, transport: Transport) -> None:
    """We ask for none, and some servers do not listen."""
    import gzip
    import json

    body = gzip.compress(json.dumps(chat_answer("zipped")).encode())
    up.script(Status(200, body, {"content-encoding": "gzip", "content-type": "application/json"}))
    up.script(Status(200, b"not gzip", {"content-encoding": "gzip"}))
    assert await read(await transport.send(ask(up.url))) == "zipped"
    assert up.requests[0].headers["accept-encoding"] == "identity"
    with pytest.raises(BadAnswer, match="not valid HTTP"):
        await transport.send(ask(up.url))


async def test_a_large_request_arrives_whole(up: FakeUpstream, transport: Transport) -> None:
    """More than the kernel takes at once."""
    text = "x" * 5_000_000
    up.on(lambda request: Json({"nonce": request.json()["nonce"]}))
    assert await read(await transport.send(ask(up.url, text, dialect=ECHO))) == text


async def test_an_early_answer_to_a_large_request_is_heard(
    up: FakeUpstream, transport: Transport
) -> None:
    """A server may refuse before it has read everything; that connection is not used again."""
    up.script(Status(413, b"").unread())
    with pytest.raises(ProviderError) as caught:
        await transport.send(ask(up.url, "x" * 20_000_000, dialect=ECHO))
    assert caught.value.upstream_status == 413

"""The public test doubles behave as they say."""

import asyncio
import json
import random
import socket

import pytest

from trunkline.clock import Clock
from trunkline.testing import (
    Answer,
    FakeUpstream,
    Json,
    ManualClock,
    Raw,
    Request,
    Sse,
    Status,
    chat_answer,
    chat_chunks,
    chat_usage,
    garbage,
    hang,
    hang_up,
    html,
    replay,
    reset,
)

# --- ManualClock ----------------------------------------------------------------------------


def test_timers_fire_in_order_of_time_then_of_registration() -> None:
    """Also those that a timer sets while time moves."""
    clock, log = ManualClock(), []

    def fire(name: str) -> None:
        log.append((name, clock.monotonic_s()))

    def first() -> None:
        fire("first")
        clock.call_later(0.5, lambda: fire("set by first"))

    clock.call_later(2, lambda: fire("late"))
    clock.call_later(1, first)
    clock.call_later(1, lambda: fire("second"))
    clock.call_later(4, lambda: fire("not yet"))
    clock.advance(3)
    assert log == [("first", 1), ("second", 1), ("set by first", 1.5), ("late", 2)]
    assert clock.monotonic_s() == 3
    assert clock.pending == 1


def test_a_cancelled_timer_does_not_fire() -> None:
    """Cancelling is safe to repeat."""
    clock, log = ManualClock(), []
    timer = clock.call_later(1, lambda: log.append("fired"))
    timer.cancel()
    timer.cancel()
    assert clock.pending == 0
    clock.advance(2)
    assert not log


def test_wall_clock_and_monotonic_time_move_together() -> None:
    """Records and durations agree."""
    clock: Clock = ManualClock(start_ns=1000)
    assert (clock.now_ns(), clock.monotonic_s()) == (1000, 0)
    assert isinstance(clock, ManualClock)
    clock.advance(1.5)
    assert (clock.now_ns(), clock.monotonic_s()) == (1_500_001_000, 1.5)


async def test_sleepers_wake_in_their_turn() -> None:
    """`elapse` lets a task sleep again and again while time moves."""
    clock, log = ManualClock(), []

    async def tick(name: str, delay_s: float) -> None:
        while True:
            await clock.sleep(delay_s)
            log.append((name, clock.monotonic_s()))

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(tick("a", 1)), group.create_task(tick("b", 1.5))]
        await clock.elapse(3)
        for task in tasks:
            task.cancel()
    assert log == [("a", 1), ("b", 1.5), ("a", 2), ("b", 3), ("a", 3)]
    assert clock.pending == 0


async def test_advance_wakes_a_sleeper_at_the_next_await() -> None:
    """Time itself never runs the loop."""
    clock = ManualClock()
    sleeper = asyncio.create_task(clock.sleep(1))
    await asyncio.sleep(0)
    clock.advance(1)
    assert not sleeper.done()
    await sleeper


# --- FakeUpstream ---------------------------------------------------------------------------


class Client:
    """A bare HTTP client: what it sees is what was on the wire."""

    def __init__(self, up: FakeUpstream) -> None:
        host, _, port = up.url.removeprefix("http://").partition(":")
        self.address = host, int(port)

    async def connect(self) -> None:
        """Open the connection."""
        self.reader, self.writer = await asyncio.open_connection(*self.address)

    async def post(self, body: object = None) -> None:
        """Send a request."""
        data = json.dumps(body or {}).encode()
        head = f"POST /v1/x HTTP/1.1\r\nHost: h\r\nX-A: b\r\nContent-Length: {len(data)}\r\n\r\n"
        self.writer.write(head.encode() + data)

    async def whole(self) -> bytes:
        """Return what comes until the connection is closed."""
        return await self.reader.read()

    async def one(self) -> tuple[bytes, bytes]:
        """Return head and body of one answer."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                return head, await self.reader.readexactly(int(line.split(b":")[1]))
        return head, await self.reader.readuntil(b"0\r\n\r\n")

    def close(self) -> None:
        """Hang up."""
        self.writer.close()


@pytest.fixture
async def up() -> FakeUpstream:  # type: ignore[misc]
    """A provider."""
    async with FakeUpstream() as upstream:
        yield upstream


@pytest.fixture
async def client(up: FakeUpstream) -> Client:  # type: ignore[misc]
    """A connection to it."""
    made = Client(up)
    await made.connect()
    yield made
    made.close()


async def test_requests_are_kept_as_they_came(up: FakeUpstream, client: Client) -> None:
    """Method, path, headers in lower case, body, and the connection they came on."""
    for number in range(2):
        await client.post({"n": number})
        await client.one()
    first, second = up.requests
    assert (first.method, first.path, first.headers["x-a"]) == ("POST", "/v1/x", "b")
    assert [first.json(), second.json()] == [{"n": 0}, {"n": 1}]
    assert first.connection == second.connection == 1
    assert first.time_s <= second.time_s


async def test_the_queue_goes_before_the_function(up: FakeUpstream, client: Client) -> None:
    """Scripted answers are used once, in order; then the function is asked."""
    up.on(lambda request: Json({"echo": request.json()}))
    up.script(Json({"n": 1}), Status(429, "slow", {"retry-after": "1"}))
    said = []
    for _ in range(3):
        await client.post({"x": 1})
        said.append(await client.one())
    assert [body for _, body in said] == [b'{"n": 1}', b"slow", b'{"echo": {"x": 1}}']
    assert b"429 Too Many Requests" in said[1][0]
    assert b"retry-after: 1" in said[1][0]
    assert up.connections_made == 1


async def test_by_default_it_answers_as_it_was_asked(up: FakeUpstream, client: Client) -> None:
    """Whole or streamed, and with usage where a stream asks for it."""
    await client.post({})
    assert json.loads((await client.one())[1]) == chat_answer()
    await client.post({"stream": True})
    assert b'"usage"' not in (await client.one())[1]
    await client.post({"stream": True, "stream_options": {"include_usage": True}})
    head, body = await client.one()
    assert b"text/event-stream" in head
    assert b'"choices": [], "usage": {' in body
    assert body.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    ("answer", "wire"),
    [
        (hang_up(), b""),
        (hang_up().unread(), b""),
        (garbage(), garbage().body[0]),
        (Raw(b"a", b"b"), b"ab"),
        (Status(299, b"").closing(), Status(299, b"").head),
        (Json([1, 2, 3]).cut_after(4), Json([1, 2, 3]).head + b"[1, "),
        (Sse(["x", b": c\n\n"], done=False).closing(),
         Sse([]).head + b"9\r\ndata: x\n\n\r\n5\r\n: c\n\n\r\n0\r\n\r\n"),
    ],
)  # fmt: skip
async def test_what_is_on_the_wire(
    up: FakeUpstream, client: Client, answer: Answer, wire: bytes
) -> None:
    """Byte for byte, and then the end."""
    up.script(answer)
    await client.post()
    try:
        assert await client.whole() == wire
    except ConnectionResetError:  # it closed with our request unread
        assert answer.early


@pytest.mark.parametrize("answer", [reset(), reset().unread(), Json([1, 2]).reset_after(2)])
async def test_a_reset_is_a_reset(up: FakeUpstream, client: Client, answer: Answer) -> None:
    """The client sees RST, not an orderly end."""
    up.script(answer)
    await client.post()
    with pytest.raises(ConnectionResetError):
        await client.whole()


@pytest.mark.parametrize("answer", [hang(), Sse(["x"]).hang_after(3), html().late(60)])
async def test_a_silence_lasts_until_the_client_leaves(
    up: FakeUpstream, client: Client, answer: Answer
) -> None:
    """It counts as busy, and ends with its connection."""
    up.script(answer)
    await client.post()
    await asyncio.sleep(0.01)
    assert (up.open_connections, up.busy_connections) == (1, 1)
    with pytest.raises(TimeoutError):
        await up.wait_idle(0.01)
    client.close()
    await up.wait_idle(closed=True)
    assert up.open_connections == 0


async def test_a_split_answer_says_the_same(up: FakeUpstream, client: Client) -> None:
    """In more pieces, that depend on nothing but the dice."""
    answer = Sse(chat_chunks("one two"))
    pieces = answer.split(random.Random(7)).body
    assert pieces == answer.split(random.Random(7)).body
    assert b"".join(pieces) == answer.head + b"".join(answer.body)
    assert max(map(len, pieces)) <= 40
    up.script(answer.split(random.Random(7)))
    await client.post()
    assert b"".join(await client.one()) == b"".join(pieces)


async def test_slow_waits_before_each_piece(up: FakeUpstream, client: Client) -> None:
    """The pieces come apart."""
    up.script(Sse(["a", "b"], delay_s=0.02))
    await client.post()
    started_s = asyncio.get_running_loop().time()
    await client.one()
    assert asyncio.get_running_loop().time() - started_s > 0.055


async def test_idle_connections_can_be_closed(up: FakeUpstream, client: Client) -> None:
    """As servers do."""
    await client.post()
    await client.one()
    await up.wait_idle()
    up.close_idle()
    assert await client.whole() == b""
    await up.wait_idle(closed=True)


async def test_a_recording_is_replayed(up: FakeUpstream, client: Client) -> None:
    """Status, headers and body of the record; the connection's headers are ours."""
    record = {
        "response_status": 400,
        "response_headers": {"X-Request-Id": "r", "Transfer-Encoding": "chunked"},
        "body_encoding": "base64",
        "response_body": "eyJhIjoxfQ==",
    }
    up.script(replay(record))
    await client.post()
    head, body = await client.one()
    assert b"400 Bad Request" in head
    assert b"x-request-id: r" in head
    assert b"chunked" not in head
    assert body == b'{"a":1}'


def test_in_a_thread_it_serves_synchronous_code() -> None:
    """And can be scripted from outside."""
    with FakeUpstream.in_thread(lambda request: Json(request.json())) as up:
        up.script(Json("first"))
        said = b""
        host, port = Client(up).address
        with socket.create_connection((host, port)) as connection:
            for body in (b"{}", b"[1]"):
                head = b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body)
                connection.sendall(head + body)
                said += connection.recv(65536)
        assert said.count(b"200 OK") == 2
        assert said.endswith(b"[1]")
    assert [request.body for request in up.requests] == [b"{}", b"[1]"]


async def test_leaving_closes_what_stands() -> None:
    """Also a connection in the middle of an answer."""
    async with FakeUpstream(lambda _: hang()) as up:
        client = Client(up)
        await client.connect()
        await client.post()
        await asyncio.sleep(0.01)
    assert up.open_connections == 0
    assert await client.whole() == b""
    client.close()


def test_chat_bodies_are_what_openai_says() -> None:
    """The official client's own types accept them."""
    from openai.types.chat import ChatCompletion, ChatCompletionChunk

    whole = ChatCompletion.model_validate(chat_answer("Hi.", usage=chat_usage(3, 2)), strict=True)
    assert whole.choices[0].message.content == "Hi."
    assert whole.usage is not None
    assert whole.usage.total_tokens == 5
    chunks = [
        ChatCompletionChunk.model_validate(chunk, strict=True)
        for chunk in chat_chunks("one  two", usage=chat_usage(3, 2))
    ]
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "one  two"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []


def test_requests_can_be_made_by_hand() -> None:
    """For tests of a function given to `on`."""
    request = Request("POST", "/", {}, b'{"a": 1}', 1, 0.0)
    assert request.json() == {"a": 1}

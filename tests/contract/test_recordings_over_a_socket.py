"""Recorded answers over a real connection, cut anywhere, say what they say in one piece.

All of them, of every dialect that chats. A stream that stops before its end is an error, whether
the connection breaks, closes in good order between two units, or within one.
"""

import random
from collections import Counter
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from tests.contract.test_recordings_accounted import DIALECTS, FAILS, RECORDINGS, Json, records
from tests.wire import ask
from trunkline.clock import SystemClock
from trunkline.dialects import load
from trunkline.errors import BadAnswer, ConnectionLost, ProviderError, Truncated
from trunkline.testing import Answer, FakeUpstream, Status, replay
from trunkline.transport import Transport
from trunkline.transport.framing import SPLITTERS, is_stream
from trunkline.types import Chat, Event, Frame, Mark, Memo

STREAMING = {name for name in DIALECTS.values() if not name.endswith(("embeddings", "counting"))}
"""The dialects that chat."""

pytestmark = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason=f"no recordings at {RECORDINGS}; set TRUNKLINE_RECORDINGS"
)


def answers() -> Iterator[tuple[str, Json]]:
    """Give the dialect and the record of each answer to a chat."""
    for _, record in records():
        dialect = DIALECTS.get(record["endpoint"])
        if dialect in STREAMING and record["response_status"] < 400:
            yield dialect, record


def is_whole(name: str, record: Json) -> bool:
    """Tell a whole body from a stream, as transport does."""
    headers = {k.lower(): str(v) for k, v in (record["response_headers"] or {}).items()}
    kind = headers.get("content-type", "")
    return not is_stream(load(name).FRAMING, record["body"][:99], kind)


def frames_of(name: str, record: Json) -> Iterator[tuple[int, Frame]]:
    """Decode a body in one piece, up to its end: where each frame begins, and the frame."""
    dialect, body, memo = load(name), record["body"], Memo()
    if is_whole(name, record):
        yield 0, dialect.decode(body, memo)
        return
    splitter, place = SPLITTERS[dialect.FRAMING](), 0
    for unit in [*splitter.feed(body), splitter.rest()]:
        if unit.strip():
            frame = dialect.decode_frame(unit, memo)
            yield place, frame
            if frame.terminal:
                return
        place += len(unit)


def call(name: str, url: str, *, stream: bool) -> Chat:
    """Make a chat that a deployment of a dialect can be asked."""
    chat = ask(url, stream=stream, dialect=name)
    if name != "openai_text":
        return chat
    return replace(chat, body=load(name).read(b'{"prompt":"Hi"}').body)


async def heard(transport: Transport, chat: Chat) -> tuple[Event, ...]:
    """Send a chat; return the events of its answer."""
    reply = await transport.send(chat)
    return tuple([event async for frame in reply for event in frame.events])


@pytest.mark.slow
async def test_recordings_survive_the_wire() -> None:
    """Each decodes to the same events, or to the same class of error, however it is cut."""
    dice, counts = random.Random(1), Counter[str]()
    async with FakeUpstream() as up:
        transport = Transport(SystemClock())
        for name, record in answers():
            chat = call(name, up.url, stream=not is_whole(name, record))
            up.script(replay(record).split(dice, max(len(record["body"]) // 50, 3)))
            if kind := FAILS.get(record["id"]):
                with pytest.raises(kind):
                    await heard(transport, chat)
                continue
            expected = [event for _, frame in frames_of(name, record) for event in frame.events]
            assert await heard(transport, chat) == tuple(expected), record["id"]
            counts[f"{name} {'streamed' if chat.stream else 'whole'}"] += 1
        await transport.close()
    print(f"over a socket: {dict(counts)}")
    assert counts.total() >= 2400
    expected_keys = {f"{name} {how}" for name in STREAMING for how in ("whole", "streamed")}
    assert counts.keys() == expected_keys - {"ollama whole"}  # a stream of one line


def end_of(name: str, record: Json) -> tuple[int, int] | None:
    """Return where the frame that ends a stream begins and ends; None if none was before it."""
    shown = False
    for place, frame in frames_of(name, record):
        if frame.mark & Mark.FINISH or frame.terminal:
            return (place, place + len(frame.raw)) if shown else None
        shown = shown or bool(frame.mark & Mark.SHOWN)
    raise AssertionError(record["id"])


@pytest.mark.slow
async def test_streams_cut_short_are_errors() -> None:
    """Before the frame that ends them or within it, closed in good order or broken off."""
    dice, counts = random.Random(2), Counter[str]()
    async with FakeUpstream() as up:
        transport = Transport(SystemClock())
        for name, record in answers():
            if record["id"] in FAILS or is_whole(name, record):
                continue
            if (end := end_of(name, record)) is None:
                continue
            start, within = end[0], dice.randrange(end[0] + 1, sum(end) // 2 + 1)
            cuts: tuple[tuple[Answer, tuple[type[ProviderError], ...]], ...] = (
                (closed(record, start), (Truncated,)),
                (closed(record, within), (Truncated, BadAnswer)),
                (replay(record).cut_after(start), (Truncated,)),
                (replay(record).reset_after(within), (ConnectionLost,)),
            )
            for answer, kinds in cuts:
                up.script(answer)
                with pytest.raises(kinds):
                    await heard(transport, call(name, up.url, stream=True))
            counts[name] += 1
        await transport.close()
    print(f"cut in four ways: {dict(counts)}")
    assert counts.keys() == STREAMING
    assert counts.total() >= 700


def closed(record: Json, size: int) -> Status:
    """Answer with the beginning of a body, as if it were all."""
    headers = {k.lower(): v for k, v in (record["response_headers"] or {}).items()}
    kind = {k: v for k, v in headers.items() if k == "content-type"}
    return Status(200, record["body"][:size], kind)

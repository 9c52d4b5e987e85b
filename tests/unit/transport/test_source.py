"""Frames of a body: where an answer begins, how it ends, what is said of a failure."""

import pytest
from msgspec.structs import replace

from tests.unit.transport.scripted import ScriptedExchange
from tests.wire import ECHO
from trunkline.dialects import load
from trunkline.errors import (
    AnswerTooLarge,
    AuthFailed,
    BadAnswer,
    ConnectionLost,
    ProviderError,
    Truncated,
)
from trunkline.testing import ManualClock
from trunkline.transport.source import WireSource, name_blame, read_body
from trunkline.transport.watch import Watch
from trunkline.types import Deployment, Frame, Limits, Mark

DEPLOYMENT = Deployment(provider="fake", model="m", dialect=ECHO)


def source(exchange: ScriptedExchange, clock: ManualClock | None = None) -> WireSource:
    """Return a source over `exchange` in the echo dialect."""
    watch = Watch(clock or ManualClock(), Limits())
    watch.follow(exchange)
    return WireSource(exchange, watch, load(ECHO), DEPLOYMENT)


async def rest(wire: WireSource) -> list[bytes | None]:
    """Return the raw bytes of the frames to the end; None stands for an end that is none."""
    found: list[bytes | None] = []
    while True:
        frame = await wire.next()
        found.append(None if frame is None else frame.raw)
        if frame is None or frame.terminal:
            return found


def raw(frames: list[Frame]) -> list[bytes]:
    """Return the frames' bytes."""
    return [frame.raw for frame in frames]


async def test_an_answer_begins_with_its_first_meaningful_frame() -> None:
    """Comments before it are kept; what follows is not read yet."""
    exchange = ScriptedExchange(b": one\n\n: two\n\ndata: a\n\ndata: b\n\n", b"data: [END]\n\n")
    wire = source(exchange)
    assert raw(await wire.begin()) == [b": one\n\n", b": two\n\n", b"data: a\n\n"]
    assert len(exchange.pieces) == 1
    assert await rest(wire) == [b"data: b\n\n", b"data: [END]\n\n"]


async def test_a_whole_body_that_came_at_once_is_not_asked_for_more() -> None:
    """One read gave it all, so its connection is let go without another."""
    exchange = ScriptedExchange(b'{"nonce": "n"}', b"never read", spent=True)
    assert raw(await source(exchange).begin()) == [b'{"nonce": "n"}']
    assert exchange.closed
    assert len(exchange.pieces) == 1


async def test_the_end_of_a_finished_body_is_an_end() -> None:
    """A provider that never says [DONE] ends with a frame of no bytes."""
    wire = source(ScriptedExchange(b"data: a\n\ndata: [FINISH]\n\n", b""))
    await wire.begin()
    assert await rest(wire) == [b"data: [FINISH]\n\n", b""]


async def test_the_end_of_an_unfinished_body_is_no_end() -> None:
    """Without a finish reason the source says None, which a reply calls truncated."""
    wire = source(ScriptedExchange(b"data: a\n\n", b"data: b\n\n", b""))
    await wire.begin()
    assert await rest(wire) == [b"data: b\n\n", None]


async def test_a_last_event_may_lack_its_blank_line() -> None:
    """What is left at the end of the body is an event too, unless it is blank."""
    wire = source(ScriptedExchange(b"data: a\n\n\r\n", b"data: [END]", b""))
    await wire.begin()
    assert await rest(wire) == [b"\r\ndata: [END]"]


async def test_a_stream_that_ends_before_it_began_is_truncated() -> None:
    """Comments alone are no answer, and the failure comes before a reply."""
    with pytest.raises(Truncated):
        await source(ScriptedExchange(b": ping\n\n", b": pong\n\n", b"")).begin()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"nonce": "n"}'),
        ("text/event-stream; charset=utf-8", b'{"nonce": "n"}'),
        ("", b' \r\n {"nonce": "n"}'),
        ("application/octet-stream", b'{"nonce": "n"}'),
    ],
)
async def test_a_whole_body_is_one_frame_whatever_its_type_claims(
    content_type: str, body: bytes
) -> None:
    """The first byte says what a body is; a stream request may be answered whole."""
    exchange = ScriptedExchange(body[:1], body[1:], b"", headers={"content-type": content_type})
    (frame,) = await source(exchange).begin()
    assert frame.terminal
    assert frame.raw == body
    assert exchange.closed == 1


@pytest.mark.parametrize("content_type", ["text/event-stream", "application/json", ""])
async def test_a_stream_is_one_whatever_its_type_claims(content_type: str) -> None:
    """A request for a whole answer may be answered by a stream."""
    exchange = ScriptedExchange(
        b"\n\n", b"data: a\n\ndata: [END]\n\n", headers={"content-type": content_type}
    )
    wire = source(exchange)
    assert (await wire.begin())[-1].raw.endswith(b"data: a\n\n")
    assert await rest(wire) == [b"data: [END]\n\n"]


@pytest.mark.parametrize("pieces", [[b""], [b" \n", b""]])
async def test_an_empty_body_is_a_bad_answer(pieces: list[bytes]) -> None:
    """Blanks alone are empty."""
    with pytest.raises(BadAnswer, match="the answer is empty"):
        await source(ScriptedExchange(*pieces)).begin()


async def test_a_body_without_end_is_refused() -> None:
    """A cap keeps a broken provider from filling the memory."""
    exchange = ScriptedExchange(*[b"x" * 100] * 11)
    with pytest.raises(AnswerTooLarge, match="larger than 1000 bytes"):
        await read_body(exchange, Watch(ManualClock(), Limits()), max_bytes=1000)


async def test_a_failure_in_the_stream_names_the_deployment_and_no_credential() -> None:
    """The provider's text is scrubbed before it leaves."""
    exchange = ScriptedExchange(b"data: a\n\n", b"data: error sk-abcdefghijklmnop\n\n")
    wire = source(exchange)
    await wire.begin()
    with pytest.raises(ProviderError) as caught:
        await wire.next()
    assert caught.value.deployment == "fake/m"
    assert (caught.value.message, str(caught.value)) == ("error ***", "fake/m: error ***")


def test_the_text_of_an_authentication_error_is_never_relayed() -> None:
    """It may quote the credential in a shape nobody knows."""
    error = AuthFailed("Incorrect API key provided: hunter2")
    name_blame(error, DEPLOYMENT)
    assert "hunter2" not in str(error)
    assert "check its api_key" in error.message


@pytest.mark.parametrize(
    ("credential", "place"), [("aws:us-east-1", "AWS keys"), ("google:", "credentials_file")]
)
def test_who_has_no_key_is_told_where_to_look(credential: str, place: str) -> None:
    """A signature that was refused is no `api_key`, which stands nowhere."""
    error = AuthFailed("no")
    name_blame(error, replace(DEPLOYMENT, credential=credential))
    assert place in error.message
    assert "api_key" not in error.message


async def test_once_begun_the_stream_has_an_idle_timer_and_closing_takes_it_away() -> None:
    """Nothing is left behind by an answer that was let go."""
    clock = ManualClock()
    exchange = ScriptedExchange(b"data: a\n\n", ended=False)
    wire = source(exchange, clock)
    await wire.begin()
    assert clock.pending == 1
    wire.close()
    wire.close()
    await wire.wait_closed()
    assert clock.pending == 0
    assert exchange.closed == 2


async def test_a_body_that_arrived_with_its_head_needs_no_timer() -> None:
    """Nothing more can be waited for."""
    clock = ManualClock()
    await source(ScriptedExchange(b"data: a\n\ndata: [END]\n\n"), clock).begin()
    assert clock.pending == 0


async def test_a_lost_connection_passes_through() -> None:
    """What the exchange says of its end is what the reader hears."""
    wire = source(ScriptedExchange(b"data: a\n\n", ConnectionLost("reset"), ended=False))
    await wire.begin()
    with pytest.raises(ConnectionLost, match="reset"):
        await wire.next()


async def test_the_terminal_frame_waits_two_turns_for_the_end_of_the_body() -> None:
    """And no longer: a body that does not end costs its connection, not the caller's time."""
    exchange = ScriptedExchange(b"data: a\n\ndata: [END]\n\n", ended=False)
    wire = source(exchange)
    await wire.begin()
    frame = await wire.next()
    assert frame is not None
    assert frame.mark == Mark.TERMINAL

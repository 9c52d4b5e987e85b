"""When a connection may serve once more, and who gets what comes on it."""

import asyncio

import pytest

from tests.unit.transport.scripted import ScriptedKeeper, ScriptedTransport
from trunkline.transport.connection import ONE_WRITE_BYTES, Connection


class Ear:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def feed(self, data: bytes) -> None:
        """Keep it."""
        self.heard.append(data)

    def feed_eof(self) -> None:
        """Keep it."""
        self.heard.append("eof")

    def lose(self, error: Exception | None) -> None:
        """Keep it."""
        self.heard.append(error)


@pytest.fixture
def wire() -> ScriptedTransport:
    """The loop's side."""
    return ScriptedTransport()


@pytest.fixture
def keeper() -> ScriptedKeeper:
    """Who keeps the connection."""
    return ScriptedKeeper()


@pytest.fixture
async def connection(wire: ScriptedTransport, keeper: ScriptedKeeper) -> Connection:
    """A connection that stands."""
    made = Connection(asyncio.get_running_loop(), keeper, {})
    made.connection_made(wire)
    return made


@pytest.mark.parametrize(("size", "writes"), [(ONE_WRITE_BYTES, 1), (ONE_WRITE_BYTES + 1, 2)])
async def test_a_small_request_leaves_in_one_piece(
    connection: Connection, wire: ScriptedTransport, size: int, writes: int
) -> None:
    """Head and body in one packet; a large body is not copied for that."""
    connection.begin(Ear(), b"head", b"x" * size)
    assert len(wire.written) == writes
    assert b"".join(wire.written) == b"head" + b"x" * size


async def test_the_exchange_hears_all_and_then_nothing(
    connection: Connection, keeper: ScriptedKeeper
) -> None:
    """What comes after it let go is not for it."""
    ear = Ear()
    connection.begin(ear, b"", b"")
    connection.data_received(b"a")
    connection.eof_received()
    connection.end(whole=False)
    connection.data_received(b"b")
    connection.connection_lost(None)
    assert ear.heard == [b"a", "eof"]
    assert keeper.log == ["made", "lost"]


async def test_a_whole_answer_lets_it_serve_once_more(
    connection: Connection, wire: ScriptedTransport, keeper: ScriptedKeeper
) -> None:
    """It goes back to its keeper and stays open."""
    connection.begin(Ear(), b"", b"")
    connection.end(whole=True)
    assert (keeper.log, wire.aborted) == (["made", "free"], False)


async def test_half_an_answer_closes_it(
    connection: Connection, wire: ScriptedTransport, keeper: ScriptedKeeper
) -> None:
    """What is left of that answer would reach another caller."""
    connection.begin(Ear(), b"", b"")
    connection.end(whole=False)
    assert (keeper.log, wire.aborted) == (["made"], True)


async def test_half_a_request_closes_it(connection: Connection, wire: ScriptedTransport) -> None:
    """The server answered before it had read all; the rest would be taken for the next request."""
    connection.begin(Ear(), b"", b"")
    wire.unsent_bytes = 1
    connection.end(whole=True)
    assert wire.aborted


async def test_unasked_bytes_close_an_idle_connection(
    connection: Connection, wire: ScriptedTransport
) -> None:
    """They would be taken for the answer to the next request."""
    connection.begin(Ear(), b"", b"")
    connection.end(whole=True)
    connection.data_received(b"H")
    assert not connection.stands
    assert wire.aborted


async def test_a_server_may_speak_first_but_only_once(
    connection: Connection, wire: ScriptedTransport, keeper: ScriptedKeeper
) -> None:
    """It refused before it read; as it may still answer what it reads, nothing else is sent."""
    ear = Ear()
    connection.data_received(b"no ")
    connection.data_received(b"room")
    connection.begin(ear, b"head", b"body")
    assert wire.written == [b"headbody"]
    assert ear.heard == [b"no room"]
    connection.end(whole=True)
    assert (keeper.log, wire.aborted) == (["made"], True)


async def test_a_connection_that_is_gone_takes_no_orders(connection: Connection) -> None:
    """Each comes too late, and none fails."""
    connection.connection_lost(None)
    connection.pause()
    connection.resume()
    connection.abort()
    connection.abandon()
    connection.end(whole=True)
    assert not connection.stands

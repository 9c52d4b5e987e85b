"""Processes tell each other which deployments rest, through the store."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from trunkline.client.exchange import Exchange
from trunkline.errors import (
    AuthFailed,
    ConnectFailed,
    ProviderError,
    RecordError,
    UpstreamFailed,
    UpstreamRateLimited,
)
from trunkline.routing.circuit import Circuit
from trunkline.routing.health import Health
from trunkline.storage.circuits import CircuitRow, CircuitTable
from trunkline.storage.sqlite import SqliteDatabase
from trunkline.testing import ManualClock

DOWN = UpstreamFailed("500")


class Process:
    """One that takes part."""

    def __init__(self, database: SqliteDatabase, clock: ManualClock, host: str = "one") -> None:
        self.clock, self.health = clock, Health()
        self.table = CircuitTable(database)
        self.exchange = Exchange(self.health, self.table, clock)
        self.exchange._host = host

    @property
    def circuit(self) -> Circuit:
        """Of the only deployment."""
        return self.health.of("p/m").circuit

    def state(self) -> str:
        """Return what the circuit is called now."""
        return self.circuit.state(self.clock.monotonic_s())

    def fail(self, error: ProviderError, times: int = 5) -> None:
        """Let attempts fail, and tell it."""
        for _ in range(times):
            self.circuit.fail(error, self.clock.monotonic_s(), self.circuit.era)
        self.exchange.run()

    def answered(self) -> None:
        """Have an answer come to its end."""
        self.circuit.succeed()
        self.health.of("p/m").pace.learn(self.clock.monotonic_s(), 0.1, 0.1, 10, stream=True)


@pytest.fixture
def clock() -> ManualClock:
    """Make a clock for all."""
    return ManualClock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    """Make the store."""
    with closing(SqliteDatabase(tmp_path / "t.db")) as database:
        yield database


@pytest.fixture
def two(database: SqliteDatabase, clock: ManualClock) -> tuple[Process, Process]:
    """Make two processes on one host."""
    return Process(database, clock), Process(database, clock)


def test_a_rest_is_shared_and_its_end_too(two: tuple[Process, Process], clock: ManualClock) -> None:
    """Who has not tried it stays away as well, a little longer; one probe heals both."""
    first, second = two
    first.fail(DOWN)
    second.exchange.run()
    assert (second.state(), second.circuit.cause) == ("resting", "upstream_failed")
    now_s = clock.monotonic_s()
    assert first.circuit.rest_s(now_s) <= second.circuit.rest_s(now_s) <= 5 * 1.2 * 1.2
    clock.advance(6)
    assert first.circuit.admit(6.0) is None
    first.circuit.answer(6.0, first.circuit.era)
    first.exchange.run()
    second.exchange.run()
    assert second.state() == "ramping"


def test_what_was_heard_is_not_told_again(
    two: tuple[Process, Process], database: SqliteDatabase
) -> None:
    """Else two would keep each other resting for ever."""
    first, second = two
    first.fail(DOWN)
    rows = first.table.read(0)
    for _ in range(3):
        second.exchange.run()
        first.exchange.run()
    assert first.table.read(0) == rows


def test_a_wait_that_was_asked_for_is_everybodys(
    two: tuple[Process, Process], clock: ManualClock
) -> None:
    """It is the account that has no room, whatever a process saw last."""
    first, second = two
    second.answered()
    first.fail(UpstreamRateLimited("later", retry_after_s=20.0), 1)
    second.exchange.run()
    assert second.state() == "limited"
    assert second.circuit.rest_s(clock.monotonic_s()) == pytest.approx(20)
    clock.advance(20)
    assert first.circuit.admit(20.0) is None
    first.exchange.run()
    assert first.table.read(clock.now_ns())[0].state == "limited"


@pytest.mark.parametrize(("ago_s", "believes"), [(1.0, False), (6.0, True)])
def test_who_knows_better_goes_on(
    two: tuple[Process, Process], clock: ManualClock, ago_s: float, believes: bool
) -> None:
    """An answer of the last five seconds counts for more than what somebody else met."""
    first, second = two
    clock.advance(1)
    second.answered()
    clock.advance(ago_s)
    first.fail(DOWN)
    second.exchange.run()
    assert (second.state() == "resting") == believes


@pytest.mark.parametrize(("host", "believes"), [("one", True), ("two", False)])
def test_a_host_without_a_network_speaks_for_itself(
    database: SqliteDatabase, clock: ManualClock, host: str, believes: bool
) -> None:
    """That it cannot connect is no news for others."""
    first, second = Process(database, clock), Process(database, clock, host)
    first.fail(ConnectFailed("refused"))
    second.exchange.run()
    assert (second.state() == "resting") == believes


def test_who_starts_anew_starts_anew(database: SqliteDatabase, clock: ManualClock) -> None:
    """A refused key may have been mended; a wait that was asked for is still one."""
    first = Process(database, clock)
    first.fail(AuthFailed("no", upstream_status=401), 3)
    clock.advance(1)
    later = Process(database, clock)
    later.exchange.run()
    assert later.state() == "closed"
    later.fail(UpstreamRateLimited("later", retry_after_s=20.0), 1)
    clock.advance(1)
    latest = Process(database, clock)
    latest.exchange.run()
    assert latest.state() == "limited"


def test_without_the_store_each_is_for_itself(
    two: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once; when the store is back, what is new is told then."""
    first, second = two

    def away(*rows: object) -> None:
        raise RecordError("away")

    with monkeypatch.context() as patch:
        patch.setattr(CircuitTable, "write", away)
        first.fail(DOWN)
        first.exchange.run()
    assert first.exchange.trouble
    assert len(caplog.records) == 1
    first.exchange.run()
    second.exchange.run()
    assert first.exchange.trouble == ""
    assert second.state() == "resting"


def test_a_forked_child_is_somebody_else(
    two: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hears what its parent tells."""
    first, _ = two
    first.exchange.run()
    parent = first.exchange._owner
    monkeypatch.setattr(os, "getpid", lambda: -1)
    first.exchange.run()
    assert first.exchange._owner not in {"", parent}


def test_old_rows_go(database: SqliteDatabase, clock: ManualClock) -> None:
    """What has been over for a minute is neither told nor kept."""
    first = Process(database, clock)
    row = CircuitRow("p/old", "resting", clock.now_ns(), "", clock.now_ns(), "one", "x")
    first.table.write([row], clock.now_ns())
    clock.advance(59)
    assert first.table.read(clock.now_ns()) == [row]
    clock.advance(2)
    assert first.table.read(clock.now_ns()) == []
    first.fail(DOWN)
    assert [each.deployment for each in first.table.read(0)] == ["p/m"]

"""Two hundred callers on one budget: what it affords is answered, to the nano-dollar."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from tests.servers import Postgres
from tests.serving import Process, alive, eventually, starting
from tests.storm import (
    ADMIN,
    COST_NUSD,
    TAG,
    Books,
    Closed,
    Provider,
    Storm,
    configure,
    ended_well,
    usd,
)

pytestmark = pytest.mark.slow

HELD_S = 5.0
"""Idle money goes back, and journals are ingested, within two; the rest is for a busy machine."""
FOLLOWED_S = 2.0
"""When all workers know of a budget that was made at run time; see docs/reference/http.md."""
SECRET = "a-secret-that-both-replicas-know"
GONE, HELD, AWAY = "402 budget_exhausted", "429 budget_held", "503 record_unwritable"


@pytest.fixture
def provider() -> Provider:
    """What it was asked for."""
    return Provider()


@pytest.fixture
def url(provider: Provider) -> Iterator[str]:
    """Where it answers."""
    with provider.running() as upstream:
        yield upstream.url


@pytest.fixture
def started() -> Iterator[Any]:
    """Start gateways; none outlives the test."""
    with starting() as start:

        def gateway(workers: int = 4, **environment: str) -> Process:
            given = {"TRUNKLINE_ADMIN_KEY": ADMIN, **environment}
            process: Process = start("--port", "0", "--workers", str(workers), **given)
            return process

        yield gateway


@pytest.fixture
def database(postgres: Postgres, database_url: str) -> tuple[Postgres, str]:
    """A server, and the address of an empty database there."""
    return postgres, database_url


def check_answered(storm: Storm, closed: Closed) -> None:
    """Whoever saw the end of an answer has its row, at its price."""
    assert {closed.calls.get(each) for each in storm.answered} == {("complete", COST_NUSD)}


def tell(held_s: float, *storms: Storm) -> None:
    """Print how it went."""
    for storm in storms:
        rate = len(storm.answered) / storm.took_s
        print(f"{rate:.0f} answers/s, {storm.left} left, {storm.broken} cut, {storm.refused}")
    print(f"nothing was held after {held_s:.2f} s")


def kill_all(process: Process) -> None:
    """Kill the gateway and its children, all in one moment."""
    os.kill(process.popen.pid, signal.SIGSTOP)  # it starts nobody any more
    for pid in (*process.children(), process.popen.pid):
        os.kill(pid, signal.SIGKILL)


async def make_budget(process: Process, **fields: Any) -> None:
    """Make one while the gateway runs; returns when each worker knows of it."""
    headers = {"authorization": f"Bearer {ADMIN}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{process.url}/budgets", json={"period": "total", **fields}) as answer,
    ):
        assert answer.status == 200, await answer.text()
    await asyncio.sleep(FOLLOWED_S)


@pytest.mark.acceptance("D05")
@pytest.mark.parametrize("calls", [600, pytest.param(20_000, marks=pytest.mark.torture)])
@pytest.mark.parametrize("mode", ["strict", "hard"])
@pytest.mark.parametrize("made", ["configured", "posted"])
async def test_as_many_as_the_budget_affords(
    started: Any, url: str, provider: Provider, mode: str, made: str, calls: int
) -> None:
    """Not one more and not one less; the books say what the provider says."""
    budget = {"mode": mode, "amount": usd(calls)}
    configure(url, *[budget] * (made == "configured"))
    process = started()
    if made == "posted":
        fields = {"scope": f"tag:{TAG}", "mode": mode, "amount_usd": budget["amount"]}
        await make_budget(process, **fields)
    books = Books("global" if made == "configured" else f"tag:{TAG}")
    storm = Storm(process.url)
    async with books.watched():
        await storm.run()
    held_s = await books.held_s(HELD_S)
    tell(held_s, storm)
    assert ended_well(process)
    assert len(storm.answered) == provider.answers == calls
    assert storm.refused.pop(GONE) == 200
    assert storm.refused.keys() <= {HELD}
    closed = books.close()
    check_answered(storm, closed)
    assert (closed.settled_nusd, closed.overrun_nusd) == (calls * COST_NUSD, 0)
    assert books.most_nusd <= calls * COST_NUSD


@pytest.mark.parametrize("mode", ["strict", "hard"])
async def test_the_last_cent_can_be_spent(
    started: Any, url: str, provider: Provider, mode: str
) -> None:
    """Although four workers want to have some of it."""
    configure(url, {"mode": mode, "amount": usd(3)})
    process = started()
    storm = Storm(process.url)
    await storm.run()
    await Books().held_s(HELD_S)
    assert ended_well(process)
    assert len(storm.answered) == provider.answers == 3
    assert Books().close().settled_nusd == 3 * COST_NUSD


async def test_what_workers_have_taken_goes_back(started: Any, url: str) -> None:
    """Soon after the callers have stopped, with money left and no process ended."""
    configure(url, {"amount": usd(10_000)})
    process = started()
    books = Books()
    storm = Storm(process.url, model="both", streaming=0.5, leaving=0.1)
    async with books.watched():
        async with storm.running():
            await storm.more(300)
            storm.stopping = True
        held_s = await books.held_s(HELD_S)
    tell(held_s, storm)
    assert ended_well(process)
    closed = books.close()
    check_answered(storm, closed)
    assert books.most_nusd > closed.settled_nusd


@pytest.mark.acceptance("D05")
@pytest.mark.parametrize("calls", [600, pytest.param(20_000, marks=pytest.mark.torture)])
@pytest.mark.parametrize("mode", ["strict", "hard"])
async def test_calls_of_every_kind(
    started: Any, url: str, provider: Provider, mode: str, calls: int
) -> None:
    """Streamed, left in the middle, failed over: never more than the limit, at no instant."""
    configure(url, {"mode": mode, "amount": usd(calls)})
    process = started()
    books = Books()
    storm = Storm(process.url, model="both", streaming=0.5, leaving=0.1)
    async with books.watched():
        await storm.run()
    held_s = await books.held_s(HELD_S)
    tell(held_s, storm)
    assert ended_well(process)
    assert storm.refused.keys() <= {GONE, HELD}
    assert storm.left > 20
    closed = books.close()
    check_answered(storm, closed)
    limit_nusd = calls * COST_NUSD
    assert limit_nusd - COST_NUSD < closed.settled_nusd <= limit_nusd
    assert closed.settled_nusd <= provider.answers * COST_NUSD
    assert books.most_nusd <= limit_nusd


@pytest.mark.parametrize("kills", [3, pytest.param(30, marks=pytest.mark.torture)])
async def test_workers_are_killed_and_then_everything(
    started: Any, url: str, provider: Provider, kills: int
) -> None:
    """What was told is on record, what was under way is charged, and nothing stays held."""
    calls = 600 * kills
    configure(url, {"mode": "strict", "amount": usd(calls)})
    process = started()
    books = Books()
    storm = Storm(process.url, model="both", streaming=0.5, leaving=0.1)
    async with books.watched():
        async with storm.running():
            for _ in range(kills):
                await storm.more(100)
                os.kill(process.pid("worker"), signal.SIGKILL)
                await process.heard("SIGKILL")
            await storm.more(100)
            storm.stopping = True
            children = process.children()
            kill_all(process)
        await eventually(lambda: not any(map(alive, children)))
        again = started()
        held_s = await books.held_s(HELD_S)
        rest = Storm(again.url, streaming=0.5)
        await rest.run()
    tell(held_s, storm, rest)
    assert again.end() == (0, "")
    closed = books.close()
    storm.answered |= rest.answered
    check_answered(storm, closed)
    limit_nusd = calls * COST_NUSD
    assert limit_nusd - COST_NUSD < closed.settled_nusd <= limit_nusd
    assert books.most_nusd <= limit_nusd


@pytest.mark.acceptance("A25")
@pytest.mark.parametrize("times", [1, pytest.param(10, marks=pytest.mark.torture)])
@pytest.mark.parametrize("when_store_down", ["closed", "open"])
async def test_two_replicas_and_a_database_that_goes_away(
    started: Any,
    url: str,
    provider: Provider,
    database: tuple[Postgres, str],
    when_store_down: str,
    times: int,
) -> None:
    """Closed, the budget affords as many as ever; open, calls go on, and all of them count."""
    postgres, database_url = database
    calls = 1500 if times == 1 else 40_000
    rule = {"mode": "strict", "amount": usd(calls), "when_store_down": when_store_down}
    configure(url, rule, database_url=database_url)
    first, second = (started(2, TRUNKLINE_DATA=name, TRUNKLINE_SECRET=SECRET) for name in "ab")
    books = Books()
    storm = Storm(first.url, second.url)
    went_on = 0
    async with books.watched(), storm.running():
        for _ in range(times):
            await storm.more(100)
            await asyncio.to_thread(postgres.stop)
            before = len(storm.answered)
            await asyncio.sleep(2)
            went_on += len(storm.answered) - before
            await asyncio.to_thread(postgres.start)
    held_s = await books.held_s(HELD_S)
    tell(held_s, storm)
    for process in (first, second):
        assert process.end()[0] == 0
    closed = books.close()
    check_answered(storm, closed)
    assert len(storm.answered) == provider.answers
    assert closed.settled_nusd == provider.answers * COST_NUSD
    if when_store_down == "closed":
        assert storm.refused[AWAY] > 0
        assert provider.answers == calls
        assert books.most_nusd <= calls * COST_NUSD
    else:
        assert AWAY not in storm.refused
        assert went_on > 0
        assert provider.answers >= calls

"""One client per loop."""

import asyncio
import gc
import os
import threading

import pytest

from trunkline.transport.pools import Pools
from trunkline.transport.port import Exchange
from trunkline.types import Outgoing


class Recorder:
    """A client that records what becomes of it."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        log.append("made")

    async def open(
        self, outgoing: Outgoing, *, connect_timeout_s: float, fresh: bool = False
    ) -> Exchange:
        """Never called here."""
        raise NotImplementedError

    async def close(self) -> None:
        """Record it."""
        self.log.append("closed")

    def abandon(self) -> None:
        """Record it."""
        self.log.append("abandoned")


@pytest.fixture
def log() -> list[str]:
    """What became of the clients, in order."""
    return []


@pytest.fixture
def pools(log: list[str]) -> Pools:
    """Pools of recording clients."""
    return Pools(lambda: Recorder(log))


async def test_a_loop_has_one_client(pools: Pools, log: list[str]) -> None:
    """Every call on a loop shares its connections."""
    assert await pools.client() is await pools.client()
    assert log == ["made"]
    await pools.close()
    assert log == ["made", "closed"]
    await pools.close()
    await pools.client()
    await pools.close()
    assert log == ["made", "closed", "made", "closed"]


def test_each_run_closes_its_own_client(pools: Pools, log: list[str]) -> None:
    """`asyncio.run` shuts the client down with the loop, without being told."""
    for _ in range(3):
        asyncio.run(_touch(pools))
    assert log == ["made", "closed"] * 3
    assert not pools._pools


def test_threads_do_not_share_clients(pools: Pools, log: list[str]) -> None:
    """Loops that run at the same time have a client each."""
    meeting = threading.Barrier(4)

    async def touch() -> None:
        first = await pools.client()
        meeting.wait()
        assert await pools.client() is first

    threads = [threading.Thread(target=lambda: asyncio.run(touch())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(log) == ["closed"] * 4 + ["made"] * 4


def test_the_client_of_a_loop_closed_without_a_shutdown_is_dropped_later(
    pools: Pools, log: list[str]
) -> None:
    """It cannot close itself any more; the next loop gives its sockets up, without a warning."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(_touch(pools))
    loop.close()
    gc.collect()
    assert log == ["made"]
    asyncio.run(_touch(pools))
    assert log == ["made", "abandoned", "made", "closed"]


async def test_a_child_process_gives_its_parents_client_up(
    pools: Pools, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even on a loop that looks the same, and without a goodbye through the parent's loop."""
    first = await pools.client()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert await pools.client() is not first
    gc.collect()
    await asyncio.sleep(0.01)
    assert log == ["made", "abandoned", "made"]
    await pools.close()


async def _touch(pools: Pools) -> None:
    await pools.client()

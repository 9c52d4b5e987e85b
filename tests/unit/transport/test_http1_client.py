"""Which connection a request gets, and how long an idle one is kept."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from trunkline.errors import ConnectFailed
from trunkline.testing import FakeUpstream, ManualClock
from trunkline.transport import http1_client
from trunkline.transport.http1_client import KEEP_ALIVE_S, Http1Client
from trunkline.transport.port import Exchange
from trunkline.types import Outgoing


@pytest.fixture
async def up() -> AsyncIterator[FakeUpstream]:
    """A provider."""
    async with FakeUpstream() as upstream:
        yield upstream


@pytest.fixture
def clock() -> ManualClock:
    """Time that moves when told to."""
    return ManualClock()


@pytest.fixture
async def client(up: FakeUpstream, clock: ManualClock) -> AsyncIterator[Http1Client]:
    """A client that must have let go of everything when its test is over."""
    made = Http1Client(clock)
    yield made
    await made.close()
    await up.wait_idle(closed=True)


async def begin(
    client: Http1Client, up: FakeUpstream, path: str = "/v1", *, fresh: bool = False
) -> Exchange:
    """Send a request and have the head of its answer."""
    outgoing = Outgoing(url=up.url + path, headers={}, body=b"{}")
    exchange = await client.open(outgoing, connect_timeout_s=5, fresh=fresh)
    await exchange.start()
    return exchange


async def end(*exchanges: Exchange) -> None:
    """Read to the end and let go."""
    for exchange in exchanges:
        while await exchange.read():
            pass
        exchange.close()


async def test_an_idle_connection_is_closed_in_time(
    client: Http1Client, up: FakeUpstream, clock: ManualClock
) -> None:
    """Each when its own time is over, by one timer for all."""
    first, second = await begin(client, up), await begin(client, up)
    await end(first)
    await clock.elapse(KEEP_ALIVE_S - 1)
    await end(second)
    assert (up.open_connections, clock.pending) == (2, 1)
    await clock.elapse(1)
    assert (len(client._standing), clock.pending) == (1, 1)
    await clock.elapse(KEEP_ALIVE_S - 2)
    assert len(client._standing) == 1
    await clock.elapse(1)
    assert (len(client._standing), clock.pending) == (0, 0)
    await up.wait_idle(closed=True)


async def test_one_that_serves_again_is_idle_from_then_on(
    client: Http1Client, up: FakeUpstream, clock: ManualClock
) -> None:
    """Neither closed while it serves nor counted from its first rest."""
    await end(await begin(client, up))
    await clock.elapse(KEEP_ALIVE_S - 1)
    busy = await begin(client, up)
    await clock.elapse(KEEP_ALIVE_S)
    assert up.open_connections == 1
    await end(busy)
    await clock.elapse(KEEP_ALIVE_S - 1)
    await end(await begin(client, up))
    assert up.connections_made == 1


async def test_one_that_was_idle_for_too_long_is_not_used(
    client: Http1Client, up: FakeUpstream, clock: ManualClock
) -> None:
    """Though the timer is late."""
    await end(await begin(client, up))
    assert client._sweep_timer is not None
    client._sweep_timer.cancel()
    clock.advance(KEEP_ALIVE_S)
    exchange = await begin(client, up)
    assert not exchange.reused
    assert up.connections_made == 2
    exchange.close()


async def test_the_connection_used_last_serves_first(client: Http1Client, up: FakeUpstream) -> None:
    """So that those above what is needed grow old and are closed."""
    first, second = await begin(client, up), await begin(client, up)
    await end(second, first)
    for _ in range(3):
        await end(await begin(client, up))
    assert [request.connection for request in up.requests] == [1, 2, 1, 1, 1]


async def test_urls_of_one_place_share_their_connections(
    client: Http1Client, up: FakeUpstream
) -> None:
    """Whatever their paths."""
    for path in ("/a", "/b", "?c"):
        await end(await begin(client, up, path))
    assert up.connections_made == 1


async def test_hosts_and_ports_share_nothing(client: Http1Client, up: FakeUpstream) -> None:
    """Not even two names of one machine: each may lead elsewhere tomorrow."""
    async with FakeUpstream() as other:
        await end(await begin(client, up), await begin(client, other))
        assert (up.connections_made, other.connections_made) == (1, 1)
        url = up.url.replace("127.0.0.1", "localhost")
        outgoing = Outgoing(url=url, headers={}, body=b"")
        exchange = await client.open(outgoing, connect_timeout_s=5)
        assert not exchange.reused
        exchange.close()


async def test_a_fresh_connection_takes_the_place_of_all_that_are_idle(
    client: Http1Client, up: FakeUpstream
) -> None:
    """One was stale, so the others are."""
    await end(*[await begin(client, up) for _ in range(3)])
    fresh = await begin(client, up, fresh=True)
    assert not fresh.reused
    assert len(client._standing) == 1
    await end(fresh)


async def test_many_urls_do_not_fill_the_memory(
    client: Http1Client, up: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old ones are forgotten, and their connections are still used and closed."""
    monkeypatch.setattr(http1_client, "MAX_ADDRESSES", 2)
    for n in range(7):
        await end(await begin(client, up, f"/{n}"))
        assert len(client._addresses) <= 2
    assert up.connections_made == 1


async def test_what_ends_after_the_client_is_closed_is_not_kept(
    client: Http1Client, up: FakeUpstream, clock: ManualClock
) -> None:
    """Nobody would close it; and a connection that comes too late carries nothing."""
    exchange = await begin(client, up)
    connecting = asyncio.create_task(begin(client, up))
    await asyncio.sleep(0)
    client._closed = True
    await end(exchange)
    assert clock.pending == 0
    with pytest.raises(ConnectFailed, match="the transport was closed") as caught:
        await connecting
    assert not caught.value.sent
    await up.wait_idle(closed=True)


async def test_closing_is_done_when_it_returns(client: Http1Client, up: FakeUpstream) -> None:
    """The loop may be closed right after it."""
    await end(await begin(client, up))
    await begin(client, up)
    await begin(client, up)
    await client.close()
    assert not client._standing

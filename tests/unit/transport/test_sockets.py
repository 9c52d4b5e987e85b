"""Names and addresses: who is asked, how often, and what is tried."""

import asyncio
import gc
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
import uvloop

from trunkline.transport import sockets
from trunkline.transport.address import Address
from trunkline.transport.sockets import Dialer, abandon, stop_accepting


class Names:
    """Stands in for the resolver; what is a number is left to the real one."""

    def __init__(self, *ports: int) -> None:
        self.ports = ports
        self.asked = 0

    def __call__(self, host: str, port: int, **more: Any) -> list[tuple[Any, ...]]:
        """Answer with loopback, on each of the ports."""
        if more["flags"] == socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        self.asked += 1
        if not self.ports:
            raise socket.gaierror(socket.EAI_NONAME, "unknown name")
        kind = socket.AF_INET, socket.SOCK_STREAM, more["proto"], ""
        return [(*kind, ("127.0.0.1", port)) for port in self.ports]


@contextmanager
def listening(backlog: int = 100) -> Iterator[int]:
    """Listen without accepting; gives the port."""
    with socket.create_server(("127.0.0.1", 0), backlog=backlog) as server:
        yield server.getsockname()[1]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """A resolver that knows no name until it is told ports."""
    made = Names()
    monkeypatch.setattr(socket, "getaddrinfo", made)
    return made


async def dial(dialer: Dialer, url: str = "http://name") -> None:
    """Connect once, and close."""
    wire = _Wire()
    await dialer.dial(Address(url), wire)
    wire.transport.abort()


async def _dial_soon() -> None:
    async with asyncio.timeout(2):
        await dial(Dialer())


class _Wire(asyncio.Protocol):
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass


async def test_a_name_is_asked_for_once_by_all(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by those who come a little later; not by those who come much later."""
    dialer = Dialer()
    with listening() as port:
        names.ports = (port,)
        await asyncio.gather(*(dial(dialer) for _ in range(20)))
        await dial(dialer)
        assert names.asked == 1
        monkeypatch.setattr(sockets, "NAME_S", 0.0)
        await dial(dialer)
        assert names.asked == 2


async def test_one_of_those_who_wait_for_a_name_may_be_cancelled(names: Names) -> None:
    """The others still get their answer."""
    dialer = Dialer()
    with listening() as port:
        names.ports = (port,)
        first, second = (asyncio.create_task(dial(dialer)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await second
        assert names.asked == 1
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_failure_is_not_remembered(names: Names) -> None:
    """Neither an unknown name nor a place that nobody is at any more."""
    dialer = Dialer()
    with pytest.raises(OSError, match="unknown name"):
        await dial(dialer)
    with listening() as port:
        names.ports = (port,)
        await dial(dialer)
    with pytest.raises(ConnectionRefusedError):
        await dial(dialer)
    with listening() as port:
        names.ports = (port,)
        await dial(dialer)
    assert names.asked == 3


async def test_a_number_is_nobodys_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread is asked for it."""
    dialer = Dialer()
    monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", None)
    with listening() as port:
        await dial(dialer, f"http://127.0.0.1:{port}")


async def test_a_name_that_cannot_be_one() -> None:
    """It fails like one that nobody knows, not in a way of its own."""
    with pytest.raises((OSError, ValueError)):
        await dial(Dialer(), f"http://{'x' * 64}.test")


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_an_address_that_is_silent_holds_nobody_up(
    names: Names, run: Callable[[Coroutine[Any, Any, None]], None]
) -> None:
    """The next is tried beside it, on any loop; a dead IPv6 route costs a quarter of a second."""
    with listening(backlog=0) as mute, listening() as port:
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", mute))
        names.ports = (mute, port)
        run(_dial_soon())
        for filler in fillers:
            filler.close()


async def test_a_socket_is_given_up_without_its_loop() -> None:
    """It is closed at once; giving it up again, or nothing, is no error."""
    with listening() as port:
        wire = _Wire()
        await Dialer().dial(Address(f"http://127.0.0.1:{port}"), wire)
        sock = wire.transport.get_extra_info("socket")
        wire.transport.pause_reading()
        abandon(wire.transport)
        assert sock.fileno() == -1
        abandon(wire.transport)
        abandon(None)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize("turns", range(6))
def test_nobody_is_lost_while_a_server_closes(
    run: Callable[[Coroutine[Any, Any, None]], None], turns: int
) -> None:
    """Who had come before it is connected, in whichever turn of the loop it closes."""
    wires: list[_Wire] = []

    def make() -> _Wire:
        wires.append(_Wire())
        return wires[-1]

    async def close_early() -> None:
        server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
        caller = socket.create_connection(server.sockets[0].getsockname())
        for _ in range(turns):
            await asyncio.sleep(0)
        await stop_accepting(server)
        for wire in wires:
            wire.transport.abort()  # fails where it is not connected
        await asyncio.sleep(0)
        caller.close()
        assert not server.is_serving()

    run(close_early())
    gc.collect()  # warns of what was lost

"""Sockets: names, connecting, TLS; and giving them up where the loop would lose one."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from functools import partial
from typing import Any

from aiohappyeyeballs import start_connection

from trunkline.transport.address import Address

NAME_S = 10.0
"""How long the addresses of a name are used without asking again."""
NEXT_ADDRESS_S = 0.25
"""How long one address may keep us waiting before the next is tried beside it.

Source: https://www.rfc-editor.org/rfc/rfc8305#section-8 (2026-11-20)
"""

_CONNECTING_TURNS = 5
"""Of the loop, from accepting a socket to `connection_made`, with some to spare."""
_Infos = list[tuple[Any, Any, int, str, Any]]


class Dialer:
    """Connects protocols to addresses on the running loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._names: dict[tuple[str, int], tuple[float, asyncio.Future[_Infos]]] = {}
        """When each was asked for, and the answer, for all who want it."""

    async def dial(self, address: Address, protocol: asyncio.Protocol) -> None:
        """Connect `protocol` to `address`.

        Raises:
            OSError: the name, the connection or TLS failed.
            ValueError: no name looks like that.
        """
        where = address.hostname, address.port
        try:
            infos = await self._look_up(where)
            # Not left to `create_connection`: uvloop's tries one address after the other.
            sock = await start_connection(infos, happy_eyeballs_delay=NEXT_ADDRESS_S)
        except (OSError, ValueError):
            self._names.pop(where, None)  # the place may have moved
            raise
        name = address.hostname.rstrip(".") if address.trust is not None else None
        await self._loop.create_connection(
            lambda: protocol, sock=sock, ssl=address.trust, server_hostname=name
        )

    async def _look_up(self, where: tuple[str, int]) -> _Infos:
        with suppress(OSError):  # a number needs no thread to ask
            return _ask(*where, flags=socket.AI_NUMERICHOST)
        asked_s, answer = self._names.get(where, (0.0, None))
        now_s = self._loop.time()
        if answer is None or now_s - asked_s >= NAME_S:
            answer = self._loop.run_in_executor(None, partial(_ask, *where))
            answer.add_done_callback(_look_at)
            self._names[where] = now_s, answer
        await asyncio.wait([answer])  # one of those who wait may be cancelled, the others wait on
        return answer.result()


def _ask(host: str, port: int, flags: int = socket.AI_ADDRCONFIG) -> _Infos:
    # With the protocol named, asyncio knows that it may turn Nagle's algorithm off.
    return socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=flags
    )


def _look_at(answer: asyncio.Future[_Infos]) -> None:
    """Keep asyncio from warning of a failure when all who waited for it are gone."""
    if not answer.cancelled():
        answer.exception()


async def stop_accepting(server: asyncio.Server) -> None:
    """Close `server`; whoever it had accepted is connected when this returns.

    asyncio loses the socket of whom it is still connecting while its server closes (3.11).
    """
    loop = asyncio.get_running_loop()
    for listener in server.sockets:
        loop.remove_reader(listener.fileno())
    for _ in range(_CONNECTING_TURNS):
        await asyncio.sleep(0)
    server.close()


def abandon(transport: Any) -> None:
    """Close the socket of a transport whose loop cannot do it any more; nothing is sent.

    asyncio has no public way: such a transport cannot close itself, and warns when it is collected.
    uvloop closes the sockets of a loop with it.
    """
    if (tls := getattr(transport, "_ssl_protocol", None)) is not None:
        transport._closed = True
        transport = tls._transport
    if (sock := getattr(transport, "_sock", None)) is not None:
        sock.close()
        transport._sock = None

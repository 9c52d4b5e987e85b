"""How others talk to the steward: HTTP over a unix socket in the data folder."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from trunkline.journal.bell import socket_path

_ASK_S = 2.0
_EVERY_S = 1.0


class Report(Struct, frozen=True, kw_only=True):
    """What only a worker knows."""

    pid: int
    open_requests: int
    restarts: int
    """How often its place was filled anew."""
    resting: tuple[str, ...] = ()
    """Deployments that are left alone after failures."""


async def ask(data_dir: Path, path: str) -> tuple[int, bytes]:
    """Ask the steward of `data_dir`; return status and body.

    Raises:
        OSError: it is away, or does not answer within two seconds.
    """
    async with asyncio.timeout(_ASK_S):  # TimeoutError is an OSError
        async with _connected(socket_path(data_dir)) as (reader, writer):
            return await _exchange(reader, writer, "GET", path, b"")


async def keep_telling(data_dir: Path, report: Callable[[], Report]) -> None:
    """Tell the steward of `data_dir` each second, until cancelled, what only this worker knows.

    The steward forgets it when the connection ends. While it is away, look for it each second.
    """
    while True:
        with contextlib.suppress(OSError):
            async with _connected(socket_path(data_dir)) as (reader, writer):
                while True:
                    body = msgspec.json.encode(report())
                    async with asyncio.timeout(_ASK_S):
                        await _exchange(reader, writer, "POST", "/worker", body)
                    await asyncio.sleep(_EVERY_S)
        await asyncio.sleep(_EVERY_S)


@contextlib.asynccontextmanager
async def _connected(
    path: Path,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        yield reader, writer
    finally:
        writer.close()


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, method: str, path: str, body: bytes
) -> tuple[int, bytes]:
    head = f"{method} {path} HTTP/1.1\r\nhost: steward\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    try:
        said = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = int(said.split(" ", 2)[1])
        length = int(said.partition("content-length:")[2].partition("\r\n")[0])
        return status, await reader.readexactly(length)
    except (EOFError, ValueError) as error:
        raise ConnectionError(f"the steward broke off: {error}") from error

"""How others talk to the steward: HTTP over a unix socket in the data folder."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from trunkline.config.model import Role
from trunkline.gateway.seen import Seen
from trunkline.journal.bell import socket_path

ASKER = b"x-trunkline-asker"
"""The header that says who asks, as JSON."""
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
    refused: dict[str, int] = {}
    """How often a rate limit refused something, by the kind of its scope."""
    alone: bool = False
    """Others who should share its rate limits do not."""
    circuits: dict[str, str] = {}
    """Deployments whose circuit is not closed, and its state."""
    circuits_alone: bool = False
    """Others do not hear of them."""
    waiting: dict[str, int] = {}
    """How many calls wait for a slot of a deployment."""
    shed: int = 0
    """How many were sent away for want of one."""
    retries_refused: int = 0
    """How many retries the budget did not allow."""
    seen: dict[str, Seen] = {}
    """What it knows of deployments that were asked."""


class Asker(Struct, frozen=True, kw_only=True):
    """On whose behalf a worker asks the steward, who takes its word for it."""

    id: str
    """Of the key."""
    role: Role
    tier: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    tenant_id: str | None = None


class Question(Struct, frozen=True, kw_only=True):
    """What the steward is asked."""

    method: str = "GET"
    path: str
    """With the query, quoted."""
    body: bytes = b""
    asker: Asker | None = None
    """Who asks for what not everybody may have."""


async def ask(data_dir: Path, path: str) -> tuple[int, bytes]:
    """Ask the steward of `data_dir` for what everybody may have; return status and body.

    Raises:
        OSError: it is away, or does not answer within two seconds.
    """
    return await put(data_dir, Question(path=path), _ASK_S)


async def put(data_dir: Path, question: Question, most_s: float) -> tuple[int, bytes]:
    """Put a question to the steward of `data_dir`; return status and body.

    Raises:
        OSError: it is away, or does not answer within `most_s`.
    """
    async with asyncio.timeout(most_s):  # TimeoutError is an OSError
        async with _connected(socket_path(data_dir)) as (reader, writer):
            return await _exchange(reader, writer, question)


async def take(reader: asyncio.StreamReader) -> Question:
    """Read the next question; for the steward.

    Raises:
        EOFError, ValueError, asyncio.LimitOverrunError: there is none.
    """
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    method, path = first.decode("latin-1").split(" ", 2)[:2]
    said = {name.lower(): value for name, _, value in (line.partition(b":") for line in lines)}
    asker = said.get(ASKER)
    return Question(
        method=method,
        path=path,
        body=await reader.readexactly(int(said.get(b"content-length", 0))),
        asker=msgspec.json.decode(asker, type=Asker) if asker is not None else None,
    )


async def keep_telling(data_dir: Path, report: Callable[[], Report]) -> None:
    """Tell the steward of `data_dir` each second, until cancelled, what only this worker knows.

    The steward forgets it when the connection ends. While it is away, look for it each second.
    """
    while True:
        with contextlib.suppress(OSError):
            async with _connected(socket_path(data_dir)) as (reader, writer):
                while True:
                    body = msgspec.json.encode(report())
                    told = Question(method="POST", path="/worker", body=body)
                    async with asyncio.timeout(_ASK_S):
                        await _exchange(reader, writer, told)
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
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, question: Question
) -> tuple[int, bytes]:
    head = f"{question.method} {question.path} HTTP/1.1\r\nhost: steward\r\n".encode()
    if question.asker is not None:
        head += ASKER + b": " + msgspec.json.encode(question.asker) + b"\r\n"
    head += b"content-length: %d\r\n\r\n" % len(question.body)
    writer.write(head + question.body)
    await writer.drain()
    try:
        said = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = int(said.split(" ", 2)[1])
        length = int(said.partition("content-length:")[2].partition("\r\n")[0])
        return status, await reader.readexactly(length)
    except (EOFError, ValueError) as error:
        raise ConnectionError(f"the steward broke off: {error}") from error

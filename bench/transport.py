"""What a call over a real socket costs, a whole one and a paced chunk, on both loops.

From the wire up: bare aiohttp, an exchange over aiohttp (as it is behind a proxy), one over our own
client; then the transport (with its dialect) and the whole line. CPU microseconds of this process
(all threads); the provider is a process of its own. Subjects take turns, the figures are medians of
the rounds.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable

import aiohttp
import uvloop
from msgspec.structs import replace

from bench import upstream
from trunkline import Trunkline, dialects
from trunkline.clock import SystemClock
from trunkline.transport import Transport
from trunkline.transport.aiohttp_client import AiohttpClient
from trunkline.transport.http1_client import Http1Client
from trunkline.transport.port import HttpClient
from trunkline.types import Call, Outgoing

ROUNDS = 7
KINDS = (("whole call", False, 800, 16), ("paced chunk", True, 64, 64))
"""What is measured; whether it streams; how many calls in a round, and how many at a time."""
Subject = Callable[[], Awaitable[None]]


def bare(session: aiohttp.ClientSession, outgoing: Outgoing) -> Subject:
    async def once() -> None:
        async with session.post(
            outgoing.url, data=outgoing.body, headers=outgoing.headers
        ) as answer:
            async for _ in answer.content.iter_any():
                pass

    return once


def exchange(client: HttpClient, outgoing: Outgoing) -> Subject:
    async def once() -> None:
        exchange = await client.open(outgoing, connect_timeout_s=10)
        await exchange.start()
        while await exchange.read():
            pass
        exchange.close()

    return once


def through(service: Callable[[Call], Awaitable[object]], call: Call) -> Subject:
    async def once() -> None:
        reply = await service(call)
        async for _frame in reply:  # type: ignore[attr-defined]
            pass

    return once


async def spend(subject: Subject, times: int, at_a_time: int) -> float:
    async def some() -> None:
        for _ in range(times // at_a_time):
            await subject()

    gc.collect()
    start_ns = time.process_time_ns()
    await asyncio.gather(*(some() for _ in range(at_a_time)))
    return (time.process_time_ns() - start_ns) / 1000 / times


async def compare(subjects: dict[str, Subject], times: int, at_a_time: int) -> dict[str, float]:
    spent: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(ROUNDS):
        for name, subject in subjects.items():
            spent[name].append(await spend(subject, times, at_a_time))
    return {name: statistics.median(rounds[1:]) for name, rounds in spent.items()}


async def measure(url: str) -> None:
    settings = {
        "default_provider": "openai",
        "providers": {"openai": {"api_key": "sk-1234567890", "base_url": f"{url}/v1"}},
        "budgets": [{"scope": "global", "amount": 1_000_000, "period": "month"}],
    }
    transport, own, over_aiohttp = (
        Transport(SystemClock()),
        Http1Client(SystemClock()),
        AiohttpClient(),
    )
    async with (
        Trunkline.from_config({"llm_service": settings}) as line,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        for name, stream, times, at_a_time in KINDS:
            text = "bench:paced " * stream + "x" * 250
            asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": text}]}
            body = json.dumps(asked | {"stream": True} if stream else asked).encode()
            dialect = dialects.load("openai_chat")
            call = dialect.read(body)
            target = line.planner.plan(call).candidates[0].deployment
            aimed = replace(call, target=target)
            outgoing = dialect.encode(aimed, target)
            subjects = {
                "bare aiohttp": bare(session, outgoing),
                "exchange over aiohttp": exchange(over_aiohttp, outgoing),
                "exchange": exchange(own, outgoing),
                "transport": through(transport.send, aimed),
                "whole line": through(line, call),
            }
            found = await compare(subjects, times, at_a_time)
            parts = len(upstream.UNASKED) if stream else 1
            print(
                f"{name}: " + ", ".join(f"{who} {us / parts:.1f} us" for who, us in found.items())
            )
    for client in (transport, own, over_aiohttp):
        await client.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, upstream.running() as url:
        os.environ["TRUNKLINE_DATA"] = folder
        for loop, run in (("asyncio", asyncio.run), ("uvloop", uvloop.run)):
            print(f"on {loop}")
            run(measure(url))

"""What a call over a real socket costs: bare aiohttp, our transport over aiohttp (as it is used
behind a proxy) and over its own client, the whole line; on both loops.

CPU microseconds of this process (all threads); the provider is a process of its own. Subjects take
turns, the figures are medians of the rounds.
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
from trunkline.transport.pools import Pools
from trunkline.types import Call

CALLS, STREAMS, ROUNDS = 400, 12, 7
Subject = Callable[[], Awaitable[None]]


def bare(session: aiohttp.ClientSession, url: str, body: bytes) -> Subject:
    headers = {"content-type": "application/json"}

    async def once() -> None:
        async with session.post(f"{url}/v1/chat/completions", data=body, headers=headers) as answer:
            async for _ in answer.content.iter_any():
                pass

    return once


def through(service: Callable[[Call], Awaitable[object]], call: Call) -> Subject:
    async def once() -> None:
        reply = await service(call)
        async for _frame in reply:  # type: ignore[attr-defined]
            pass

    return once


async def spend(subject: Subject, times: int) -> float:
    gc.collect()
    start_ns = time.process_time_ns()
    for _ in range(times):
        await subject()
    return (time.process_time_ns() - start_ns) / 1000 / times


async def compare(subjects: dict[str, Subject], times: int) -> dict[str, float]:
    spent: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(ROUNDS):
        for name, subject in subjects.items():
            spent[name].append(await spend(subject, times))
    return {name: statistics.median(rounds[1:]) for name, rounds in spent.items()}


async def measure(url: str) -> None:
    settings = {
        "default_provider": "openai",
        "providers": {"openai": {"api_key": "sk-1234567890", "base_url": f"{url}/v1"}},
        "budgets": [{"scope": "global", "amount": 1_000_000, "period": "month"}],
    }
    transport, over_aiohttp = Transport(SystemClock()), Transport(SystemClock())
    over_aiohttp._pools = Pools(AiohttpClient)
    async with (
        Trunkline.from_config({"llm_service": settings}) as line,
        aiohttp.ClientSession() as session,
    ):
        for name, stream, times in (("whole call", False, CALLS), ("stream", True, STREAMS)):
            asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x" * 250}]}
            body = json.dumps(asked | {"stream": True} if stream else asked).encode()
            call = dialects.load("openai_chat").read(body)
            aimed = replace(call, target=line.planner.plan(call)[0].deployment)
            subjects = {
                "bare aiohttp": bare(session, url, body.replace(b": true", b":true")),
                "transport over aiohttp": through(over_aiohttp.send, aimed),
                "transport": through(transport.send, aimed),
                "whole line": through(line, call),
            }
            found = await compare(subjects, times)
            print(f"{name}: " + ", ".join(f"{who} {us:.1f} us" for who, us in found.items()))
            if stream:
                per_chunk = {w: us / len(upstream.EVENTS) for w, us in found.items()}
                print("per chunk: " + ", ".join(f"{w} {us:.2f} us" for w, us in per_chunk.items()))
    await transport.close()
    await over_aiohttp.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, upstream.running() as url:
        os.environ["TRUNKLINE_DATA"] = folder
        for loop, run in (("asyncio", asyncio.run), ("uvloop", uvloop.run)):
            print(f"on {loop}")
            run(measure(url))

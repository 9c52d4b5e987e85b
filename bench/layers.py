"""What the layers cost above the transport: CPU microseconds per call and per chunk.

The transport is replaced by a canned answer that the real dialect decodes. The same answer is read
through the full stack (budget on two scopes, price, journal on disk) and without it, in turns; the
difference is the layers' own. Two figures: the loop's own thread while nothing else runs, as the
least of many short rounds, and the whole process with the keeper thread (fsync, ingestion into
SQLite) at work, as a median. The target of 25 us is for the whole process. The cost of an asyncio
task, measured in the same run, tells how fast the machine is; it does not change the target. Before
that: the loop's thread with no budget, with one, and with budgets on all scopes there are.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import statistics
import tempfile
import time
from typing import Any

from msgspec.structs import replace

from trunkline import Trunkline, dialects
from trunkline.reply import Reply
from trunkline.service import Service, stack
from trunkline.testing import chat_answer, chat_chunks, chat_usage
from trunkline.types import Call, Frame, Memo, Principal

CALLS = 4000
STREAMS = 400
CHUNKS = 60
ROUNDS = 7
SHORT_ROUNDS = 300
SHORT_CALLS = 40
SCOPES = (
    "global",
    "key:k",
    "user:u",
    "team:g",
    "tenant:t",
    "tag:x",
    "run:r",
    "provider:openai",
    "deployment:openai/gpt-4o",
)


class Canned:
    """Frames from memory, as a source."""

    def __init__(self, blocks: list[bytes]) -> None:
        self._blocks = iter(blocks)
        self._memo = Memo()
        self._dialect = dialects.load("openai_chat")

    async def next(self) -> Frame | None:
        block = next(self._blocks, None)
        if block is None:
            return None
        if block[:1] == b"{":
            return self._dialect.decode(block, self._memo)
        return self._dialect.decode_frame(block, self._memo)

    def close(self) -> None:
        """There is no wire."""

    async def wait_closed(self) -> None:
        """There is no wire."""


def canned(blocks: list[bytes]) -> Service:
    async def service(call: Call) -> Reply:
        assert call.target is not None
        return Reply(Canned(blocks), call.target)

    return service


async def spend(service: Service, call: Call, times: int) -> float:
    """Return CPU microseconds per call."""
    gc.collect()
    start_ns = time.process_time_ns()
    for _ in range(times):
        reply = await service(call)
        async for _frame in reply:
            pass
    return (time.process_time_ns() - start_ns) / 1000 / times


async def least(service: Service, call: Call) -> float:
    """Return the least CPU microseconds per call of this thread, over many short rounds."""
    best_us = float("inf")
    for _ in range(SHORT_ROUNDS):
        start_ns = time.thread_time_ns()
        for _ in range(SHORT_CALLS):
            async for _frame in await service(call):
                pass
        best_us = min(best_us, (time.thread_time_ns() - start_ns) / 1000 / SHORT_CALLS)
    return best_us


async def task_us() -> float:
    """Return what an asyncio task costs here and now."""

    async def nothing() -> None:
        pass

    best_us = float("inf")
    for _ in range(SHORT_ROUNDS):
        start_ns = time.thread_time_ns()
        for _ in range(SHORT_CALLS):
            await asyncio.create_task(nothing())
        best_us = min(best_us, (time.thread_time_ns() - start_ns) / 1000 / SHORT_CALLS)
    return best_us


async def compare(
    line: Trunkline, call: Call, blocks: list[bytes], times: int
) -> tuple[float, float]:
    """Return (layered, bare), medians over rounds in turns."""
    inner = canned(blocks)
    [candidate, *_] = line.planner.plan(call).candidates
    aimed = replace(call, target=candidate.deployment)
    layered = stack(line.layers, inner)
    with_us: list[float] = []
    without_us: list[float] = []
    for _ in range(ROUNDS):
        with_us.append(await spend(layered, call, times))
        without_us.append(await spend(inner, aimed, times))
    return statistics.median(with_us[1:]), statistics.median(without_us[1:])


def settings(*scopes: str) -> dict[str, Any]:
    """Return a configuration with a budget on each of `scopes`."""
    budgets = [{"scope": scope, "amount": 1_000_000, "period": "month"} for scope in scopes]
    provider = {"api_key": "sk-test-1234567890", "models": ["gpt-4o"]}
    service = {"default_provider": "openai", "providers": {"openai": provider}, "budgets": budgets}
    return {"llm_service": service}


async def budgets(call: Call, body: list[bytes]) -> None:
    """Print what budgets add to a whole answer, on the loop's thread."""
    inner = canned(body)
    none_us = 0.0
    for scopes in ((), ("user:u",), SCOPES):
        async with Trunkline.from_config(settings(*scopes)) as line:
            aimed = replace(call, target=line.planner.plan(call).candidates[0].deployment)
            own_us = await least(stack(line.layers, inner), call) - await least(inner, aimed)
        none_us = none_us or own_us
        print(
            f"whole answer, {len(scopes)} budgets: {own_us:5.1f} us above transport, "
            f"{own_us - none_us:.1f} of them for hold and settle"
        )


async def measure() -> None:
    usage = chat_usage(20, CHUNKS)
    body = [json.dumps(chat_answer("word " * 100, usage=usage)).encode()]
    chunks = chat_chunks("word " * CHUNKS, usage=usage)
    stream = [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks]
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x" * 250}]}
    call = replace(
        dialects.load("openai_chat").read(json.dumps(asked).encode()),
        principal=Principal(key_id="k", user_id="u", team_id="g", tenant_id="t"),
        tags=("x",),
        run="r",
    )
    await budgets(call, body)
    async with Trunkline.from_config(settings("user:u", "provider:openai")) as line:
        inner = canned(body)
        aimed = replace(call, target=line.planner.plan(call).candidates[0].deployment)
        own = await least(stack(line.layers, inner), call) - await least(inner, aimed)
        task = await task_us()
        print(
            f"whole answer, the loop's thread: {own:5.1f} us above transport, "
            f"{own / task:.1f} asyncio tasks of {task:.1f} us"
        )
        layered, bare = await compare(line, call, body, CALLS)
        print(
            f"whole answer: {layered - bare:5.1f} us above transport ({layered:.1f} - {bare:.1f})"
        )
        stream = [*stream, b"data: [DONE]\n\n"]
        tasks = len(asyncio.all_tasks())
        layered, bare = await compare(line, call, stream, STREAMS)
        per_chunk = (layered - bare) / len(stream)
        print(
            f"stream of {len(stream)}: {layered - bare:5.1f} us above transport "
            f"({layered:.1f} - {bare:.1f}), {per_chunk:.2f} us per chunk, "
            f"{len(asyncio.all_tasks()) - tasks} tasks left"
        )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRUNKLINE_DATA"] = folder
        asyncio.run(measure())

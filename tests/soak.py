"""Make many calls of every kind through the whole stack and tell what they leave behind.

`python -m tests.soak CALLS` prints one JSON object per tenth of the calls. Budget, price, limits,
journal, keeper and log events are on; most calls go to the demo backend in this process, some over
a socket: whole, streamed, left early, failing before and in the middle of their answer.
"""

import asyncio
import gc
import json
import logging
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

from trunkline import Trunkline, call_llm, errors, stream_llm
from trunkline.llm_service import use
from trunkline.testing import FakeUpstream, Request, Sse, Status, answer_hello, chat_chunks
from trunkline.testing.answers import Answer

SAMPLES = 10
AT_ONCE = 4
"""One less than the failures in a row that open a circuit."""
JOURNAL_FILE_BYTES = 512 * 1024
"""Far less than usual, so that files are full, and deleted, again and again."""
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def settings(url: str) -> dict[str, Any]:
    """Return a configuration in which every layer has something to do."""
    rates = {"requests_per_minute": 10**9, "tokens_per_minute": 10**12}
    model = {"name": "gpt-4o", "price": {"input": 2.5, "output": 10.0}}
    wire = {"api_key": "sk-test-123456", "base_url": f"{url}/v1", "models": [model], "retries": 0}
    budgets = [
        {"scope": scope, "amount": 10**6, "period": "month"}
        for scope in ("global", "user:u0", "provider:openai")
    ]
    providers = {"demo": {"rate_limits": rates}, "openai": {**wire, "rate_limits": rates}}
    return {"providers": providers, "budgets": budgets}


def answer(request: Request) -> Answer:
    """Fail as the prompt asks, else answer."""
    text = request.json()["messages"][0]["content"]
    if "refuse" in text:
        return Status(400, {"error": {"message": "no"}})
    if "cut" in text:
        return Sse(chat_chunks("one two three")).cut_after(700)
    return answer_hello(request)


async def whole(number: int, provider: str, text: str) -> None:
    """Ask for a whole answer."""
    await call_llm(provider, "gpt-4o", _said(number, text), {}, user_id=f"u{number}")


async def streamed(number: int, provider: str, text: str, *, most: int = 10**9) -> None:
    """Read a stream, or the first chunks of it."""
    stream = stream_llm(provider, "gpt-4o", _said(number, text), {}, user_id=f"u{number}")
    async with aclosing(stream) as chunks:
        async for _ in chunks:
            most -= 1
            if not most:
                return


def _said(number: int, text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": f"{text} {number}"}]


async def left(number: int, provider: str, text: str) -> None:
    """Leave a stream early."""
    await streamed(number, provider, text, most=2)


async def broken(number: int, provider: str, text: str) -> None:
    """Fail, then succeed, so that no circuit opens."""
    try:
        await streamed(number, provider, text)
    except errors.ProviderError:
        await whole(number, provider, "hello")
    else:
        raise AssertionError(f"{provider} should have failed: {text}")


FATES: list[tuple[Callable[[int, str, str], Awaitable[None]], str, str]] = [
    *[(whole, "demo", "/demo tokens 3\nhello")] * 12,
    *[(streamed, "demo", "/demo tokens 5\nhello")] * 2,
    (left, "demo", "hello"),
    (broken, "demo", "/demo fail 400\nhello"),
    (broken, "demo", "/demo fail midstream\nhello"),
    (whole, "openai", "hello"),
    (streamed, "openai", "hello"),
    (whole, "openai", "hello"),
    (left, "openai", "hello"),
    (broken, "openai", "refuse"),
    (broken, "openai", "cut"),
    (whole, "openai", "hello"),
]


async def some(first: int, count: int) -> None:
    """Make calls number `first` up to `first + count`, a few at once."""

    async def work(start: int) -> None:
        for number in range(first + start, first + count, AT_ONCE):
            fate, provider, text = FATES[number % len(FATES)]
            await fate(number, provider, text)

    await asyncio.gather(*map(work, range(AT_ONCE)))


def sample(line: Trunkline, up: FakeUpstream, calls: int, busiest_bytes: int) -> dict[str, int]:
    """Return what this process has and holds now."""
    gc.collect()
    up.requests.clear()
    line.flush()
    rss_pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "calls": calls,
        "rss_bytes": rss_pages * PAGE_BYTES,
        "fds": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "tasks": len(asyncio.all_tasks()),
        "objects": len(gc.get_objects()),
        "journal_bytes": journal_bytes(line),
        "busiest_journal_bytes": busiest_bytes,
        "recorded": sum(row.requests for row in line.store.usage("day")),
        "held_nusd": sum(account.held_nusd for account in line.ledger.accounts()),
    }


def journal_bytes(line: Trunkline) -> int:
    """Return the size of all journal files that are there."""
    total = 0
    for path in (line.config.data_dir / "journal").glob("*"):
        with suppress(FileNotFoundError):  # ingested meanwhile
            total += path.stat().st_size
    return total


async def main(calls: int) -> None:
    """Make `calls` calls."""
    logging.getLogger("trunkline").setLevel(logging.INFO)  # events are rendered, and go nowhere
    async with FakeUpstream(answer) as up:
        line = Trunkline.from_config({"llm_service": settings(up.url)})
        line._parts.journal._limit_bytes = JOURNAL_FILE_BYTES
        use(line)
        step = calls // SAMPLES
        for done in range(0, calls, step):
            busiest_bytes = 0
            for part in range(0, step, 500):
                await some(done + part, min(500, step - part))
                busiest_bytes = max(busiest_bytes, journal_bytes(line))
            await up.wait_idle()
            print(json.dumps(sample(line, up, done + step, busiest_bytes)), flush=True)
        await line.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))

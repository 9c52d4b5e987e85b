"""Callers by the hundred on one budget, the provider that serves them, and the books afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from tests.serving import CIRCUIT, Process, eventually
from trunkline.accounting.leases import Seen
from trunkline.accounting.period import window
from trunkline.config import load
from trunkline.errors import RecordError
from trunkline.storage.engines import open_database
from trunkline.storage.ledger import SqlLeases
from trunkline.storage.store import Store
from trunkline.testing import FakeUpstream, Json, Request, Sse, Status, chat_answer, chat_chunks
from trunkline.testing.answers import Answer
from trunkline.testing.bodies import chat_usage

TOKENS = 10
COST_NUSD = TOKENS * 1_000_003
"""Of an answer: the prompt costs nothing, and it has as many tokens as it may."""
ADMIN = "an-admin-key-for-the-storm"
TAG = "storm"
EVER = window("total", 0)
_USAGE = chat_usage(10, TOKENS)
_TEXT = "word " * TOKENS
_LATE_S, _SLOW_S = 0.02, 0.002


class Provider:
    """An upstream whose every answer costs the same; one of its two deployments always fails."""

    def __init__(self) -> None:
        self.answers = 0
        """Those that were begun."""

    def answer(self, request: Request) -> Answer:
        """Answer, on another thread than the test's."""
        if "bad" in request.headers["authorization"]:
            return Status(500, {"error": {"message": "not today"}})
        if request.method == "GET":  # a probe, which costs nothing
            return Json({"object": "list", "data": []})
        self.answers += 1
        if request.json().get("stream"):
            return Sse(chat_chunks(_TEXT, usage=_USAGE), delay_s=_SLOW_S).late(_LATE_S)
        return Json(chat_answer(_TEXT, usage=_USAGE)).late(_LATE_S)

    def running(self) -> contextlib.AbstractContextManager[FakeUpstream]:
        """Serve."""
        return FakeUpstream.in_thread(self.answer)


def configure(url: str, *budgets: dict[str, Any], database_url: str | None = None) -> None:
    """Write a configuration: `good/m`, `bad/m`, and the group `both`, which asks the bad one first.

    Args:
        budgets: as in a configuration, global and for ever; `calls` is how many they afford.
    """
    providers = {
        name: {
            "type": "openai_compatible",
            "api_key": f"sk-{name}-key",
            "base_url": f"{url}/v1",
            "retries": 0,
            "models": [{"name": "m", "price": {"input": 0, "output": "1000.003"}}],
        }
        for name in ("good", "bad")
    }
    service = {
        "providers": providers,
        "groups": {"both": {"deployments": ["bad/m", "good/m"]}},
        "budgets": [{"scope": "global", "period": "total", **rule} for rule in budgets],
        "storage": {"database_url": database_url} if database_url else {},
    }
    # JSON is YAML.
    Path("trunkline.yaml").write_text(json.dumps({"llm_service": service}))


def usd(calls: int) -> str:
    """Return what so many calls cost."""
    return f"{calls * COST_NUSD / 10**9:.9f}"


class Storm:
    """Callers that ask until there is no money, and what became of it."""

    def __init__(
        self, *urls: str, model: str = "good/m", streaming: float = 0, leaving: float = 0
    ) -> None:
        """Take turns at `urls`; `streaming` and `leaving`, in the middle, are shares of calls."""
        self.answered: set[str] = set()
        """The call ids of answers that came to their end."""
        self.refused: Counter[str] = Counter()
        """By status and code, as in `429 budget_held`."""
        self.left = 0
        """Answers whose caller hung up."""
        self.broken = 0
        """Connections that were cut, or not taken."""
        self.stopping = False
        self.took_s = 0.0
        """How long it was; 0 = it goes on."""
        self._urls = urls
        self._model, self._streaming, self._leaving = model, streaming, leaving
        self._dice = random.Random(7)

    async def run(self, callers: int = 200) -> None:
        """Ask from so many at once until each has heard that the money is gone."""
        began_s = time.monotonic()
        async with (
            aiohttp.ClientSession(
                headers={"authorization": f"Bearer {ADMIN}", "x-trunkline-tags": TAG},
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=60),
            ) as session,
            asyncio.TaskGroup() as group,
        ):
            for number in range(callers):
                group.create_task(self._caller(session, self._urls[number % len(self._urls)]))
        self.took_s = time.monotonic() - began_s

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Ask while the block runs, and on until the money is gone or `stopping` is set."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.run())
            yield

    async def more(self, count: int) -> None:
        """Wait for so many more answers, or for the end."""
        wanted = len(self.answered) + count
        await eventually(lambda: len(self.answered) >= wanted or self.took_s)

    async def _caller(self, session: aiohttp.ClientSession, url: str) -> None:
        while not self.stopping:
            try:
                said = await self._ask(session, url)
            except (aiohttp.ClientError, ConnectionError):
                self.broken += 1
                said = "cut"
            if said == "402 budget_exhausted":
                return
            if said:
                await asyncio.sleep(self._dice.uniform(0.05, 0.1))

    async def _ask(self, session: aiohttp.ClientSession, url: str) -> str:
        """Ask once; returns the refusal."""
        stream = self._dice.random() < self._streaming
        asked = {
            "model": self._model,
            "messages": [{"role": "user", "content": "hi"}],
            "max_tokens": TOKENS,
            "stream": stream,
        }
        async with session.post(f"{url}/chat/completions", json=asked) as answer:
            if answer.status != 200:
                said = f"{answer.status} {(await answer.json())['error']['code']}"
                self.refused[said] += 1
                return said
            if self._dice.random() < self._leaving:
                await answer.content.readline()
                answer.close()
                self.left += 1
                return ""
            whole = await answer.read()
            assert whole.endswith(b"[DONE]\n\n" if stream else b"}"), whole
            self.answered.add(answer.headers["x-trunkline-call-id"])
            return ""


class Closed(NamedTuple):
    """The books of a budget of which nothing is held any more."""

    settled_nusd: int
    overrun_nusd: int
    calls: Mapping[str, tuple[str, int]]
    """Outcome and cost of each that was sent somewhere."""


class Books:
    """What the database says of the budget that is configured."""

    def __init__(self, scope: str = "global") -> None:
        self._scope = scope
        self._database = open_database(load(Path("trunkline.yaml")))
        self._leases = SqlLeases(self._database)
        self.most_nusd = 0
        """The most that was ever seen settled and held at once."""

    def seen(self) -> Seen:
        """Return the present state."""
        return self._leases.look(self._scope, "total", EVER)

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Look all the time while the block runs, whenever the database can be asked."""
        ended = asyncio.Event()

        async def look() -> None:
            while not ended.is_set():
                with contextlib.suppress(RecordError):
                    seen = await asyncio.to_thread(self.seen)
                    self.most_nusd = max(self.most_nusd, seen.settled_nusd + seen.exposed_nusd)
                await asyncio.sleep(0.01)

        looking = asyncio.create_task(look())
        try:
            yield
        finally:
            ended.set()
            await looking

    async def held_s(self, most_s: float) -> float:
        """Wait until nothing is held; returns how long that took."""
        began_s = time.monotonic()
        while (await asyncio.to_thread(self.seen)).exposed_nusd:
            held_s = time.monotonic() - began_s
            assert held_s < most_s, self._leases.holdings()
            await asyncio.sleep(0.02)
        return time.monotonic() - began_s

    def close(self) -> Closed:
        """Compare the sums, once all processes have ended; nothing may be held."""
        store = Store(self._database)
        rows = {row.call.call_id: row for row in store.calls(10**6) if row.attempts}
        calls = {
            call_id: (row.call.outcome, sum(each.cost.nusd or 0 for each in row.attempts))
            for call_id, row in rows.items()
        }
        settled_nusd, exposed_nusd, overrun_nusd = self.seen()
        paid_nusd = sum(nusd for _, nusd in calls.values())
        assert (exposed_nusd, self._leases.holdings()) == (0, [])
        assert settled_nusd == paid_nusd == store.settled(self._scope, 0)
        self._database.close()
        return Closed(settled_nusd, overrun_nusd, calls)


def ended_well(process: Process) -> bool:
    """Whether a gateway ended by itself and said nothing but that circuits opened and closed."""
    code, said = process.end()
    odd = [line for line in said.splitlines() if not line.startswith(CIRCUIT)]
    return (code, odd) == (0, [])

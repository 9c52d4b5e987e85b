"""One budget, several processes: what it affords is answered, and no more, whoever is killed."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trunkline.client import Trunkline
from trunkline.storage.ledger import SqlLeases

ROOT = Path(__file__).parents[2]
TOKENS = 10
COST_NUSD = TOKENS * 1_000_003
"""Of a call: what it asks for costs nothing, and it gives as many tokens as it may."""
CALLS, AFFORDED = 50, 120
"""Of each process; of them all."""
SCRIPT = """
import asyncio, json, sys
from trunkline.client import Trunkline
from trunkline.errors import BudgetExhausted, BudgetHeld
from trunkline.llm_service.ask import NOBODY, ask, chat

config, calls = json.loads(sys.argv[1]), int(sys.argv[2])
slow = {0: 0.005, 1: float(sys.argv[3])}

async def call(line, number):
    text = f"/demo tokens TOKENS\\n/demo slow {slow[number % 2]}"
    said = [{"role": "user", "content": text}]
    while True:
        try:
            await ask(line, chat(said, "demo/m", {"max_tokens": TOKENS}), NOBODY)
            print("done", flush=True)
            return
        except BudgetHeld:
            await asyncio.sleep(0.05)
        except BudgetExhausted:
            return

async def main():
    async with Trunkline.from_config(config) as line:
        await asyncio.gather(*(call(line, number) for number in range(calls)))

asyncio.run(main())
""".replace("TOKENS", str(TOKENS))
CONFIG = {
    "llm_service": {
        "providers": {
            "demo": {"models": [{"name": "m", "price": {"input": "0", "output": "1000.003"}}]}
        },
        "budgets": [
            {
                "scope": "global",
                "amount": f"{AFFORDED * COST_NUSD / 10**9:.9f}",
                "period": "total",
                "mode": "strict",
            }
        ],
    }
}

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a process that makes calls, half of them slow; all are gone after the test."""
    with contextlib.ExitStack() as running:

        def popen(slow_s: float = 0.005) -> subprocess.Popen[str]:
            given = (json.dumps(CONFIG), str(CALLS), str(slow_s))
            process = subprocess.Popen(
                [sys.executable, "-W", "error", "-c", SCRIPT, *given],
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
            running.enter_context(process)
            running.callback(process.kill)
            return process

        yield popen


def done(process: subprocess.Popen[str]) -> int:
    """Return how many calls of a process were answered."""
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return out.count("done")


def checked() -> tuple[int, int]:
    """Return what is settled, and how many attempts there are; the sums agree, nothing is held."""
    line = Trunkline.from_config(CONFIG)
    line.flush()
    [account] = line.ledger.accounts()
    leases = SqlLeases(line.store.database)
    settled, exposed, overrun = leases.look("global", "total", account.purse.window)
    rows = [each for row in line.store.calls(10**6) for each in row.attempts]
    assert settled == sum(each.cost.nusd or 0 for each in rows) == line.store.settled("global", 0)
    assert (exposed, overrun, leases.holdings()) == (0, 0, [])
    return settled, sum(bool(each.cost.nusd) for each in rows)


@pytest.mark.slow
def test_processes_spend_a_budget_to_the_last_nano_dollar(start: Start) -> None:
    """As many calls are answered as the budget affords, and not one more."""
    processes = [start() for _ in range(4)]
    assert sum(done(process) for process in processes) == AFFORDED
    assert checked() == (AFFORDED * COST_NUSD, AFFORDED)


@pytest.mark.slow
def test_a_killed_process_neither_frees_nor_keeps_money(start: Start) -> None:
    """What it had begun is charged, what it was granted goes to others; the limit holds."""
    killed = start(slow_s=5)
    assert killed.stdout is not None
    for _ in range(3):
        assert killed.stdout.readline() == "done\n"
    others = [start() for _ in range(3)]
    killed.kill()
    others.append(start())
    answered = 3 + killed.stdout.read().count("done") + sum(done(each) for each in others)
    assert checked() == (AFFORDED * COST_NUSD, AFFORDED)
    assert AFFORDED - CALLS < answered <= AFFORDED - CALLS // 2

"""`kill -9` at any moment: whoever got the end of an answer has its row, and the money agrees."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from trunkline import Trunkline
from trunkline.accounting.leases import Seen
from trunkline.storage.ledger import SqlLeases

ROOT = Path(__file__).parents[2]
LIMIT_USD = 50
CONFIG = {
    "llm_service": {
        "default_provider": "demo",
        "providers": {"demo": {"models": [{"name": "m", "price": {"input": 10, "output": 10}}]}},
        "budgets": [
            {"scope": "global", "amount": LIMIT_USD, "period": "total", "mode": "strict"},
            {"scope": "user:u", "amount": LIMIT_USD, "period": "month"},
        ],
    }
}
NURSERY = """
# Imports once, then forks: a child is at work after some milliseconds.
import asyncio, json, os, random, signal, sys
from trunkline import Trunkline
from trunkline.types import Chat, Principal, Prompt
from trunkline.types.message import say

config, kills, seed = json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
dice = random.Random(seed)
words = Prompt(messages=(say("user", "hello"),), max_output_tokens=50)

async def caller(line, out, stream):
    while True:
        call = Chat(model="m", body=words, principal=Principal(user_id="u"), stream=stream)
        reply = await line(call)
        await reply.message()
        os.write(out, (reply.call.id + "\\n").encode())

async def child(out):
    line = Trunkline.from_config(config)
    await asyncio.gather(*(caller(line, out, n % 2 == 0) for n in range(8)))

for _ in range(kills):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        asyncio.run(child(writer))
    os.close(writer)
    with os.fdopen(reader) as told:
        for _ in range(dice.randrange(60)):
            sys.stdout.write(told.readline())
        os.kill(pid, signal.SIGKILL)
        sys.stdout.write(told.read())  # what it had acknowledged when it died
    os.waitpid(pid, 0)
"""


@pytest.mark.parametrize("kills", [30, pytest.param(1000, marks=pytest.mark.torture)])
def test_every_acknowledged_answer_has_its_row(kills: int) -> None:
    """And what is settled is the sum of the rows, with nothing held by the dead."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", NURSERY, json.dumps(CONFIG), str(kills), str(kills)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        check=True,
        timeout=60 + kills,
    )
    acknowledged = done.stdout.split()
    assert len(acknowledged) > kills
    line = Trunkline.from_config(CONFIG)
    line.flush()
    rows = {row.call.call_id: row for row in line.store.calls(1_000_000)}
    assert {rows[call_id].call.outcome for call_id in acknowledged} == {"complete"}
    costs = [attempt.cost.nusd or 0 for row in rows.values() for attempt in row.attempts]
    leases = SqlLeases(line.store.database)
    for account in line.ledger.accounts():
        seen = leases.look(account.rule.scope, account.period, account.purse.window)
        assert seen == Seen(sum(costs), 0, 0)
    assert line.store.settled("global", 0) == sum(costs) <= LIMIT_USD * 10**9

"""One limit for processes of one machine, however they end."""

import subprocess
import sys
import time
from pathlib import Path

from tests.buckets import now, taken
from trunkline.accounting.rates import Draw
from trunkline.storage.buckets import FileBuckets

TAKER = """
import asyncio, sys, time
from pathlib import Path
from trunkline.accounting.rates import Draw
from trunkline.storage.buckets import FileBuckets

async def main():
    buckets = FileBuckets(Path(sys.argv[1]), lambda: 1)
    draws = [Draw("user:a requests", 20_000, 1), Draw("user:a tokens", 10**9, 7)]
    print("ready", flush=True)
    sys.stdin.readline()
    count = 0
    while not any(level.wait_ns for level in await buckets.take(draws)):
        count += 1
    print(count)

asyncio.run(main())
"""


def test_two_processes_have_one_limit_between_them(tmp_path: Path) -> None:
    """To the unit, when both take as fast as they can."""
    takers = [spawn(tmp_path) for _ in range(2)]
    counts = [int(taker.communicate("go\n", timeout=60)[0]) for taker in takers]
    assert sum(counts) == 20_000


def test_a_killed_process_leaves_the_others_their_limit(tmp_path: Path) -> None:
    """Wherever it was struck: the lock is free, and the rest can be taken, but for one unit."""
    path = tmp_path / "buckets"
    victims = [spawn(tmp_path) for _ in range(5)]
    for number, victim in enumerate(victims):
        assert victim.stdin is not None
        victim.stdin.write("go\n")
        victim.stdin.flush()
        time.sleep(0.003 * number)
        victim.kill()
        victim.communicate(timeout=30)
    buckets = FileBuckets(path, lambda: 1)
    [level] = now(buckets.take([Draw("user:a requests", 20_000, 0)]))
    left = 20_000 - level.used_ns * 20_000 // (60 * 10**9)
    assert 0 <= left <= 20_000
    assert taken(now(buckets.take([Draw("user:a requests", 20_000, left)])))
    assert not taken(now(buckets.take([Draw("user:a requests", 20_000, 1)])))
    [tokens] = now(buckets.take([Draw("user:a tokens", 10**9, 0)]))
    requests = 20_000 - left
    assert abs(tokens.used_ns / 60 - 7 * requests) <= 7 * len(victims) + 1
    buckets.close()


def spawn(folder: Path) -> "subprocess.Popen[str]":
    """Start a process that takes until it is refused; it waits for a line."""
    taker = subprocess.Popen(
        [sys.executable, "-c", TAKER, str(folder / "buckets")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert taker.stdout is not None
    assert taker.stdout.readline() == "ready\n"
    return taker

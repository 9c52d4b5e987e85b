"""What many calls leave behind in a process: nothing but their records."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak import FATES, JOURNAL_FILE_BYTES, broken

ROOT = Path(__file__).parents[2]
MIB = 1024 * 1024
WARM = 2
"""Samples (tenths of the calls) until pools, caches and interned strings have settled."""
MOST_GROWTH_BYTES = 5 * MIB
"""What the allocator and SQLite's page cache may move; one kept prompt per call is far more."""
MOST_OBJECTS = 1000
MOST_JOURNAL_BYTES = 8 * MIB
"""What may wait for ingestion, which runs once a second."""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
@pytest.mark.timeout(600)
@pytest.mark.acceptance("K10")
@pytest.mark.parametrize(
    "calls",
    [
        pytest.param(20_000, marks=pytest.mark.slow),
        pytest.param(100_000, marks=pytest.mark.torture),
    ],
)
def test_nothing_grows(calls: int) -> None:
    """Memory, objects, descriptors, threads, tasks and the journal stay; every call is recorded."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.soak", str(calls)],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    samples = [json.loads(text) for text in done.stdout.splitlines()]
    warm, last = samples[WARM - 1], samples[-1]
    assert last["calls"] == calls

    assert last["rss_bytes"] - warm["rss_bytes"] < MOST_GROWTH_BYTES, samples
    assert abs(last["objects"] - warm["objects"]) < MOST_OBJECTS, samples
    for constant, slack in (("fds", 2), ("threads", 0), ("tasks", 0)):
        assert abs(last[constant] - warm[constant]) <= slack, (constant, samples)
    assert last["held_nusd"] == 0

    assert max(sample["busiest_journal_bytes"] for sample in samples) < MOST_JOURNAL_BYTES
    assert last["journal_bytes"] <= 2 * JOURNAL_FILE_BYTES  # only the file that is written to
    assert list((Path(os.environ["TRUNKLINE_DATA"]) / "journal").iterdir()) == []
    twice = sum(FATES[number % len(FATES)][0] is broken for number in range(calls))
    assert last["recorded"] == calls + twice

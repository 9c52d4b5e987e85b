"""The table of what the gateway owes: CPU, latency, memory and start, against a hop and targets.

    python -m bench gateway [--write] [--calls=20000]

Features are on: a key, limits, budgets on every scope a call of a key has, price, journal. The
subject is the whole process tree of `trunkline serve`, alone on one core; the provider and the
callers share another. The reference is nginx with `proxy_pass` where nginx is installed, else a
blind relay. They take turns, and a verdict is on the median of the rounds. With `--write` the table
goes to bench/results/; `--calls` shortens the load before memory is read again. Where
`TRUNKLINE_BENCH_LITELLM` names LiteLLM's program, LiteLLM is compared too.
"""

from __future__ import annotations

import datetime
import os
import platform
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.figures import chunks, cpu, latency, memory, start
from bench.rig import subjects
from bench.rig.processes import Hop
from bench.rig.table import HEAD, Figure

CALLS = 100_000


def main() -> None:
    calls = next((int(a[8:]) for a in sys.argv if a.startswith("--calls=")), CALLS)
    lines = [HEAD]
    print(HEAD, flush=True)
    before = os.getloadavg()[0]
    with subjects.provider() as upstream, subjects.reference(upstream.port) as reference:
        for figure in measured(upstream, reference, calls):
            lines.append(figure.line())
            print(figure.line(), flush=True)
    about = f"{machine()}; load {before:.1f} before, {os.getloadavg()[0]:.1f} after."
    print(f"\n{about}\nReference: {reference.name}.")
    if "--write" in sys.argv:
        results = Path(__file__).with_name("results")
        results.mkdir(exist_ok=True)
        text = f"# What the gateway costs\n\n{about}\nReference: {reference.name}.\n\n"
        (results / "gateway.md").write_text(text + "\n".join(lines) + "\n")


def measured(upstream: Hop, reference: Hop, calls: int) -> Iterator[Figure]:
    with subjects.trunkline(upstream.port) as subject:
        yield from cpu.figures(subject, reference)
        yield from chunks.figures(subject, reference)
        yield from latency.figures(subject, upstream)
        if program := os.environ.get("TRUNKLINE_BENCH_LITELLM"):
            with subjects.litellm(program, upstream.port) as litellm:
                yield cpu.against_litellm(subject, litellm)
    yield from memory.figures(upstream, calls)
    yield from start.figures(upstream)


def machine() -> str:
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.+)", cpuinfo)
    today = datetime.datetime.now(tz=datetime.UTC).date()
    return (
        f"{today}, {os.cpu_count()} cores ({model[1].strip() if model else platform.machine()}), "
        f"Linux {platform.release()}, Python {platform.python_version()}"
    )

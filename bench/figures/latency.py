"""What the gateway adds to what callers wait, against the provider asked directly.

Whole answers at a steady 200 requests a second; and streams of 60 chunks, 20 ms apart, of which 30
begin each second: to the first word, and of each chunk from when the provider wrote it. What is
added is the difference of the percentiles, round by round.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from bench.figures.cpu import ROUNDS, told
from bench.rig import messages
from bench.rig.processes import Hop
from bench.rig.steady import Steady, Waits, wait
from bench.rig.table import Figure, percentile


def figures(subject: Hop, direct: Hop) -> list[Figure]:
    whole = turns("whole answers", (subject, direct), asked_whole)
    streams = turns("stamped streams", (subject, direct), asked_stream)
    rows: list[tuple[str, float, Turns, Callable[[Waits], float]]] = [
        ("at 200 requests a second, p50", 0.8, whole, lambda w: percentile(w.whole_ms, 0.5)),
        ("at 200 requests a second, p99", 2.0, whole, lambda w: percentile(w.whole_ms, 0.99)),
        ("to the first chunk, p50", 1.0, streams, lambda w: percentile(w.first_ms, 0.5)),
        ("per chunk, p99", 1.0, streams, lambda w: percentile(w.chunk_ms, 0.99)),
    ]
    return [
        Figure(
            f"added latency {name}",
            "ms",
            target,
            [of(ours) for ours, _ in rounds],
            [of(theirs) for _, theirs in rounds],
            "added",
            sum(waits.errors for pair in rounds for waits in pair),
            direct.name,
        )
        for name, target, rounds, of in rows
    ]


Turns = list[tuple[Waits, Waits]]


def turns(what: str, hops: tuple[Hop, Hop], asking: Callable[[int], Steady]) -> Turns:
    """Take turns, subject and provider, after one round that only warms up."""
    rounds = []
    for round_ in range(ROUNDS + 1):
        asked = [asking(hop.port) for hop in hops]
        if not round_:
            asked = [replace(steady, for_s=0.3) for steady in asked]
        ours, theirs = (wait(hop.port, steady) for hop, steady in zip(hops, asked, strict=True))
        for hop, waits in zip(hops, (ours, theirs), strict=True):
            told(hop, what, waits.errors, waits.example)
        rounds.append((ours, theirs))
    return rounds[1:]


def asked_whole(port: int) -> Steady:
    return Steady(messages.chat(port), messages.is_whole)


def asked_stream(port: int) -> Steady:
    message = messages.chat(port, "bench:stamped", stream=True)
    return Steady(message, messages.is_streamed, per_s=30, for_s=1.5)

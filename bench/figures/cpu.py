"""CPU per request: whole, a stream that comes at once, 200 KB; and against LiteLLM."""

from __future__ import annotations

from collections.abc import Callable

from bench.rig import messages
from bench.rig.callers import Load, spend
from bench.rig.processes import Hop
from bench.rig.table import Figure

ROUNDS = 5
Asking = Callable[[int], Load]
"""What to ask of a port."""


def whole(port: int) -> Load:
    return Load(messages.chat(port), messages.is_whole)


def burst(port: int) -> Load:
    return Load(messages.chat(port, "bench:burst", stream=True), messages.is_streamed)


def big(port: int) -> Load:
    return Load(messages.chat(port, size=messages.BIG_BYTES), messages.is_whole, for_s=1.0)


def figures(subject: Hop, reference: Hop) -> list[Figure]:
    rows: list[tuple[str, Asking, float | None]] = [
        ("CPU per whole request", whole, 7),
        ("CPU per stream of 60 chunks at once", burst, None),
        ("CPU per request of 200 KB", big, 4),
    ]
    return [compare(name, asking, (subject, reference), target) for name, asking, target in rows]


def compare(name: str, asking: Asking, hops: tuple[Hop, Hop], target: float | None) -> Figure:
    """Take turns, subject and reference, after one round that only warms up."""
    ours: list[float] = []
    theirs: list[float] = []
    errors = 0
    for round_ in range(ROUNDS + 1):
        for hop, us in zip(hops, (ours, theirs), strict=True):
            load = asking(hop.port)
            if not round_:
                load.for_s = 0.5
            spent = spend(hop, load)
            errors += told(hop, name, spent.errors, spent.example)
            if round_:
                us.append(spent.us / max(1, spent.done))
    return Figure(name, "us", target, ours, theirs, errors=errors)


def against_litellm(subject: Hop, litellm: Hop) -> Figure:
    def asking(port: int) -> Load:
        return Load(messages.chat(port), messages.says_whole, for_s=2.0)

    found = compare(f"CPU per whole request against {litellm.name}", asking, (subject, litellm), 40)
    return Figure(found.name, "us", 40, found.ours, found.theirs, "times less", found.errors)


def told(hop: Hop, what: str, errors: int, example: str) -> int:
    """Say on the terminal what went wrong, and return how often."""
    if errors:
        print(f"{hop.name}, {what}: {errors} errors, as {example}", flush=True)
    return errors

"""What the world is like, and the table of who does how well in it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from tests.sim.policies import Blind, LowestLatency, Ours, RoundRobin
from tests.sim.world import NAMES, Phase, Policy, Result, Server, World
from trunkline.testing import ManualClock

SECONDS = 150.0
PER_SECOND = 12.0
SEEDS = (1, 2, 3)
TROUBLE_S = (40.0, 80.0)
"""From when to when a deployment is not well."""


def _phase(**what: Any) -> Phase:
    return Phase(since_s=TROUBLE_S[0], until_s=TROUBLE_S[1], **what)


SCENARIOS: dict[str, Callable[[], Server]] = {
    "all well": Server,
    "one is ten times slower for a while": lambda: Server(phases=[_phase(slow=10)]),
    "one is twice as fast, and has little room": lambda: Server(first_s=0.15, capacity=4),
    "one fails every third time": lambda: Server(phases=[Phase(failing=1 / 3)]),
    "one takes two calls a second": lambda: Server(phases=[Phase(per_second=2)]),
    "one is silent for a while": lambda: Server(phases=[_phase(hangs=True)]),
    "one is down, then comes back weak": lambda: Server(
        phases=[_phase(refuses=True), Phase(TROUBLE_S[1], warming_s=40.0)]
    ),
}
"""Each makes the one deployment, of three, that is not like the others."""
POLICIES: dict[str, Callable[[ManualClock, int], Policy]] = {
    "trunkline": Ours,
    "random": Blind,
    "round robin": RoundRobin,
    "lowest latency": LowestLatency,
}


@cache
def outcome(scenario: str, policy: str) -> Result:
    """Run a scenario, once for each place of the odd one, which is called `a` in the result."""
    result = Result()
    for seed in SEEDS:
        names = (*NAMES[seed % 3 :], *NAMES[: seed % 3])
        servers = dict(zip(names, (SCENARIOS[scenario](), Server(), Server()), strict=True))
        world = World(servers, seed)
        player = POLICIES[policy](world.clock, seed)
        result.add(world.run(player, per_second=PER_SECOND, seconds=SECONDS), names)
    return result


def table() -> str:
    """Return what the documentation shows."""
    lines = [
        "| what happens | routing | first token p50 | p99 | wasted attempts | answers by it |",
        "|---|---|---|---|---|---|",
    ]
    for scenario in SCENARIOS:
        for policy in POLICIES:
            result = outcome(scenario, policy)
            lines.append(
                f"| {scenario} | {policy} | {result.first_token_s(0.5):.2f} s "
                f"| {result.first_token_s(0.99):.2f} s | {result.wasted:.1f} "
                f"| {100 * result.share(NAMES[0]):.0f} % |"
            )
    return "\n".join(lines)

"""Ours, which is the real routing code, and what it is compared with."""

from __future__ import annotations

import random
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Any

from tests.sim.world import NAMES, Watch
from trunkline.config import from_mapping
from trunkline.errors import FirstTokenTimeout, ProviderError, UpstreamRateLimited
from trunkline.routing.circuit import Circuit
from trunkline.routing.health import Health, Vital
from trunkline.routing.plan import Planner
from trunkline.testing import ManualClock
from trunkline.types import Chat, Message, Prompt, Text

_CALL = Chat(
    model="g",
    stream=True,
    body=Prompt(messages=(Message(role="user", parts=(Text("Hi"),)),), max_output_tokens=100),
)


class Ours:
    """The planner, the circuits and the paces, fed as `layers.breaker` feeds them."""

    def __init__(self, clock: ManualClock, seed: int, **group: Any) -> None:
        chance = random.Random(seed).random
        providers = {
            name.partition("/")[0]: {"type": "openai_compatible", "base_url": "http://x/v1"}
            for name in NAMES
        }
        deployments = {"deployments": list(NAMES), "strategy": "latency", **group}
        config = from_mapping(
            {"llm_service": {"providers": providers, "groups": {"g": deployments}}}, {}
        )
        self.health = Health()
        for name in NAMES:
            self.health.of(name).circuit = Circuit(chance)
        self._now = clock.monotonic_s
        self._planner = Planner(config, clock, self.health, chance)

    def order(self, number: int) -> Sequence[str]:
        """Return the plan."""
        plan = self._planner.plan(_CALL)
        return [candidate.deployment.name for candidate in plan.candidates]

    def admit(self, name: str) -> bool:
        """Ask the circuit."""
        return self.health.of(name).circuit.admit(self._now()) is None

    def begin(self, name: str) -> Watch:
        """Feed circuit, pace and `busy`."""
        return _Feeding(self.health.of(name), self._now)


class _Feeding(Watch):
    """Does what the layer does."""

    def __init__(self, vital: Vital, now: Callable[[], float]) -> None:
        self._vital, self._now = vital, now
        self._era = vital.circuit.era
        self._begun_s = self._answered_s = now()
        vital.busy += 1
        vital.ask(self._begun_s)

    def answer(self) -> None:
        """Tell the circuit."""
        self._answered_s = self._now()
        self._vital.hear(self._answered_s)
        self._vital.pace.hear(self._answered_s, self._answered_s - self._begun_s)
        self._vital.circuit.answer(self._answered_s, self._era)
        self._era = self._vital.circuit.era

    def end(self, tokens: int) -> None:
        """Tell circuit and pace."""
        begun_s, rest_s = self._answered_s - self._begun_s, self._now() - self._answered_s
        self._vital.busy -= 1
        self._vital.circuit.succeed()
        self._vital.pace.learn(self._now(), begun_s, rest_s, tokens, stream=True)

    def fail(self, error: ProviderError) -> None:
        """Tell circuit and pace."""
        now_s = self._now()
        self._vital.busy -= 1
        self._vital.hear(now_s)
        self._vital.pace.fail(now_s)
        self._vital.circuit.fail(error, now_s, self._era)


class Blind:
    """Learns nothing and leaves nobody alone."""

    def __init__(self, clock: ManualClock, seed: int) -> None:
        self.chance = random.Random(seed)

    def order(self, number: int) -> Sequence[str]:
        """Any order."""
        return self.chance.sample(NAMES, len(NAMES))

    def admit(self, name: str) -> bool:
        """Everybody may be asked at any time."""
        return True

    def begin(self, name: str) -> Watch:
        """Look away."""
        return Watch()


class RoundRobin(Blind):
    """One after the other."""

    def order(self, number: int) -> Sequence[str]:
        """Begin with the next."""
        first = number % len(NAMES)
        return [*NAMES[first:], *NAMES[:first]]


class LowestLatency(Blind):
    """LiteLLM's rule as its documentation describes it, with its cooldown; not its code.

    The lowest mean of the last ten times to the first token is asked, whoever has none first. They
    are kept for an hour; a time-out counts as 1000 s. More than three failures within a minute, or
    a 429, keep a deployment out for 5 s.
    Source: https://docs.litellm.ai/docs/routing (2026-11-20)
    """

    _KEPT_S = 3600.0
    _PENALTY_S = 1000.0
    _COOLDOWN_S = 5.0

    def __init__(self, clock: ManualClock, seed: int) -> None:
        super().__init__(clock, seed)
        self.now = clock.monotonic_s
        self._times: dict[str, deque[tuple[float, float]]] = defaultdict(lambda: deque(maxlen=10))
        self._failures: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=4))
        self._out_until_s: dict[str, float] = {}

    def order(self, number: int) -> Sequence[str]:
        """The fastest first; of those that nobody has measured, any."""
        names = self.chance.sample(NAMES, len(NAMES))
        return sorted(names, key=self._mean_s)

    def admit(self, name: str) -> bool:
        """Whether it is not cooling down."""
        return self.now() >= self._out_until_s.get(name, 0.0)

    def begin(self, name: str) -> Watch:
        """Keep the time, or count the failure."""
        return _Timing(self, name, self.now())

    def keep(self, name: str, value_s: float) -> None:
        """Take a time to the first token in."""
        self._times[name].append((self.now(), value_s))

    def count(self, name: str, error: ProviderError) -> None:
        """Take a failure in."""
        now_s, failures = self.now(), self._failures[name]
        if isinstance(error, FirstTokenTimeout):
            self.keep(name, self._PENALTY_S)
        failures.append(now_s)
        often = len(failures) == 4 and failures[0] > now_s - 60
        if often or isinstance(error, UpstreamRateLimited):
            self._out_until_s[name] = now_s + self._COOLDOWN_S

    def _mean_s(self, name: str) -> float:
        now_s = self.now()
        times = [value for at_s, value in self._times[name] if at_s > now_s - self._KEPT_S]
        return sum(times) / len(times) if times else 0.0


class _Timing(Watch):
    def __init__(self, rule: LowestLatency, name: str, begun_s: float) -> None:
        self._rule, self._name, self._begun_s = rule, name, begun_s

    def answer(self) -> None:
        """Keep how long it took."""
        self._rule.keep(self._name, self._rule.now() - self._begun_s)

    def fail(self, error: ProviderError) -> None:
        """Count it."""
        self._rule.count(self._name, error)

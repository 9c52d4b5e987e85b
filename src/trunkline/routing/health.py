"""What is known of each deployment now; shared by all stacks, so that a reload forgets nothing."""

from __future__ import annotations

from collections.abc import Callable

from trunkline.routing.circuit import Circuit
from trunkline.routing.pace import Pace
from trunkline.routing.pressure import Pressure

_MOST_VITALS = 4096


class Vital:
    """One deployment's circuit, its pace, and how many attempts at it are under way.

    They may be counted from several threads: adding to a slot is one step for them.
    """

    __slots__ = ("_since_s", "_waiting", "busy", "circuit", "freed", "pace", "pressure")

    def __init__(self) -> None:
        self.busy = 0
        self._waiting = 0
        self._since_s = 0.0
        self.circuit = Circuit()
        self.pace = Pace()
        self.pressure: Pressure | None = None
        """None = it shows no sign of having too much at once."""
        self.freed: Callable[[], None] | None = None
        """Told when `busy` goes down, while anybody may be waiting for that."""

    def ask(self, now_s: float) -> None:
        """Somebody waits for a first token of a stream."""
        if not self._waiting:
            self._since_s = now_s
        self._waiting += 1

    def hear(self, now_s: float) -> None:
        """It came, or nobody waits for it any more."""
        self._waiting -= 1
        self._since_s = now_s

    def silent_s(self, now_s: float) -> float:
        """Return for how long it has been silent although somebody waits."""
        return now_s - self._since_s if self._waiting else 0.0


class Health:
    """The vitals of all deployments, made when they are first asked for."""

    def __init__(self) -> None:
        self.vitals: dict[str, Vital] = {}

    def of(self, deployment: str) -> Vital:
        """Return what is known of `deployment`, a `provider/model`."""
        vital = self.vitals.get(deployment)
        if vital is None:
            if len(self.vitals) >= _MOST_VITALS:  # callers may invent model names
                self.vitals = self._worth_keeping()
            vital = self.vitals.setdefault(deployment, Vital())
        return vital

    def retry_soon(self, now_s: float) -> None:
        """Another configuration is there: try refused credentials, which may be others now."""
        for vital in tuple(self.vitals.values()):
            vital.circuit.retry_soon(now_s)

    def resting(self, provider: str, now_s: float) -> bool:
        """Whether every deployment of `provider` that was tried is resting."""
        tried = [v for name, v in tuple(self.vitals.items()) if name.startswith(f"{provider}/")]
        return bool(tried) and all(vital.circuit.rest_s(now_s) > 0 for vital in tried)

    def open_circuits(self, now_s: float) -> tuple[str, ...]:
        """Return the deployments that are left alone now."""
        vitals = tuple(self.vitals.items())
        return tuple(name for name, vital in vitals if vital.circuit.rest_s(now_s) > 0)

    def uneasy(self, now_s: float) -> dict[str, str]:
        """Return the state of each circuit that is not closed."""
        found = {
            n: v.circuit.state(now_s) for n, v in tuple(self.vitals.items()) if not v.circuit.calm
        }
        return {name: state for name, state in found.items() if state != "closed"}

    def _worth_keeping(self) -> dict[str, Vital]:
        """Return those that are busy or not well, at most half of the room."""
        kept = {n: v for n, v in tuple(self.vitals.items()) if v.busy or not v.circuit.calm}
        return dict(list(kept.items())[-_MOST_VITALS // 2 :])

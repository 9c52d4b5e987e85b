"""What a process knows of the deployments that it asked, and what several of them know together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from trunkline.clock import Clock
from trunkline.routing.circuit import State

if TYPE_CHECKING:
    from trunkline.routing.health import Health, Vital

LATELY_NS = 30_000_000_000
_MOST_SEEN = 200
_FAILING = 0.2
"""The share that one failure makes; an answer after it takes it below."""
GRAVITY: dict[State, int] = {
    "closed": 0,
    "ramping": 1,
    "probing": 2,
    "limited": 3,
    "resting": 4,
    "disabled": 5,
}
_RESTING = frozenset[State]({"probing", "limited", "resting", "disabled"})


class Seen(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a process knows of one deployment."""

    state: State = "closed"
    """Of its circuit."""
    cause: str = ""
    """The code of the error for which it is not closed."""
    until_ns: int = 0
    """When a rest ends, in nanoseconds since the epoch; 0 = there is none."""
    busy: int = 0
    slots: int | None = None
    """How many may be busy while it has too much at once; None = there is no such bound."""
    first_token_s: float | None = None
    """On average."""
    late_s: float | None = None
    """95 of 100 first tokens of streams come sooner."""
    heard_ns: int = 0
    """When anything was heard of it, in nanoseconds since the epoch; 0 = never."""
    failing: bool = False
    """Whether what was heard last was bad."""

    @property
    def rests(self) -> bool:
        """Whether calls are kept from it."""
        return self.state in _RESTING

    def well(self, now_ns: int) -> bool:
        """Whether it answered lately."""
        return not self.rests and not self.failing and now_ns - self.heard_ns < LATELY_NS


def seen(health: Health, clock: Clock) -> dict[str, Seen]:
    """Return what this process knows, of those heard of last where they are very many."""
    now_s, now_ns = clock.monotonic_s(), clock.now_ns()
    found = {
        name: _seen(vital, now_s, now_ns)
        for name, vital in tuple(health.vitals.items())
        if vital.busy or not vital.circuit.calm or vital.pace.heard_s
    }
    if len(found) > _MOST_SEEN:
        last = sorted(found, key=lambda name: (found[name].rests, found[name].heard_ns))
        found = {name: found[name] for name in last[-_MOST_SEEN:]}
    return found


def _seen(vital: Vital, now_s: float, now_ns: int) -> Seen:
    circuit, pace = vital.circuit, vital.pace
    rest_s = circuit.rest_s(now_s)
    heard_s = pace.heard_s
    state = circuit.state(now_s)
    return Seen(
        state=state,
        cause=circuit.cause if state != "closed" else "",
        until_ns=now_ns + int(rest_s * 1e9) if rest_s else 0,
        busy=vital.busy,
        slots=None if vital.pressure is None else int(vital.pressure.limit),
        first_token_s=_rounded(pace.first_s),
        late_s=_rounded(pace.late_s(stream=True)),
        heard_ns=now_ns - int((now_s - heard_s) * 1e9) if heard_s else 0,
        failing=pace.failing >= _FAILING,
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)


def together(reports: Iterable[Mapping[str, Seen]]) -> dict[str, Seen]:
    """Return what several processes know: the worst state, the latest news, the sum of calls."""
    found: dict[str, Seen] = {}
    for report in reports:
        for name, one in report.items():
            found[name] = _both(found[name], one) if name in found else one
    return found


def _both(one: Seen, other: Seen) -> Seen:
    worst = max(one, other, key=lambda seen: (GRAVITY[seen.state], seen.until_ns))
    latest = max(one, other, key=lambda seen: seen.heard_ns)
    slots = [seen.slots for seen in (one, other) if seen.slots is not None]
    return replace(
        latest,
        state=worst.state,
        cause=worst.cause,
        until_ns=worst.until_ns,
        busy=one.busy + other.busy,
        slots=sum(slots) if slots else None,
        late_s=max((s.late_s for s in (one, other) if s.late_s is not None), default=None),
    )

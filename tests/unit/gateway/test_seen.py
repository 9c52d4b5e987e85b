"""What workers saw of deployments, one by one and together."""

import pytest

from trunkline.errors import QuotaExhausted
from trunkline.gateway import seen as module
from trunkline.gateway.seen import Seen, seen, together
from trunkline.routing.health import Health
from trunkline.routing.pressure import Pressure
from trunkline.testing import ManualClock


def test_what_a_worker_saw() -> None:
    """Each deployment that was asked, with its circuit, its pace and its load; no other."""
    clock, known = ManualClock(), Health()
    clock.advance(100.0)
    known.of("vllm/quiet")
    busy = known.of("vllm/busy")
    busy.busy, busy.pressure = 3, Pressure(10, 0.0)
    busy.pace.hear(clock.monotonic_s(), 0.25)
    down = known.of("vllm/down")
    error = QuotaExhausted("empty", upstream_status=429)
    down.circuit.fail(error, clock.monotonic_s(), down.circuit.era)
    down.pace.fail(clock.monotonic_s())
    found = seen(known, clock)
    assert set(found) == {"vllm/busy", "vllm/down"}
    assert found["vllm/busy"] == Seen(busy=3, slots=7, first_token_s=0.25, heard_ns=clock.now_ns())
    one = found["vllm/down"]
    assert (one.state, one.cause, one.failing) == ("resting", "upstream_quota_exhausted", True)
    assert clock.now_ns() + 5e9 <= one.until_ns <= clock.now_ns() + 6.1e9


def test_no_more_than_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that rest, and then those heard of last."""
    monkeypatch.setattr(module, "_MOST_SEEN", 2)
    clock, known = ManualClock(), Health()
    known.of("p/resting").circuit.adopt("limited", 1000.0, "x", 0.0)
    for name in ("p/old", "p/new"):
        clock.advance(1.0)
        known.of(name).pace.hear(clock.monotonic_s(), 0.1)
    assert set(seen(known, clock)) == {"p/resting", "p/new"}


def test_workers_together() -> None:
    """The worst state with its cause, the latest news, the sum of what is under way."""
    one = {"p/m": Seen(state="resting", cause="x", until_ns=9, busy=2, late_s=0.5, heard_ns=1)}
    two = {"p/m": Seen(busy=3, slots=4, first_token_s=0.1, late_s=0.2, heard_ns=5), "q/m": Seen()}
    assert together([one, two, {}]) == {
        "p/m": Seen(
            state="resting", cause="x", until_ns=9, busy=5, slots=4, first_token_s=0.1,
            late_s=0.5, heard_ns=5,
        ),
        "q/m": Seen(),
    }  # fmt: skip

"""What is known of deployments is found again, and does not grow without end."""

from trunkline.errors import ConnectionLost
from trunkline.routing.health import Health


def open_circuit(health: Health, name: str) -> None:
    """Let a deployment fail until it rests."""
    circuit = health.of(name).circuit
    for _ in range(20):
        circuit.fail(ConnectionLost("reset"), 0.0, circuit.era)


def test_the_same_name_is_the_same_vital() -> None:
    """Whoever asks."""
    health = Health()
    assert health.of("p/m") is health.of("p/m")
    assert health.of("p/m") is not health.of("p/n")


def test_names_that_callers_invent_are_forgotten() -> None:
    """Those that are busy or not well stay."""
    health = Health()
    health.of("p/busy").busy += 1
    open_circuit(health, "p/open")
    kept = health.of("p/busy"), health.of("p/open")
    for number in range(10_000):
        health.of(f"p/{number}")
    assert len(health.vitals) <= 4096
    assert (health.of("p/busy"), health.of("p/open")) == kept


def test_a_provider_rests_when_all_that_was_tried_does() -> None:
    """One deployment that is well is enough."""
    health = Health()
    open_circuit(health, "p/a")
    assert health.resting("p", 1.0)
    assert not health.resting("q", 1.0)
    assert health.open_circuits(1.0) == ("p/a",)
    health.of("p/b")
    assert not health.resting("p", 1.0)


def test_silence_is_waiting_for_a_first_token_in_vain() -> None:
    """From the first that waits, or from the last that was heard, on."""
    vital = Health().of("p/m")
    assert vital.silent_s(5.0) == 0
    vital.ask(5.0)
    vital.ask(6.0)
    assert vital.silent_s(7.0) == 2
    vital.hear(7.0)
    assert vital.silent_s(9.0) == 2
    vital.hear(9.0)
    assert vital.silent_s(20.0) == 0

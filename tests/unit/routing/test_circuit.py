"""The circuit of one deployment: what opens it, for how long, and how it comes back."""

import pytest

from trunkline.errors import (
    AuthFailed,
    ConnectionLost,
    QuotaExhausted,
    Refused,
    RequestTooLarge,
    TrunklineError,
    UpstreamFailed,
    UpstreamOverloaded,
    UpstreamRateLimited,
)
from trunkline.routing.circuit import (
    DISABLED_S,
    FIRST_REST_S,
    LEAST_SAMPLES,
    LONGEST_REST_S,
    RAMP_S,
    RUN_TO_OPEN,
    WINDOW_S,
    Circuit,
)

DOWN = UpstreamFailed("500")


def fresh() -> Circuit:
    """Make a circuit without jitter."""
    return Circuit(chance=lambda: 0.0)


def opened(now_s: float = 0.0) -> Circuit:
    """Make one that has just opened."""
    circuit = fresh()
    for _ in range(RUN_TO_OPEN):
        circuit.fail(DOWN, now_s, circuit.era)
    assert circuit.state(now_s) == "resting"
    return circuit


def recovered(now_s: float) -> Circuit:
    """Make one that has just been probed well, at `now_s`."""
    circuit = opened(now_s - FIRST_REST_S)
    assert circuit.admit(now_s) is None
    assert circuit.answer(now_s, circuit.era) == "circuit_closed"
    return circuit


def test_it_is_calm_until_failures_follow_each_other() -> None:
    """While traffic is rare, five in a row are enough; it says when it opens, and why."""
    circuit = fresh()
    events = [circuit.fail(DOWN, 0.0, circuit.era) for _ in range(RUN_TO_OPEN)]
    assert events == [None] * (RUN_TO_OPEN - 1) + ["circuit_opened"]
    assert (circuit.calm, circuit.cause) == (False, "upstream_failed")
    assert circuit.rest_s(1.0) == FIRST_REST_S - 1
    assert circuit.allowance(1.0) == 0.0


@pytest.mark.parametrize(("bad_of_ten", "opens"), [(3, False), (6, True)])
def test_the_share_of_failures_opens_it(bad_of_ten: int, opens: bool) -> None:
    """With enough outcomes it is half of them, in whatever order they come."""
    circuit = fresh()
    for _ in range(10):
        for number in range(10):
            if number * bad_of_ten % 10 < bad_of_ten:
                circuit.fail(DOWN, 1.0, circuit.era)
            else:
                circuit.succeed()
    assert circuit.calm is not opens


def test_a_short_run_is_chance_where_much_succeeds() -> None:
    """Nineteen failures after a thousand answers are not yet an outage, one more is."""
    circuit = fresh()
    circuit.fail(DOWN, 1.0, circuit.era)
    for _ in range(1000):
        circuit.succeed()
    for _ in range(LEAST_SAMPLES - 1):
        circuit.fail(DOWN, 2.0, circuit.era)
    assert circuit.calm
    circuit.fail(DOWN, 2.0, circuit.era)
    assert not circuit.calm


def test_old_outcomes_fade() -> None:
    """A thousand answers of ten minutes ago do not cover for a deployment that is down now."""
    circuit = fresh()
    circuit.fail(DOWN, 1.0, circuit.era)
    for _ in range(1000):
        circuit.succeed()
    circuit.fail(DOWN, 2.0, circuit.era)
    late_s = 2.0 + 30 * WINDOW_S
    for _ in range(RUN_TO_OPEN):
        circuit.fail(DOWN, late_s, circuit.era)
    assert not circuit.calm


def test_one_probe_at_a_time() -> None:
    """After the rest one may go; the others are told to come back in a second."""
    circuit = opened()
    assert circuit.admit(FIRST_REST_S - 0.5) == 0.5
    assert circuit.allowance(FIRST_REST_S) == pytest.approx(0.1)
    assert circuit.admit(FIRST_REST_S) is None
    assert circuit.admit(FIRST_REST_S) == 1.0
    assert circuit.state(FIRST_REST_S) == "probing"
    assert circuit.allowance(FIRST_REST_S) == 0.0


def test_a_probe_that_says_nothing_makes_room_for_another() -> None:
    """Its caller left, or asked for nonsense."""
    circuit = opened()
    assert circuit.admit(FIRST_REST_S) is None
    circuit.leave(circuit.era)
    assert circuit.admit(FIRST_REST_S) is None
    circuit.fail(Refused("no"), FIRST_REST_S, circuit.era)
    assert circuit.admit(FIRST_REST_S) is None


def test_rests_double_up_to_a_maximum() -> None:
    """Each failed probe means twice as long a rest."""
    circuit, now_s, rests = opened(), 0.0, list[float]()
    for _ in range(7):
        rests.append(circuit.rest_s(now_s))
        now_s += rests[-1]
        assert circuit.admit(now_s) is None
        assert circuit.fail(DOWN, now_s, circuit.era) is None
    assert rests == [5, 10, 20, 40, 80, LONGEST_REST_S, LONGEST_REST_S]


def test_rests_differ_a_little() -> None:
    """Up to a fifth longer, so that not all come back at once."""
    circuit = Circuit(chance=lambda: 0.5)
    for _ in range(RUN_TO_OPEN):
        circuit.fail(DOWN, 0.0, circuit.era)
    assert circuit.rest_s(0.0) == pytest.approx(FIRST_REST_S * 1.1)


def test_it_is_ramped_up_after_a_good_probe() -> None:
    """From a tenth to all within ten seconds; then it is calm, and the next rest is short again."""
    circuit = recovered(100.0)
    assert circuit.state(100.0) == "ramping"
    shares = [circuit.allowance(100.0 + part * RAMP_S) for part in (0, 0.5, 1, 2)]
    assert shares == pytest.approx([0.1, 0.55, 1, 1])
    assert circuit.admit(105.0) is None
    assert circuit.state(110.0) == "closed"
    assert circuit.admit(110.0) is None
    assert circuit.calm
    for _ in range(RUN_TO_OPEN):
        circuit.fail(DOWN, 111.0, circuit.era)
    assert circuit.rest_s(111.0) == FIRST_REST_S


def test_one_failure_ends_a_ramp() -> None:
    """It came back too early, and rests longer than before."""
    circuit = recovered(100.0)
    assert circuit.fail(DOWN, 101.0, circuit.era) == "circuit_opened"
    assert circuit.rest_s(101.0) == 2 * FIRST_REST_S


def test_what_began_before_is_not_believed() -> None:
    """An attempt from before the rest neither ends nor lengthens it, nor frees the probe."""
    circuit = fresh()
    old = circuit.era
    for _ in range(RUN_TO_OPEN):
        circuit.fail(DOWN, 0.0, circuit.era)
    assert circuit.admit(FIRST_REST_S) is None
    assert circuit.answer(FIRST_REST_S, old) is None
    circuit.fail(DOWN, FIRST_REST_S, old)
    circuit.leave(old)
    assert circuit.admit(FIRST_REST_S) == 1.0
    assert circuit.rest_s(FIRST_REST_S) == 1.0


@pytest.mark.parametrize("kind", [UpstreamRateLimited, UpstreamOverloaded])
def test_it_rests_as_long_as_it_asks(kind: type[UpstreamRateLimited]) -> None:
    """That is no failure: exactly so long, no probe after it, and a ramp."""
    circuit = fresh()
    assert circuit.fail(kind("later", retry_after_s=7.5), 1.0, circuit.era) is None
    assert circuit.state(1.0) == "limited"
    assert circuit.admit(8.0) == 0.5
    assert [circuit.admit(8.5), circuit.admit(8.5)] == [None, None]
    assert circuit.state(8.5) == "ramping"
    circuit.fail(DOWN, 9.0, circuit.era)
    assert circuit.rest_s(9.0) == 0.0


def test_the_longest_of_what_it_asks_counts() -> None:
    """Of attempts under way at once each may hear another time."""
    circuit = fresh()
    era = circuit.era
    for asked_s in (2.0, 9.0, 4.0):
        circuit.fail(UpstreamRateLimited("later", retry_after_s=asked_s), 0.0, era)
    assert circuit.rest_s(0.0) == 9.0


def test_nobody_asks_for_days() -> None:
    """What asks for more than an hour is asked again after one."""
    circuit = fresh()
    circuit.fail(UpstreamRateLimited("later", retry_after_s=1e9), 0.0, circuit.era)
    assert circuit.rest_s(0.0) == 3600


@pytest.mark.parametrize(
    "error",
    [UpstreamRateLimited("later", retry_after_s=0.0), UpstreamRateLimited("later")],
    ids=["zero", "nothing"],
)
def test_a_limit_without_a_time_is_a_failure(error: TrunklineError) -> None:
    """Nobody knows how long, so it counts like any other."""
    circuit = fresh()
    for _ in range(RUN_TO_OPEN):
        circuit.fail(error, 0.0, circuit.era)
    assert circuit.state(0.0) == "resting"


def test_a_probe_that_is_asked_to_wait_waits() -> None:
    """It lives: it is limited, not failing."""
    circuit = opened()
    assert circuit.admit(5.0) is None
    circuit.fail(UpstreamRateLimited("later", retry_after_s=3.0), 5.0, circuit.era)
    assert circuit.state(5.0) == "limited"
    assert circuit.admit(8.0) is None


@pytest.mark.parametrize("error", [RequestTooLarge("too large", retry_after_s=5.0), Refused("no")])
def test_the_callers_faults_say_nothing(error: TrunklineError) -> None:
    """However many there are."""
    circuit = fresh()
    for _ in range(100):
        circuit.fail(error, 0.0, circuit.era)
    assert circuit.calm


def test_a_refused_credential_disables_it() -> None:
    """At the third in a row, for one may be a mistake or about what was asked; it is said once."""
    circuit, error = fresh(), AuthFailed("no", upstream_status=401)
    for _ in range(2):
        circuit.fail(error, 0.0, circuit.era)
    circuit.succeed()
    events = [circuit.fail(error, 0.0, circuit.era) for _ in range(3)]
    assert events == [None, None, "deployment_disabled"]
    assert circuit.state(0.0) == "disabled"
    assert circuit.rest_s(0.0) == DISABLED_S
    assert circuit.admit(DISABLED_S) is None
    assert circuit.fail(error, DISABLED_S, circuit.era) is None
    assert circuit.rest_s(DISABLED_S) == DISABLED_S


def test_a_mended_credential_heals() -> None:
    """The rare probe closes it; another configuration lets one go at once."""
    circuit = fresh()
    for _ in range(3):
        circuit.fail(AuthFailed("no", upstream_status=401), 0.0, circuit.era)
    circuit.retry_soon(10.0)
    assert circuit.admit(10.0) is None
    assert circuit.admit(10.0) == 1.0
    assert circuit.answer(10.0, circuit.era) == "circuit_closed"
    assert circuit.admit(10.0) is None


def test_another_configuration_wakes_no_failing_deployment() -> None:
    """Only what a credential was the reason for."""
    circuit = opened()
    circuit.retry_soon(0.0)
    assert circuit.rest_s(0.0) == FIRST_REST_S


def test_an_empty_account_rests_at_once() -> None:
    """Nothing is gained by five more failures."""
    circuit = fresh()
    assert circuit.fail(QuotaExhausted("no money"), 0.0, circuit.era) == "circuit_opened"


def test_slow_first_tokens_open_it() -> None:
    """They count like failures."""
    circuit = fresh()
    for _ in range(RUN_TO_OPEN):
        circuit.be_slow(0.0, circuit.era)
    assert circuit.cause == "slow_first_token"


def test_the_same_is_adopted_from_another_process() -> None:
    """A rest, a wait that was asked for, and the end of a rest."""
    circuit = fresh()
    circuit.adopt("resting", 8.0, "upstream_failed", 1.0)
    assert (circuit.state(1.0), circuit.rest_s(1.0), circuit.cause) == (
        "resting",
        7.0,
        "upstream_failed",
    )
    circuit.adopt("ramping", 0.0, "", 2.0)
    assert circuit.state(2.0) == "ramping"
    circuit.adopt("limited", 5.0, "upstream_rate_limited", 3.0)
    assert circuit.rest_s(3.0) == 2.0


def test_what_is_over_is_not_adopted() -> None:
    """Nor what ends before the rest that is there."""
    circuit = fresh()
    circuit.adopt("resting", 1.0, "upstream_failed", 2.0)
    assert circuit.calm
    circuit.fail(UpstreamRateLimited("later", retry_after_s=50), 2.0, circuit.era)
    circuit.adopt("resting", 10.0, "upstream_failed", 2.0)
    assert circuit.rest_s(2.0) == 50


def test_lost_connections_are_failures() -> None:
    """Whether anything was sent or not."""
    circuit = fresh()
    for _ in range(RUN_TO_OPEN):
        circuit.fail(ConnectionLost("reset"), 0.0, circuit.era)
    assert circuit.cause == "connection_lost"

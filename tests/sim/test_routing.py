"""The real routing code against random, round robin and lowest latency, in seven worlds."""

from pathlib import Path

import pytest

from tests.sim.scenarios import POLICIES, SCENARIOS, TROUBLE_S, outcome, table

PAGE = Path(__file__).parents[2] / "docs" / "why" / "routing.md"
OURS, *OTHERS = POLICIES
BEGIN, END = "<!-- simulated -->\n", "\n<!-- end -->"


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_nobody_does_better(scenario: str, other: str) -> None:
    """Neither in answers, nor in the time to the first token, nor in wasted attempts."""
    ours, theirs = outcome(scenario, OURS), outcome(scenario, other)
    assert ours.success >= theirs.success
    assert ours.first_token_s(0.5) <= theirs.first_token_s(0.5) * 1.05
    assert ours.first_token_s(0.99) <= theirs.first_token_s(0.99) * 1.05
    assert ours.wasted <= theirs.wasted + 1


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("scenario", list(SCENARIOS)[1:])
def test_where_somebody_is_not_well_it_does_clearly_better(scenario: str, other: str) -> None:
    """The slowest calls, the usual ones or the wasted attempts are better by a tenth at least."""
    ours, theirs = outcome(scenario, OURS), outcome(scenario, other)
    assert (
        ours.first_token_s(0.99) < theirs.first_token_s(0.99) * 0.9
        or ours.first_token_s(0.5) < theirs.first_token_s(0.5) * 0.9
        or ours.wasted < theirs.wasted * 0.9
    )


@pytest.mark.parametrize(
    ("scenario", "p99_s", "wasted"),
    [
        ("all well", 0.8, 0),
        ("one is ten times slower for a while", 1.0, 0),
        ("one is twice as fast, and has little room", 1.0, 0),
        ("one fails every third time", 0.9, 4),
        ("one takes two calls a second", 0.9, 2.5),
        ("one is silent for a while", 1.0, 1),
        ("one is down, then comes back weak", 0.9, 1.5),
    ],
)
def test_every_call_is_answered_soon(scenario: str, p99_s: float, wasted: float) -> None:
    """With little waste: what is asserted here is what the documentation says."""
    result = outcome(scenario, OURS)
    assert result.success == 1
    assert result.first_token_s(0.99) <= p99_s
    assert result.wasted <= wasted


def test_who_is_well_gets_its_share() -> None:
    """No traffic to a single winner, and none is forgotten after its trouble is over."""
    well = outcome("all well", OURS)
    assert all(0.25 < well.share(name) < 0.42 for name in well.answered)
    for scenario in list(SCENARIOS)[1:]:
        assert outcome(scenario, OURS).share("a/m") > 0.05


def test_one_that_comes_back_is_never_flooded() -> None:
    """It gets single calls first, then more as it bears them."""
    scenario, back_s = "one is down, then comes back weak", TROUBLE_S[1]
    attempts, failed = {}, {}
    for policy in POLICIES:
        result = outcome(scenario, policy)
        times = [at_s for at_s, who, _ in result.attempts if who == "a/m"]
        attempts[policy] = sum(back_s <= at_s < back_s + 10 for at_s in times)
        failed[policy] = result.failed_at("a/m", back_s, back_s + 40)
    assert attempts[OURS] < attempts["random"] / 4
    assert failed[OURS] < 10
    assert all(failed[OURS] < failed[other] / 4 for other in OTHERS)


def test_the_same_seed_gives_the_same_world() -> None:
    """A failure here can be looked into."""
    scenario = "one fails every third time"
    assert outcome.__wrapped__(scenario, OURS) == outcome(scenario, OURS)


def test_the_documentation_shows_this_table() -> None:
    """Word for word; `python -m tests.sim` writes it there."""
    shown = PAGE.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]
    assert shown == table()

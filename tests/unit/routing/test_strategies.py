"""The order in which the deployments of a group are asked."""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.errors import ConnectionLost
from trunkline.routing.health import Vital
from trunkline.routing.pressure import Pressure
from trunkline.routing.strategies import STRATEGIES, Facts, Member, Ranked, rank, say
from trunkline.types import Deployment, Limits, Price

FACTS = Facts(prompt_tokens=1000, output_tokens=100, now_s=100.0)
USD = 10**9


def member(
    name: str,
    place: int = 0,
    *,
    first_s: float | None = None,
    busy: int = 0,
    tier: int = 0,
    **fields: Any,
) -> Member:
    """Return a deployment whose first token takes `first_s`, None = nobody knows."""
    vital = Vital()
    vital.busy = busy
    for _ in range(20 if first_s is not None else 0):
        assert first_s is not None
        vital.pace.hear(100.0, first_s)
    return Member(Deployment(provider=name, model="m", **fields), vital, place, tier)


def rest(one: Member, until_s: float = 1e9) -> None:
    """Let a deployment rest."""
    circuit = one.vital.circuit
    for _ in range(20):
        circuit.fail(ConnectionLost("reset"), 100.0, circuit.era)
    circuit.until_s = until_s


def firsts(strategy: str, members: Sequence[Member], facts: Facts = FACTS) -> Counter[str]:
    """Count who is put first in a thousand plans."""
    chance = random.Random(7).random
    ranks = (rank(strategy, members, facts, chance) for _ in range(1000))
    return Counter((ready + uneasy)[0].member.deployment.provider for ready, uneasy, _ in ranks)


def order(strategy: str, members: Sequence[Member], facts: Facts = FACTS) -> list[str]:
    """Return the providers in order, those that rest behind a bar."""
    ready, uneasy, resting = rank(strategy, members, facts, random.Random(7).random)
    names = [ranked.member.deployment.provider for ranked in (*ready, *uneasy)]
    return [*names, "|", *(ranked.member.deployment.provider for ranked in resting)]


def ranks(strategy: str, members: Sequence[Member]) -> list[Ranked]:
    """Return who can be asked."""
    return rank(strategy, members, FACTS, random.Random(7).random)[0]


# --- how one stands comes before any score -------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_everybody_is_in_the_order_once(strategy: str) -> None:
    """The order is the way to go when the first ones fail."""
    members = [member(name, place) for place, name in enumerate("abcde")]
    assert sorted(order(strategy, members)[:-1]) == list("abcde")


@given(strategy=st.sampled_from(list(STRATEGIES)), dice=st.randoms(use_true_random=False))
def test_nobody_is_lost_in_any_state(strategy: str, dice: random.Random) -> None:
    """Whatever befell them; the same chances give the same order."""
    members = [
        member(
            f"p{place}",
            place,
            first_s=dice.choice([None, 0.0, 0.1, 30.0]),
            busy=dice.choice([0, 1, 9]),
            tier=dice.randrange(2),
            weight=dice.choice([0, 0.5, 1, 7]),
            price=dice.choice([None, Price(input_nusd=0, output_nusd=USD)]),
        )
        for place in range(dice.randint(1, 6))
    ]
    for one in members:
        if dice.random() < 0.3:
            rest(one, until_s=dice.choice([50.0, 150.0]))
        if dice.random() < 0.3:
            one.vital.pace.fail(90.0)
    orders = [rank(strategy, members, FACTS, random.Random(1).random) for _ in range(2)]
    ranked = [each for some in orders[0] for each in some]
    assert sorted(each.member.place for each in ranked) == list(range(len(members)))
    assert orders[0] == orders[1]
    assert all(say(strategy, each, len(members)) for each in ranked)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_who_rests_is_apart(strategy: str) -> None:
    """Whoever comes back first is the first of them."""
    members = [member(name, place, first_s=1.0) for place, name in enumerate("abc")]
    rest(members[0], until_s=130.0)
    rest(members[1], until_s=108.0)
    assert order(strategy, members) == ["c", "|", "b", "a"]
    resting = rank(strategy, members, FACTS, random.random)[2]
    assert [ranked.behind for ranked in resting] == ["resting for 8 s", "resting for 30 s"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_tiers_stay_tiers(strategy: str) -> None:
    """However well somebody of the next one does."""
    fast, slow = member("fast", 0, first_s=0.1, tier=1), member("slow", 1, first_s=9.0, tier=0)
    assert order(strategy, [fast, slow])[:2] == ["slow", "fast"]
    rest(slow)
    assert order(strategy, [fast, slow]) == ["fast", "|", "slow"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_weight_nothing_means_only_when_others_cannot(strategy: str) -> None:
    """In every strategy."""
    none, some = member("none", 0, weight=0), member("some", 1)
    assert firsts(strategy, [none, some]) == {"some": 1000}
    rest(some)
    assert firsts(strategy, [none, some]) == {"none": 1000}


def test_whoever_gave_an_order_waits_for_a_slot() -> None:
    """The first of the list may be the one that costs nothing."""
    full = member("full", 0, busy=3, limits=Limits(max_parallel=3))
    assert firsts("priority", [full, member("free", 1)]) == {"full": 1000}


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name != "priority"])
def test_who_is_full_comes_after_the_others(strategy: str) -> None:
    """By its own `max_parallel`, or as it bears no more at once."""
    full, free = member("full", 0, busy=3, limits=Limits(max_parallel=3)), member("free", 1, busy=5)
    assert firsts(strategy, [full, free]) == {"free": 1000}
    pressed = member("full", 0, busy=3)
    pressed.vital.pressure = Pressure(3, 0.0)
    assert firsts(strategy, [pressed, free]) == {"free": 1000}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_who_has_gone_silent_comes_after_the_others(strategy: str) -> None:
    """Long before anybody gives up waiting."""
    silent, other = member("silent", 0, first_s=0.2, busy=1), member("other", 1, first_s=2.0)
    other.vital.busy = 1
    silent.vital.ask(98.0)
    assert firsts(strategy, [silent, other]) == {"other": 1000}
    silent.vital.hear(100.0)
    assert firsts(strategy, [silent, other])["silent"] > 0


def test_doubt_counts_for_more_than_a_tier() -> None:
    """Else all of the traffic would come back at once, or wait."""
    silent_one, other = member("silent", 0, first_s=0.2, busy=1), member("other", 1, tier=1)
    silent_one.vital.ask(98.0)
    assert firsts("priority", [silent_one, other]) == {"other": 1000}
    weightless = member("weightless", 0, weight=0)
    assert firsts("priority", [weightless, other]) == {"weightless": 1000}


@pytest.mark.parametrize("strategy", ["priority", "cost", "least_busy", "latency"])
def test_who_recovers_gets_a_small_share_first(strategy: str) -> None:
    """It grows from a tenth to all that it had."""
    price = Price(input_nusd=1, output_nusd=1)
    better = member("better", 0, first_s=0.1, price=price)
    worse = member("worse", 1, first_s=9.0, busy=3)
    circuit = better.vital.circuit
    rest(better, until_s=100.0)
    circuit.admit(100.0)
    circuit.answer(100.0, circuit.era)
    shares = [
        firsts(strategy, [better, worse], Facts(1000, 100, now_s=now_s))["better"] / 1000
        for now_s in (100.0, 105.0, 110.0)
    ]
    assert shares == [pytest.approx(0.1, abs=0.04), pytest.approx(0.55, abs=0.06), 1.0]


# --- latency -------------------------------------------------------------------------------------


def test_the_faster_one_is_asked() -> None:
    """By the time that the whole answer is likely to take."""
    quick, steady = member("quick", 0, first_s=0.1), member("steady", 1, first_s=1.0)
    for one, rest_s in ((quick, 10.0), (steady, 1.0)):
        one.vital.pace.learn(100.0, 0.0, rest_s, 100, stream=True)
    assert firsts("latency", [quick, steady], Facts(10, 1, now_s=100.0)) == {"quick": 1000}
    assert firsts("latency", [quick, steady], Facts(10, 100, now_s=100.0)) == {"steady": 1000}


def test_attempts_under_way_count() -> None:
    """Of equal ones the less busy is asked."""
    busy, idle = member("busy", 0, first_s=1.0, busy=4), member("idle", 1, first_s=1.0, busy=1)
    assert firsts("latency", [busy, idle]) == {"idle": 1000}


def test_about_equal_ones_share() -> None:
    """Two of them are compared by chance, so that not all who see the same choose the same."""
    members = [member(name, place, first_s=1.0 + place / 50) for place, name in enumerate("abcd")]
    members.append(member("slow", 4, first_s=3.0))
    shares = firsts("latency", members)
    assert "slow" not in shares
    assert max(shares.values()) < 600
    assert shares["c"] > 100


def test_one_that_nobody_knows_is_tried_and_not_flooded() -> None:
    """One attempt more than it has answered, until it is known."""
    known, new = member("known", 0, first_s=1.0), member("new", 1)
    assert firsts("latency", [known, new])["new"] == 1000
    new.vital.busy = 1
    assert firsts("latency", [known, new]) == {"known": 1000}
    new.vital.pace.hear(100.0, 0.5)
    assert firsts("latency", [known, new])["new"] == 1000
    new.vital.busy = 2
    assert firsts("latency", [known, new]) == {"known": 1000}


def test_when_nobody_is_known_all_are_tried() -> None:
    """The first answers do not decide for an hour."""
    shares = firsts("latency", [member(name, place) for place, name in enumerate("abc")])
    assert all(share > 200 for share in shares.values())


def test_who_only_failed_so_far_is_no_better_than_the_others() -> None:
    """To fail quickly is not to be quick."""
    known, failing = member("known", 0, first_s=1.0), member("failing", 1)
    for _ in range(10):
        failing.vital.pace.fail(100.0)
    assert firsts("latency", [known, failing])["known"] > 400


# --- the others ----------------------------------------------------------------------------------


@pytest.mark.acceptance("A21")
def test_weights_are_respected() -> None:
    """Each gets the share that its weight is of all."""
    members = [member("a", 0, weight=1), member("b", 1, weight=3), member("c", 2, weight=0.5)]
    shares = firsts("weighted", members)
    assert [shares[name] / 1000 for name in "abc"] == [
        pytest.approx(1 / 4.5, abs=0.04),
        pytest.approx(3 / 4.5, abs=0.04),
        pytest.approx(0.5 / 4.5, abs=0.04),
    ]


def test_least_busy_in_relation_to_the_weight() -> None:
    """Twice the weight bears twice as many; of equal ones, any."""
    light, heavy = member("light", 0, busy=2), member("heavy", 1, busy=4, weight=2)
    assert firsts("least_busy", [light, heavy]) == {"heavy": 1000}
    equal = firsts("least_busy", [member("a", 0), member("b", 1)])
    assert min(equal.values()) > 400


def test_the_cheapest_for_this_call() -> None:
    """Its own tokens decide, tiers of the price too; what has no known price comes last."""
    reader = Price(input_nusd=USD, output_nusd=20 * USD)
    writer = Price(input_nusd=5 * USD, output_nusd=5 * USD)
    members = [member("x", 0), member("reader", 1, price=reader), member("writer", 2, price=writer)]
    assert order("cost", members, Facts(1000, 10))[:3] == ["reader", "writer", "x"]
    assert order("cost", members, Facts(10, 1000))[:3] == ["writer", "reader", "x"]
    dear = Price(input_nusd=9 * USD, output_nusd=9 * USD)
    long = Price(input_nusd=USD, output_nusd=USD, tiers=((500, dear),))
    assert order("cost", [members[2], member("long", 1, price=long)])[:2] == ["writer", "long"]


def test_the_same_prefix_goes_to_the_same_deployment() -> None:
    """Different ones spread; who goes takes only its own along."""
    members = [member(name, place) for place, name in enumerate("abcd")]

    def homes(among: Sequence[Member]) -> dict[int, str]:
        prefixes = {n: Facts(10, 10, str(n).encode()) for n in range(200)}
        return {n: order("sticky", among, facts)[0] for n, facts in prefixes.items()}

    before = homes(members)
    assert before == homes(members)
    assert all(30 < count < 75 for count in Counter(before.values()).values())
    after = homes(members[:-1])
    assert all(after[n] == home for n, home in before.items() if home != "d")


def test_one_that_has_too_much_spills_over() -> None:
    """To the next in the prefix's own order, and back when it has room."""
    members = [member(name, place) for place, name in enumerate("abc")]
    facts = Facts(10, 10, b"prefix")
    home, second, *_ = order("sticky", members, facts)
    by_name = {one.deployment.provider: one for one in members}
    by_name[home].vital.busy = 10
    assert order("sticky", members, facts)[:3:2] == [second, home]
    by_name[home].vital.busy = 1
    assert order("sticky", members, facts)[0] == home


# --- what is said --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        ("priority", "first of 2"),
        ("latency", "latency 0.50 s, best of 2"),
        ("weighted", "weight 2, one of 2"),
        ("least_busy", "busy 0, best of 2"),
        ("cost", "cost 0.001100 USD, best of 2"),
        ("sticky", "keeps the prompt's prefix, one of 2"),
    ],
)
def test_the_reason_is_told_in_a_few_words(strategy: str, words: str) -> None:
    """With the number that decided."""
    price = Price(input_nusd=USD, output_nusd=USD)
    chosen = member("a", 0, first_s=0.5, weight=2, price=price)
    other = member("b", 1, weight=0)
    assert say(strategy, ranks(strategy, [chosen, other])[0], 2) == words


def test_the_reason_for_standing_behind_is_told() -> None:
    """Rather than a score that did not decide."""
    assert say("cost", ranks("cost", [member("a", weight=0), member("b", weight=0)])[0], 2) == (
        "weight 0"
    )
    unknown = ranks("latency", [member("a"), member("b")])[0]
    assert say("latency", unknown, 2) == "latency not known yet, best of 2"
    assert say("cost", ranks("cost", [member("a"), member("b")])[0], 2) == (
        "price not known, best of 2"
    )

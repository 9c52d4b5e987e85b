"""Who may answer calls of which kind."""

import pytest

from trunkline.errors import CapabilityMissing
from trunkline.routing.kinds import fitting
from trunkline.routing.names import Candidate, Leg
from trunkline.types import Deployment


def plan(*names: str, dialect: str = "openai_embeddings") -> Leg:
    """Make a leg of `provider/model`s."""
    rows = (name.split("/", 1) for name in names)
    return Leg(
        tuple(
            Candidate(Deployment(provider=provider, model=model, dialect=dialect))
            for provider, model in rows
        )
    )


def names(legs: list[Leg]) -> list[str]:
    """Return who is left."""
    return [candidate.deployment.name for leg in legs for candidate in leg.candidates]


def test_chats_are_answered_by_all() -> None:
    """The plan stays as it is."""
    every = plan("a/x", "b/y", dialect="openai_chat")
    assert fitting("chat", [every]) == [every]


SAME = [
    (["a/x", "b/y", "c/x"], ["a/x", "c/x"]),
    (["a/x", "b/org/x"], ["a/x", "b/org/x"]),
    (["a/org/x", "b/x"], ["a/org/x", "b/x"]),
    (["a/org/x", "b/other/x"], ["a/org/x"]),
    (["a/x", "b/x-large"], ["a/x"]),
]


@pytest.mark.parametrize(("given", "left"), SAME)
def test_embeddings_stay_with_their_model(given: list[str], left: list[str]) -> None:
    """A vendor before the name is no other model; another vendor is."""
    assert names(fitting("embed", [plan(*given)])) == left


def test_each_leg_keeps_its_way_of_choosing() -> None:
    """Strategy and tiers stay with those who are left; a leg without anybody is gone."""
    first = Leg(plan("a/x", "b/y", "c/x").candidates, "weighted", (0, 1, 2))
    legs = fitting("embed", [first, plan("d/y"), plan("e/x")])
    assert [(leg.strategy, leg.tiers) for leg in legs] == [("weighted", (0, 2)), ("priority", ())]
    assert names(legs) == ["a/x", "c/x", "e/x"]


def test_a_part_of_the_way_is_about_the_same_model() -> None:
    """Who stands first there is not the one that was asked for."""
    first = plan("a/x").candidates[0].deployment
    assert names(fitting("embed", [plan("b/y", "c/x")], first)) == ["c/x"]
    with pytest.raises(CapabilityMissing):
        fitting("embed", [plan("b/y")], first)


def test_who_has_no_embeddings_is_passed_over() -> None:
    """Without anybody who has, the call is refused."""
    without = plan("a/x", dialect="")
    assert names(fitting("embed", [without, plan("b/x")])) == ["b/x"]
    with pytest.raises(CapabilityMissing, match="a/x makes no embeddings"):
        fitting("embed", [without])


def test_counts_are_about_the_first() -> None:
    """It counts itself, or an estimate is made for its model; nobody else is asked."""
    assert names(fitting("count_tokens", [plan("a/x", "b/x", dialect="d")])) == ["a/x"]
    [estimate] = fitting("count_tokens", [plan("a/x", "b/x", dialect="")])
    assert names([estimate]) == ["estimate/x"]
    assert estimate.candidates[0].deployment.backend == "estimate"

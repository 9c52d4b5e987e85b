"""Who may answer calls of which kind."""

import pytest

from trunkline.errors import CapabilityMissing
from trunkline.routing.kinds import fitting
from trunkline.routing.names import Candidate
from trunkline.types import Deployment


def plan(*names: str, dialect: str = "openai_embeddings") -> tuple[Candidate, ...]:
    """Make a plan of `provider/model`s."""
    rows = (name.split("/", 1) for name in names)
    return tuple(
        Candidate(Deployment(provider=provider, model=model, dialect=dialect))
        for provider, model in rows
    )


def names(candidates: tuple[Candidate, ...]) -> list[str]:
    """Return who is left."""
    return [candidate.deployment.name for candidate in candidates]


def test_chats_are_answered_by_all() -> None:
    """The plan stays as it is."""
    every = plan("a/x", "b/y", dialect="openai_chat")
    assert fitting("chat", every) is every


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
    assert names(fitting("embed", plan(*given))) == left


def test_who_has_no_embeddings_is_passed_over() -> None:
    """Without anybody who has, the call is refused."""
    without = plan("a/x", dialect="")
    assert names(fitting("embed", without + plan("b/x"))) == ["b/x"]
    with pytest.raises(CapabilityMissing, match="a/x makes no embeddings"):
        fitting("embed", without)


def test_counts_are_about_the_first() -> None:
    """It counts itself, or an estimate is made for its model; nobody else is asked."""
    assert names(fitting("count_tokens", plan("a/x", "b/x", dialect="d"))) == ["a/x"]
    [estimate] = fitting("count_tokens", plan("a/x", "b/x", dialect=""))
    assert estimate.deployment.name == "estimate/x"
    assert estimate.deployment.backend == "estimate"

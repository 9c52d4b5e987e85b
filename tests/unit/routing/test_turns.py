"""Turns go round among owners, whatever each of them has waiting."""

import pytest

from trunkline.routing.turns import Turns


def test_owners_take_turns() -> None:
    """One of each after the other; each one's own in their order."""
    turns = Turns[str]()
    for item in ("a1", "a2", "a3", "b1", "c1", "c2"):
        turns.add(item[0], item)
    assert [turns.pop() for _ in range(6)] == ["a1", "b1", "c1", "a2", "c2", "a3"]
    assert not turns
    with pytest.raises(KeyError):
        turns.pop()


def test_who_gives_up_is_gone() -> None:
    """Once; and an owner without items has no turn."""
    turns = Turns[str]()
    for item in ("a1", "b1", "b2"):
        turns.add(item[0], item)
    turns.discard("a", "a1")
    turns.discard("a", "a1")
    turns.discard("x", "x1")
    assert len(turns) == 2
    assert [turns.pop(), turns.pop()] == ["b1", "b2"]


def test_how_many_are_ahead() -> None:
    """Of others as many as one has oneself, at most."""
    turns = Turns[int]()
    for number in range(10):
        turns.add("a", number)
    turns.add("b", 10)
    assert (turns.ahead("a"), turns.ahead("b"), turns.ahead("c")) == (11, 3, 2)


def test_the_greediest_gives_way() -> None:
    """The last of whoever has the most, but nobody who has no more than the newcomer would."""
    turns = Turns[str]()
    for item in ("a1", "a2", "a3", "b1"):
        turns.add(item[0], item)
    assert turns.pop_last_of_greediest("b") == "a3"
    assert turns.pop_last_of_greediest("b") is None
    assert turns.pop_last_of_greediest("c") == "a2"
    assert len(turns) == 2
    assert Turns[str]().pop_last_of_greediest("a") is None

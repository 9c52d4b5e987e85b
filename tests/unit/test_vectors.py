"""Vectors: one for each text, undecoded until somebody asks, and large ones beside the loop."""

import threading

import pytest
from msgspec import Raw

from trunkline.errors import BadAnswer
from trunkline.types import Embedded, Frame, Mark, Memo
from trunkline.vectors import aside, embedded

VECTORS = [Raw(b"[0.5]"), Raw(b"[1, -2]")]


def test_vectors_wait_until_somebody_asks() -> None:
    """What layers look at is known before: usage, and that it is the end."""
    frame = embedded(b"{}", VECTORS, Memo(), tokens=3.0, model="m")
    assert frame.mark == Mark.SHOWN | Mark.USAGE | Mark.FINISH | Mark.TERMINAL
    assert frame.told
    assert not any(isinstance(event, Embedded) for event in frame.told)
    assert frame.events == (*frame.told, Embedded(vectors=([0.5], [1.0, -2.0])))


@pytest.mark.parametrize("tokens", [None, 0, -1, "3", True, {}])
def test_tokens_that_are_no_number_are_not_told(tokens: object) -> None:
    """They are estimated then."""
    assert not embedded(b"{}", VECTORS, Memo(), tokens=tokens).mark & Mark.USAGE


def test_as_many_as_texts() -> None:
    """Where the number of texts is known, no other number of vectors is an answer."""
    assert embedded(b"{}", VECTORS, Memo(wanted=2), tokens=1).terminal
    for wanted in (1, 3):
        with pytest.raises(BadAnswer, match=f"gave 2 vectors for {wanted} texts"):
            embedded(b"{}", VECTORS, Memo(wanted=wanted), tokens=1)
    with pytest.raises(BadAnswer, match="no vectors"):
        embedded(b"{}", [], Memo(), tokens=1)


def test_what_is_no_vector() -> None:
    """The first is looked at at once, the others when they are asked for."""
    wrong = Raw(b'"AAAA"')
    with pytest.raises(BadAnswer, match="no numbers"):
        embedded(b"{}", [wrong], Memo(), tokens=1)
    frame = embedded(b"{}", [*VECTORS, wrong], Memo(), tokens=1)
    with pytest.raises(BadAnswer, match="no numbers"):
        _ = frame.events


async def test_large_answers_are_worked_on_beside_the_loop() -> None:
    """A small one is not worth a thread."""
    here = threading.get_ident()
    assert await aside([Frame(b"x", 0)], threading.get_ident) == here
    assert await aside([Frame(b"x" * 2**19, 0)] * 2, threading.get_ident) != here

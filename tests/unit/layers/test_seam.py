"""Where two answers meet: nothing twice, nothing lost, and only words are handed on."""

from itertools import pairwise

import pytest

from trunkline.fold import Fold
from trunkline.layers.route.seam import Seam, repeated, words_of
from trunkline.types import (
    Event,
    Extra,
    Finish,
    Frame,
    Mark,
    RefusalDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
)

TALE = "Once upon a time there was a fox, and the fox was very"
REPEATED = {
    "goes on": ("It is ver", "y good", 0),
    "a space that was not handed on": ("It is ", " good", 1),
    "a space that was handed on by the words": ("It is ", "good", 0),
    "blanks of a line": ("if x:\n    ", "\n    return", 5),
    "a part of the blanks": ("so\n\n", "\nit", 1),
    "all of it": (TALE, TALE + " red", len(TALE)),
    "all of it but the blanks": (TALE + " ", TALE + " red", len(TALE) + 1),
    "a long end": (TALE, "and the fox was very red", 20),
    "the last word anew": (TALE, "very red", 4),
    "the last word anew, unfinished": ("It is wond", "wonderful", 4),
    "haha": ("He said ha", "ha", 0),
    "a number": ("It costs 100", "100 dollars", 0),
    "an end that is no word": ("a brave", "ave", 0),
    "two letters": ("the l", "lama", 0),
}


@pytest.mark.parametrize("case", list(REPEATED))
def test_what_is_only_said_again(case: str) -> None:
    """Many characters, all of it or a word begun anew; never what may be meant."""
    said, words, expected = REPEATED[case]
    assert repeated(said, words) == expected


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("again", ["", TALE, "very", "the fox was very"])
def test_in_pieces_of_any_size(size: int, again: str) -> None:
    """However the words are cut, the answer is the same."""
    words = again + " red, and slept."
    seam, fold = Seam(TALE), Fold()
    fold.add(TextDelta(text=TALE, block=0))
    cuts = [*range(0, len(words), size), len(words)]
    for a, b in pairwise(cuts):
        for event in seam.fitted([TextDelta(text=words[a:b], block=0)]):
            fold.add(event)
    for event in seam.fitted([Finish(reason="stop")]):
        fold.add(event)
    assert [part.text for part in fold.message().parts] == [TALE + " red, and slept."]  # type: ignore[union-attr]


def test_an_answer_that_only_repeats_adds_nothing() -> None:
    """But its end."""
    seam = Seam(TALE)
    assert seam.fitted([TextDelta(text="was very")]) == []
    assert seam.fitted([TextDelta(text="")]) == []
    assert (
        seam.fitted([Finish(reason="stop")])
        == [
            TextDelta(text="was very"[repeated(TALE, "was very") :]),
            Finish(reason="stop"),
        ][repeated(TALE, "was very") == 8 :]
    )


def test_who_began_and_what_was_used_is_said_once() -> None:
    """The first answer has said it, and the end of the whole will."""
    events = [Started(id="2", model="m2"), UsageReport(usage=Usage())]
    assert Seam(TALE).fitted(events) == []


def test_words_go_on_in_the_block_that_was_open() -> None:
    """What else comes has blocks of its own, that are none of the first answer."""
    seam = Seam("hm")
    fitted = seam.fitted(
        [
            TextDelta(text="x", block=0),
            TextDelta(text="y", block=0),
            ThinkingDelta(text="t", block=1),
            TextDelta(text="z", block=2),
            ToolCallDelta(index=0, name="f"),
        ]
    )
    assert fitted == [
        TextDelta(text="x"),
        TextDelta(text="y"),
        ThinkingDelta(text="t", block=1001),
        TextDelta(text="z", block=1002),
        ToolCallDelta(index=0, name="f"),
    ]


WORDS: dict[str, tuple[list[Event], str]] = {
    "words": ([Started(id="1"), TextDelta(text="a"), TextDelta(text="b")], "ab"),
    "after a thought": ([ThinkingDelta(text="t"), TextDelta(text="a")], "a"),
    "in a thought": ([TextDelta(text="a"), ThinkingDelta(text="t")], ""),
    "a thought and no words yet": ([ThinkingDelta(text="t"), TextDelta(text="")], ""),
    "a tool call": ([TextDelta(text="a"), ToolCallDelta(index=0)], ""),
    "a refusal": ([RefusalDelta(text="no")], ""),
    "its end": ([TextDelta(text="a"), Finish(reason="stop")], ""),
    "words with sources": ([TextDelta(text="a", extra={"citations": [1]})], ""),
    "another choice": ([TextDelta(text="a", choice=1)], ""),
    "beside the words": ([TextDelta(text="a"), Extra(fields={"logprobs": {}})], "a"),
    "parts nobody knows": ([TextDelta(text="a"), Extra(fields={"content_parts": [1]})], ""),
}


@pytest.mark.parametrize("case", list(WORDS))
def test_only_words_can_be_handed_on(case: str) -> None:
    """Anything else would be lost, or be said twice."""
    events, expected = WORDS[case]
    frames = [Frame(b"x", Mark.SHOWN, events=(event,)) for event in events]
    assert words_of(frames) == expected

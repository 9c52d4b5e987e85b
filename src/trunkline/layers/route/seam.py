"""Where two answers meet: what the second says is made to follow the first."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from trunkline.types import (
    Event,
    Extra,
    Finish,
    Frame,
    Started,
    TextDelta,
    ThinkingDelta,
    UsageReport,
)

_ANOTHER_BLOCK = 1000
"""Added to the numbers of blocks after the seam; no answer has so many."""
_SURELY_REPEATED = 16
"""So many characters that stand on both sides of the seam were not said twice on purpose."""
_FEWEST_REPEATED = 3


def words_of(frames: Iterable[Frame]) -> str:
    """Return the words of an unfinished answer; "" = it is more than words, or not yet words."""
    words: list[str] = []
    thinking = False
    for frame in frames:
        for event in frame.events:
            if isinstance(event, TextDelta) and not event.extra and not event.choice:
                words.append(event.text)
                thinking = thinking and not event.text
            elif isinstance(event, ThinkingDelta) and not event.choice:
                thinking = True
            elif not isinstance(event, Started | UsageReport) and not _is_aside(event):
                return ""
    return "" if thinking else "".join(words)


def _is_aside(event: Event) -> bool:
    """Whether it only stands beside the words."""
    return isinstance(event, Extra) and "content_parts" not in event.fields


class Seam:
    """Fits the events of an answer that goes on with `said`.

    Its first words are held back while they repeat what was said, and left out where they do.
    """

    def __init__(self, said: str) -> None:
        self._said = said
        self._held: str | None = ""
        """None = it goes on with words of its own."""
        self._block: int | None = None

    def fitted(self, events: Iterable[Event]) -> list[Event]:
        """Return what these events add; that the answer began and what it used is left out."""
        out: list[Event] = []
        for event in events:
            if isinstance(event, Started | UsageReport):
                continue
            if self._held is None:
                out.append(self._placed(event))
            elif isinstance(event, TextDelta) and not event.extra:
                self._block = event.block
                out += self._words(self._held + event.text, more=True)
            else:
                if isinstance(event, Finish) or self._held:
                    out += self._words(self._held, more=False)
                out.append(self._placed(event))
        return out

    def _words(self, words: str, *, more: bool) -> list[Event]:
        """Hold words back while `more` of them may repeat what was said; else say what is new."""
        if more and words in self._said:
            self._held = words
            return []
        self._held = None
        new = words[repeated(self._said, words) :]
        return [TextDelta(text=new)] if new else []

    def _placed(self, event: Event) -> Event:
        """Put an event into a block of its own, or words into the one that was open."""
        if not isinstance(event, TextDelta | ThinkingDelta) or event.block is None:
            return event
        goes_on = isinstance(event, TextDelta) and event.block == self._block
        return replace(event, block=None if goes_on else event.block + _ANOTHER_BLOCK)


def repeated(said: str, words: str) -> int:
    """Return how many characters at the beginning of `words` only repeat the end of `said`.

    Few characters may be meant: "ha" goes on as "haha". They are taken for a repetition where they
    are many, or all that was said, or a word that is begun anew. Blanks at the end of `said` were
    not handed on, so those are expected again.
    """
    told = said.rstrip()
    size = next(
        (
            size
            for size in range(min(len(told), len(words)), _FEWEST_REPEATED - 1, -1)
            if told.endswith(words[:size]) and _is_repetition(told, size)
        ),
        0,
    )
    blanks = said[len(told) :]
    while blanks and not words[size:].startswith(blanks):
        blanks = blanks[:-1]
    return size + len(blanks)


def _is_repetition(told: str, size: int) -> bool:
    start = len(told) - size
    if size >= _SURELY_REPEATED or not start:
        return True
    return told[start].isalpha() and not told[start - 1].isalnum()

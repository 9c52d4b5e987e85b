"""A message is the fold of its events, however they were cut."""

from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trunkline.fold import Fold
from trunkline.types import (
    Audio,
    AudioDelta,
    Event,
    Extra,
    Finish,
    Message,
    Refusal,
    RefusalDelta,
    Started,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    UsageReport,
)

Pieces = list[str]


def fold(*events: Event, choice: int = 0) -> Message:
    """Fold events."""
    folding = Fold(choice)
    for event in events:
        folding.add(event)
    return folding.message()


# --- any cut gives the same message --------------------------------------------------------------

pieces = st.lists(st.text(max_size=4), min_size=1, max_size=4)


@st.composite
def spoken(draw: st.DrawFn) -> tuple[list[Event], list[Event], list[Any]]:
    """Draw an answer: its parts whole, the same cut into deltas, and the parts themselves."""
    joined: list[Event] = []
    cut: list[Event] = []
    parts: list[Any] = []
    kinds = draw(st.lists(st.sampled_from(["text", "thinking", "tool", "refusal"]), max_size=6))
    for number, kind in enumerate(kinds):
        bits = draw(pieces)
        words = "".join(bits)
        if kind == "text":
            deltas: list[Event] = [TextDelta(text=bit) for bit in bits]
            whole: list[Event] = [TextDelta(text=words)]
            part: Any = Text(text=words)
        elif kind == "refusal":
            deltas = [RefusalDelta(text=bit) for bit in bits]
            whole, part = [RefusalDelta(text=words)], Refusal(text=words)
        elif kind == "thinking":
            proof = f"sig{number}"
            deltas = [ThinkingDelta(text=bit, block=number) for bit in bits]
            deltas.append(ThinkingDelta(signature=proof, block=number))
            whole = [ThinkingDelta(text=words, signature=proof, block=number)]
            part = Thinking(text=words, signature=proof)
        else:
            bits = [f"[{words!r}", *bits, "]"]
            words, name = "".join(bits), f"c{number}"
            deltas = [ToolCallDelta(index=number, id=name, name="f")]
            deltas += [ToolCallDelta(index=number, arguments=bit) for bit in bits]
            whole = [ToolCallDelta(index=number, id=name, name="f", arguments=words)]
            part = ToolCall(id=name, name="f", arguments=words)
        joined += whole
        cut += deltas
        parts.append(part)
    return joined, cut, parts


def merged(parts: list[Any]) -> Iterator[Any]:
    """Join neighbours that no delta can tell apart, and leave out what says nothing."""
    last: Any = None
    for part in parts:
        if isinstance(part, Text | Refusal):
            if not part.text:
                continue
            if type(part) is type(last):
                last = type(part)(text=last.text + part.text)
                continue
        if last is not None:
            yield last
        last = part
    if last is not None:
        yield last


@given(spoken())
def test_any_cut_folds_to_the_same_message(
    answer: tuple[list[Event], list[Event], list[Any]],
) -> None:
    """Parts keep their order and their words, whether they came whole or in pieces."""
    joined, cut, parts = answer
    assert fold(*cut) == fold(*joined)
    assert fold(*cut).parts == tuple(merged(parts))


@given(st.lists(pieces, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_parallel_tool_calls_may_come_in_any_order(calls: list[Pieces], random: Any) -> None:
    """Fragments belong to their index; calls stand in the order in which they began."""
    deltas: list[Event] = []
    for index in range(len(calls)):
        deltas.append(ToolCallDelta(index=index, id=f"c{index}", name="f"))
    left = [list(bits) for bits in calls]
    while any(left):
        index = random.choice([i for i, bits in enumerate(left) if bits])
        deltas.append(ToolCallDelta(index=index, arguments="+" + left[index].pop(0)))
    assert fold(*deltas).tool_calls == tuple(
        ToolCall(id=f"c{index}", name="f", arguments="".join(f"+{bit}" for bit in bits))
        for index, bits in enumerate(calls)
    )


@given(st.lists(st.tuples(st.integers(0, 2), st.text(max_size=3)), max_size=12))
def test_choices_do_not_mix(said: list[tuple[int, str]]) -> None:
    """Each fold hears its own choice only."""
    events = [TextDelta(text=words, choice=choice) for choice, words in said]
    for choice in range(3):
        expected = "".join(words for number, words in said if number == choice)
        assert fold(*events, choice=choice).text == expected


# --- what deltas say -----------------------------------------------------------------------------


def test_empty_deltas_neither_open_nor_end_a_part() -> None:
    """`"content": ""` beside each piece of thinking does not tear the thinking apart."""
    nothing = TextDelta(text=""), RefusalDelta(text=""), ThinkingDelta(spelling="reasoning")
    events = [
        *nothing,
        ThinkingDelta(text="h"),
        *nothing,
        ThinkingDelta(text="m"),
        *nothing,
        TextDelta(text="o"),
        *nothing,
        TextDelta(text="k"),
    ]
    assert fold(*events).parts == (Thinking(text="hm"), Text(text="ok"))
    assert fold(*nothing).parts == ()


def test_text_after_a_tool_call_is_a_part_of_its_own() -> None:
    """The order of what was said survives."""
    parts = fold(TextDelta(text="a"), ToolCallDelta(index=0, id="1"), TextDelta(text="b")).parts
    assert [part.text if isinstance(part, Text) else "call" for part in parts] == ["a", "call", "b"]


def test_thinking_blocks_keep_their_own_proof() -> None:
    """Signatures and hidden thought stay with their block, which another number ends."""
    parts = fold(
        ThinkingDelta(text="a", spelling="reasoning", block=0),
        ThinkingDelta(signature="s0", block=0),
        ThinkingDelta(redacted="blob", block=1),
        ThinkingDelta(signature="s2", block=2, extra={"format": "x"}),
        ThinkingDelta(text="goes on"),
    ).parts
    assert parts == (
        Thinking(text="a", signature="s0", spelling="reasoning"),
        Thinking(redacted="blob"),
        Thinking(text="goes on", signature="s2", extra={"format": "x"}),
    )


def test_a_tool_call_always_has_arguments_id_and_name() -> None:
    """No arguments mean an empty object, and the first id and name that are said stay."""
    for nothing in ("", " ", "null", "\n"):
        call = fold(ToolCallDelta(index=3, arguments=nothing)).tool_calls[0]
        assert call == ToolCall(id="call_3", name="", arguments="{}")
    again = ToolCallDelta(index=0, id="later", name="later", arguments="{}")
    late = fold(ToolCallDelta(index=0), ToolCallDelta(index=0, id="a", name="f"), again)
    assert late.tool_calls == (ToolCall(id="a", name="f"),)


def test_the_kind_of_a_tool_call_is_said_once() -> None:
    """Later pieces that do not repeat it do not make a custom tool a function."""
    deltas = (
        ToolCallDelta(index=0, id="a", name="f", kind="custom"),
        ToolCallDelta(index=0, arguments="x"),
    )
    assert fold(*deltas).tool_calls == (ToolCall(id="a", name="f", arguments="x", kind="custom"),)


def test_audio_is_one_part() -> None:
    """Sound and transcript come in pieces, between which other things may be said."""
    message = fold(
        AudioDelta(id="a1", data="QUJD"),
        TextDelta(text="hm"),
        AudioDelta(transcript="he"),
        AudioDelta(data="REVG", transcript="llo", expires_at=9),
    )
    audio = Audio(data="QUJDREVG", id="a1", transcript="hello", expires_at=9)
    assert message.parts == (audio, Text(text="hm"))


def test_fields_without_a_name_here_are_kept() -> None:
    """Texts and lists that come in pieces are joined, anything else is replaced."""
    message = fold(
        Extra(fields={"list": [1], "text": "a", "n": 1, "mixed": "a"}),
        TextDelta(text="hi", extra={"cited": 1}),
        TextDelta(text="", extra={"marked": 2}),
        Extra(fields={"list": [2], "text": "b", "n": 2, "mixed": [1]}),
    )
    assert message.extra == {"list": [1, 2], "text": "ab", "n": 2, "mixed": [1]}
    assert message.parts == (Text(text="hi", extra={"cited": 1, "marked": 2}),)


def test_events_are_not_changed_by_folding() -> None:
    """The same events can be folded again: nothing of them is written to."""
    events = [
        TextDelta(text="a", extra={"x": 1}),
        TextDelta(text="b", extra={"y": 1}),
        Extra(fields={"list": [1]}),
        Extra(fields={"list": [2]}),
    ]
    assert fold(*events) == fold(*events)
    assert TextDelta(text="new").extra == {}


def test_events_without_content_are_ignored() -> None:
    """What is said about the answer is no part of it."""
    about = Started(id="x"), Finish(reason="stop"), UsageReport(usage=Usage())
    assert fold(*about) == Message(role="assistant")

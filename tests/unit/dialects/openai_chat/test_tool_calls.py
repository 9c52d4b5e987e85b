"""Tool calls that come in pieces: which piece belongs to which call."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.dialects.openai_chat.wire import call, calls, chunk, events
from trunkline.types import (
    ToolCall,
    ToolCallDelta,
)


def test_fragments_are_joined_by_index() -> None:
    """Id and name come first, arguments after, of several calls in turn."""
    got = calls(
        call(0, "f", "", id="a", type="function"),
        call(0, None, '{"x"'),
        call(1, "g", "", id="b"),
        call(0, None, ":1}"),
        call(1, None, "{}"),
    )
    assert got == [ToolCall(id="a", name="f", arguments='{"x":1}'), ToolCall(id="b", name="g")]


def test_a_repeated_id_and_name_do_not_begin_a_new_call() -> None:
    """Some servers repeat id and name on every fragment."""
    got = calls(call(0, "f", '{"x"', id="a"), call(0, "f", ":1}", id="a"))
    assert got == [ToolCall(id="a", name="f", arguments='{"x":1}')]


def test_a_new_id_under_a_used_index_is_a_new_call() -> None:
    """Gemini's compatible endpoint gives every parallel call index 0."""
    got = calls(call(0, "f", '{"x":1}', id="a"), call(0, "g", '{"y"', id="b"), call(0, None, ":2}"))
    assert got == [
        ToolCall(id="a", name="f", arguments='{"x":1}'),
        ToolCall(id="b", name="g", arguments='{"y":2}'),
    ]


def test_a_changed_id_without_a_name_continues() -> None:
    """An id that changes from fragment to fragment does not split a call."""
    got = calls(call(0, "f", '{"x"', id="a"), call(0, None, ":1}", id="other"))
    assert got == [ToolCall(id="a", name="f", arguments='{"x":1}')]


def test_without_an_index_the_id_tells() -> None:
    """Mistral's calls may lack an index."""
    got = calls(
        call(None, "f", '{"x"', id="a"),
        call(None, "g", "{}", id="b"),
        call(None, None, ":1}", id="a"),
    )
    assert got == [ToolCall(id="a", name="f", arguments='{"x":1}'), ToolCall(id="b", name="g")]


def test_without_index_and_id_a_name_begins_a_call() -> None:
    """With nothing else to go by, a name begins and anything else continues."""
    got = calls(call(None, "f", '{"x"'), call(None, None, ":1}"), call(None, "g", "{}"))
    assert [(c.name, c.arguments) for c in got] == [("f", '{"x":1}'), ("g", "{}")]


def test_an_index_may_start_anywhere() -> None:
    """Calls are numbered in the order they come, whatever the provider counts."""
    got = events(chunk({"tool_calls": [call(3, "f", "{}", id="a"), call(7, "g", "{}", id="b")]}))
    assert [e.index for e in got if isinstance(e, ToolCallDelta)] == [0, 1]


def test_custom_calls_come_in_pieces() -> None:
    """A custom tool's input is joined like arguments."""
    got = calls(
        {"index": 0, "id": "c", "type": "custom", "custom": {"name": "f", "input": "4 "}},
        {"index": 0, "custom": {"input": "+ 4"}},
    )
    assert got == [ToolCall(id="c", name="f", arguments="4 + 4", kind="custom")]


_CALLS = st.lists(
    st.tuples(st.text(min_size=1, max_size=8), st.text(max_size=40)), min_size=1, max_size=4
)


@given(_CALLS, st.data())
def test_any_cutting_of_arguments_gives_the_same_calls(
    wanted: list[tuple[str, str]], data: st.DataObject
) -> None:
    """However a provider cuts and interleaves the fragments, the same calls come out."""
    queues = []
    for index, (name, arguments) in enumerate(wanted):
        cuts = data.draw(st.lists(st.integers(0, len(arguments)), max_size=5).map(sorted))
        edges = [0, *cuts, len(arguments)]
        pieces = [arguments[a:b] for a, b in pairwise(edges)]
        rest = [call(index, None, piece) for piece in pieces]
        queues.append([call(index, name, "", id=f"c{index}"), *rest])
    stream = [queue.pop(0) for queue in queues]
    while any(queues):
        queue = data.draw(st.sampled_from([queue for queue in queues if queue]))
        stream.append(queue.pop(0))
    expected = [text if text.strip() not in {"", "null"} else "{}" for _, text in wanted]
    got = calls(*stream)
    assert [(c.id, c.name, c.arguments) for c in got] == [
        (f"c{index}", name, text)
        for index, ((name, _), text) in enumerate(zip(wanted, expected, strict=True))
    ]

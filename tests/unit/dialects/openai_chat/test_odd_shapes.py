"""Whatever stands at any place of an answer: our error, or events of the types that they promise.

What slips through here surfaces far away: in a fold, a chunk, or a journal nobody can read.
"""

import copy
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from trunkline.dialects.openai_chat.answer import decode, decode_frame
from trunkline.errors import BadAnswer, ProviderError
from trunkline.fold import Fold
from trunkline.testing import chat_answer, chat_chunk, chat_usage
from trunkline.types import Finish, Memo, Started, TextDelta, UsageReport

Path = tuple[str | int, ...]

ODD: list[Any] = [
    *(None, 0, -1, 42, 1e30, 10**30, 1.5, "", "x", "NaN", "Infinity"),
    *([], {}, [[]], [{}], [1], ["x"], [None], {"a": 1}),
    *({"type": "text", "text": 1}, [{"type": "text", "text": 1}], [{"type": "thinking"}]),
]
CALL = {"name": "f", "arguments": "{}"}
ANSWER = chat_answer(
    "one two",
    usage=chat_usage(10, 5, prompt_tokens_details={"cached_tokens": 2}, cost=0.001),
    tool_calls=[{"index": 0, "id": "c1", "type": "function", "function": CALL}],
    function_call=CALL,
    reasoning_content="hm",
    reasoning="hm",
    reasoning_details=[{"type": "reasoning.text", "text": "hm"}],
    refusal="no",
    annotations=[],
    audio={"id": "a", "data": "AAAA", "transcript": "one", "expires_at": 5},
)
CHUNK = chat_chunk(ANSWER["choices"][0]["message"], finish="stop", usage=ANSWER["usage"])


def places(value: Any, at: Path = ()) -> Iterator[Path]:
    """Give the path of every value inside `value`, its own first."""
    yield at
    entries = value.items() if isinstance(value, dict) else ()
    for key, inner in enumerate(value) if isinstance(value, list) else entries:
        yield from places(inner, (*at, key))


def put(value: Any, at: Path, odd: Any) -> Any:
    """Return a copy of `value` with `odd` at a place."""
    if not at:
        return odd
    changed = inner = copy.deepcopy(value)
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = odd
    return changed


def take(data: Any, *, whole: bool) -> tuple[Any, ...]:
    """Decode an answer or one event of a stream."""
    body = json.dumps(data).encode()
    if whole:
        return decode(body, Memo()).events
    return decode_frame(b"data: %s\n\n" % body, Memo()).events


@pytest.mark.parametrize(
    ("place", "whole"),
    [
        *((place, True) for place in places(ANSWER)),
        *((place, False) for place in places(CHUNK)),
    ],
)
def test_an_odd_value_anywhere(place: Path, whole: bool) -> None:
    """Each is refused as ours, or understood without breaking a promise."""
    for odd in ODD:
        fold = Fold()
        try:
            events = take(put(ANSWER if whole else CHUNK, place, odd), whole=whole)
        except ProviderError:
            continue
        for event in events:
            msgspec.convert(msgspec.to_builtins(event), type(event))
            fold.add(event)
        json.dumps(msgspec.to_builtins(fold.message()))


@pytest.mark.parametrize("cost", [-1, -0.001, "NaN", "Infinity", "-Infinity", "free", [], True])
def test_a_cost_that_is_none(cost: object) -> None:
    """It counts as not said: a provider neither breaks a call with it nor pays money back."""
    usage = chat_usage(10, 5, cost=cost)
    [report] = (e for e in take(chat_answer(usage=usage), whole=True) if isinstance(e, UsageReport))
    assert report.usage.reported_cost_nusd is None
    assert report.usage.total_tokens == 15


def test_ids_that_are_numbers_are_text() -> None:
    """Some servers number their answers."""
    started, *_ = take({**chat_answer(), "id": 42, "model": 7}, whole=True)
    assert started == Started(id="42", model="7")


@pytest.mark.parametrize("index", [1, 42, -1, "0", None])
def test_the_only_choice_is_the_answer(index: object) -> None:
    """A whole answer lists its choices; an odd index beside one must not lose the text."""
    events = take(put(ANSWER, ("choices", 0, "index"), index), whole=True)
    assert [e for e in events if isinstance(e, TextDelta)] == [TextDelta(choice=0, text="one two")]
    assert [e.choice for e in events if isinstance(e, Finish)] == [0]


def test_a_choice_with_nothing_in_it_is_no_answer() -> None:
    """It must not pass for an empty one."""
    with pytest.raises(BadAnswer, match="shape"):
        take({"id": "x", "choices": [{}]}, whole=True)

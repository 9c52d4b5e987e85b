"""What a response says that it used, and what it leaves out."""

import json
from typing import Any

import pytest

from trunkline.dialects import load
from trunkline.testing import response_answer
from trunkline.types import Finish, Memo, UsageReport

responses = load("openai_responses")
USED = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}


def reported(*items: dict[str, Any], **usage: Any) -> list[bool]:
    """Return of a whole answer, and of a stream whose end leaves items out, whether fees are."""
    whole = response_answer(output=list(items), usage=USED | usage)
    done = {"type": "response.output_item.done", "output_index": 0, "item": items[0]}
    last = {"type": "response.completed", "response": whole | {"output": []}}
    memo = Memo()
    pieces = [b"data: %b\n\n" % json.dumps(one).encode() for one in (done, last)]
    frames = [responses.decode_frame(piece, memo) for piece in pieces]
    frames.append(responses.decode(json.dumps(whole).encode(), Memo()))
    events = [event for frame in frames for event in frame.events]
    return [event.apart for event in events if isinstance(event, UsageReport)]


@pytest.mark.parametrize(
    ("kind", "apart"),
    [
        ("file_search_call", True),
        ("code_interpreter_call", True),
        ("image_generation_call", True),
        ("x_search_call", True),
        ("web_search_call", False),
        ("mcp_call", False),
        ("function_call", False),
    ],
)
def test_tools_that_are_charged_apart_are_told(kind: str, apart: bool) -> None:
    """Searches of the web are counted and calls of functions cost tokens; the fee of others is not
    known, unless the provider says what the whole answer cost."""
    item = {"type": kind, "id": "i_1", "call_id": "c_1", "name": "f", "arguments": "{}"}
    assert reported(item) == [apart, apart]
    assert reported(item, cost_in_usd_ticks=10**7) == [False, False]


@pytest.mark.parametrize(
    ("counted", "apart"),
    [({"x_search_calls": 1}, True), ({"web_search_calls": 2, "x_search_calls": 0}, False)],
)
def test_tools_that_are_counted_by_name(counted: dict[str, int], apart: bool) -> None:
    """xAI's counts stand beside the tokens."""
    item = {"type": "reasoning", "id": "rs_1", "summary": []}
    assert reported(item, server_side_tool_usage_details=counted) == [apart, apart]


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_an_answer_that_is_not_there_yet_says_so(status: str) -> None:
    """The money of the call is settled by that word."""
    body = response_answer(output=[], status=status, usage=None)
    [finish] = responses.decode(json.dumps(body).encode(), Memo()).events[1:]
    assert finish == Finish(reason="unknown", raw=status)

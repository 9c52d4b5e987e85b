"""`decode`: what a whole answer may look like."""

import json
from typing import Any

import pytest

from tests.unit.dialects.openai_chat.wire import USAGE, call, calls, chunk, events, fold, whole
from trunkline.dialects.openai_chat import decode
from trunkline.errors import (
    BadAnswer,
    UpstreamOverloaded,
    UpstreamRateLimited,
)
from trunkline.fold import Fold
from trunkline.types import (
    Extra,
    Finish,
    Mark,
    Memo,
    Refusal,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    UsageReport,
)


def test_a_whole_answer_is_one_terminal_frame() -> None:
    """A body is one frame that carries everything and ends the answer."""
    memo = Memo()
    frame = decode(whole(), memo)
    assert frame.mark == Mark.SHOWN | Mark.USAGE | Mark.FINISH | Mark.TERMINAL
    assert frame.terminal
    assert memo.finished
    started, text, finish, usage = frame.events
    assert started == Started(id="x1", model="m1")
    assert text == TextDelta(text="Hi")
    assert finish == Finish(reason="stop", raw="stop")
    assert isinstance(usage, UsageReport)
    assert usage.usage.total_tokens == 5


def test_blank_lines_before_a_body_are_legal() -> None:
    """DeepSeek keeps a connection alive with blank lines before the JSON."""
    frame = decode(b"\n\n  \r\n" + whole(), Memo())
    assert fold(frame.events).text == "Hi"


@pytest.mark.parametrize("text", ["Hi", None])
def test_the_tier_of_an_answer_belongs_to_its_usage(text: str | None) -> None:
    """Whether the words are decoded or not."""
    body = json.loads(whole()) | {"service_tier": "flex"}
    if text is None:
        body["choices"][0]["message"]["tool_calls"] = [{"id": "c", "function": {"name": "f"}}]
    events = decode(json.dumps(body).encode(), Memo()).events
    (report,) = (event for event in events if isinstance(event, UsageReport))
    assert report.usage.service_tier == "flex"


def test_an_answer_without_usage_is_not_marked_with_it() -> None:
    """What is not reported is not known."""
    body = json.loads(whole())
    del body["usage"]
    frame = decode(json.dumps(body).encode(), Memo())
    assert not frame.mark & Mark.USAGE
    assert not any(isinstance(event, UsageReport) for event in frame.events)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Hi", "Hi"),
        (None, ""),
        ("", ""),
        ([{"type": "text", "text": "A"}, "B", {"type": "text", "text": None}], "AB"),
        ({"title": "Ä"}, '{"title":"Ä"}'),
        ({"type": "text", "text": "A"}, "A"),
        (42, "42"),
        ([], ""),
    ],
)
def test_content_may_have_any_shape(content: Any, text: str) -> None:
    """Content is a string, null, a list (Mistral) or an object (Cloudflare)."""
    assert fold(decode(whole({"content": content}), Memo()).events).text == text


def test_content_may_be_absent() -> None:
    """Groq and Copilot leave content out beside tool calls."""
    message = fold(decode(whole({"tool_calls": [call(0, "f", "{}", id="c")]}), Memo()).events)
    assert message.text == ""
    assert message.tool_calls == (ToolCall(id="c", name="f"),)


@pytest.mark.parametrize(
    ("message", "thinking", "spelling"),
    [
        ({"reasoning_content": "Hm."}, "Hm.", "reasoning_content"),
        ({"reasoning": "Hm."}, "Hm.", "reasoning"),
        ({"reasoning": "Hm.", "reasoning_content": "Hm."}, "Hm.", "reasoning_content"),
        (
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]},
            "Hm.",
            "thinking",
        ),
        ({"content": [{"type": "thinking", "thinking": "Hm."}]}, "Hm.", "thinking"),
        (
            {"content": [{"type": "reasoning", "summary": [{"type": "s", "text": "Hm."}]}]},
            "Hm.",
            None,
        ),
        (
            {"reasoning_details": [{"type": "reasoning.text", "text": "Hm."}]},
            "Hm.",
            "reasoning_details",
        ),
    ],
)
def test_reasoning_is_read_in_every_spelling(
    message: dict[str, Any], thinking: str, spelling: str | None
) -> None:
    """The words are the same wherever they stand; the spelling is remembered."""
    got = decode(whole(message), Memo()).events
    thoughts = [event for event in got if isinstance(event, ThinkingDelta)]
    assert [(event.text, event.spelling) for event in thoughts] == [(thinking, spelling)]
    assert fold(got).thinking == thinking


def test_reasoning_details_and_unknown_fields_survive() -> None:
    """What has no event of its own is kept under its wire name; padding is not."""
    details = [{"type": "reasoning.encrypted", "data": "x", "index": 0}]
    message = {
        "content": "A",
        "reasoning_details": details,
        "annotations": [{"type": "url_citation"}],
        "new_in_2027": 1,
        "refusal": None,
        "padding": "abc",
    }
    logprobs = {"content": [{"token": "A", "logprob": -0.1}]}
    got = decode(whole(message, logprobs=logprobs, content_filter_results={"hate": 1}), Memo())
    assert fold(got.events).extra == {
        "reasoning_details": details,
        "annotations": [{"type": "url_citation"}],
        "new_in_2027": 1,
        "logprobs": logprobs,
        "content_filter_results": {"hate": 1},
    }


def test_citations_are_kept_once() -> None:
    """Perplexity repeats its sources beside the choices of every event."""
    sources: dict[str, Any] = {"citations": ["https://a.test"], "usage": USAGE}
    got = events(chunk({"content": "A"}, **sources), chunk({}, "stop", **sources))
    assert fold(got).extra == {"citations": ["https://a.test"]}


def test_a_refusal_is_its_own_part() -> None:
    """OpenAI's refusal is not text."""
    message = fold(decode(whole({"content": None, "refusal": "No."}), Memo()).events)
    assert message.parts == (Refusal(text="No."),)


def test_several_choices_are_told_apart() -> None:
    """Every event says which choice it belongs to."""
    body = json.loads(whole())
    body["choices"].append({"index": 1, "finish_reason": "length", "message": {"content": "Ho"}})
    got = decode(json.dumps(body).encode(), Memo()).events
    second = Fold(1)
    for event in got:
        second.add(event)
    assert fold(got).text == "Hi"
    assert second.message().text == "Ho"
    assert [(e.choice, e.reason) for e in got if isinstance(e, Finish)] == [
        (0, "stop"),
        (1, "length"),
    ]


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        (
            call(0, "f", '{"a":1}', id="c", type="function"),
            ToolCall(id="c", name="f", arguments='{"a":1}'),
        ),
        (call(None, "f", "", id="c"), ToolCall(id="c", name="f")),
        (call(None, "f", "null", id="c"), ToolCall(id="c", name="f")),
        (call(None, "f", None, id="c"), ToolCall(id="c", name="f")),
        (
            {"id": "c", "function": {"name": "f", "arguments": {"a": 1}}},
            ToolCall(id="c", name="f", arguments='{"a":1}'),
        ),
        (
            {"id": "c", "type": "custom", "custom": {"name": "f", "input": "4+4"}},
            ToolCall(id="c", name="f", arguments="4+4", kind="custom"),
        ),
        (call(0, "f", "{}"), ToolCall(id="call_0", name="f")),
        (
            call(0, "f", "{}", id="c", extra_content={"google": {"thought_signature": "s"}}),
            ToolCall(
                id="c", name="f", extra={"extra_content": {"google": {"thought_signature": "s"}}}
            ),
        ),
    ],
)
def test_tool_calls_may_have_any_shape(wire: dict[str, Any], expected: ToolCall) -> None:
    """Arguments are text, null, absent or an object; custom calls have an input."""
    assert fold(decode(whole({"tool_calls": [wire]}), Memo()).events).tool_calls == (expected,)
    assert calls(wire) == [expected]


def test_parallel_calls_of_a_whole_answer_keep_their_order() -> None:
    """A list of calls is what it is, even if every index says 0."""
    wire = [call(0, "f", "{}", id="a"), call(0, "g", "{}", id="b"), call(0, "f", "{}", id="a2")]
    message = fold(decode(whole({"tool_calls": wire}), Memo()).events)
    assert [(c.id, c.name) for c in message.tool_calls] == [("a", "f"), ("b", "g"), ("a2", "f")]


def test_a_legacy_function_call_is_a_tool_call() -> None:
    """The old function_call means the same, whole and streamed."""
    body = whole(
        {"function_call": {"name": "f", "arguments": '{"a":1}'}}, finish_reason="function_call"
    )
    got = decode(body, Memo()).events
    assert fold(got).tool_calls == (ToolCall(id="call_0", name="f", arguments='{"a":1}'),)
    assert Finish(reason="tool_calls", raw="function_call") in got
    streamed = events(
        chunk({"function_call": {"name": "f", "arguments": ""}}),
        chunk({"function_call": {"arguments": '{"a"'}}),
        chunk({"function_call": {"arguments": ":1}"}}),
    )
    assert fold(streamed).tool_calls == fold(got).tool_calls


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("length", "length"),
        ("model_length", "length"),
        ("content_filter", "content_filter"),
        ("error", "error"),
        ("brand_new", "unknown"),
        (3, "unknown"),
        (None, "stop"),
        ("", "stop"),
    ],
)
def test_finish_reasons_are_unified(raw: Any, reason: str) -> None:
    """Known words are unified, unknown ones never become stop; Snowflake says null or ""."""
    got = decode(whole(finish_reason=raw), Memo()).events
    (finish,) = (event for event in got if isinstance(event, Finish))
    assert (finish.reason, finish.raw) == (reason, str(raw) if raw else None)


def test_a_missing_finish_reason_is_unknown() -> None:
    """An answer may lack the key; that is not a stop."""
    body = json.loads(whole())
    del body["choices"][0]["finish_reason"]
    got = decode(json.dumps(body).encode(), Memo()).events
    assert Finish(reason="unknown") in got


def test_calls_beside_a_stop_are_the_reason() -> None:
    """A forced OpenAI tool, Gemini and Ollama say stop though tools were called."""
    wire = {"tool_calls": [call(0, "f", "{}", id="c")]}
    assert Finish(reason="tool_calls", raw="stop") in decode(whole(wire), Memo()).events
    assert Finish(reason="tool_calls", raw="stop") in events(chunk(wire), chunk({}, "stop"))
    cut = decode(whole(wire, finish_reason="length"), Memo()).events
    assert Finish(reason="length", raw="length") in cut


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  \n",
        b"<html><title>502 Bad Gateway</title></html>",
        b"garbage",
        b'{"choices": [',
        b"[]",
        b"3",
        b"{}",
        b'{"choices": []}',
        b'{"choices": null, "id": "x"}',
        b'{"choices": [5]}',
        b'{"choices": [{"message": 5}]}',
        b'{"choices": [{"message": {"tool_calls": [1]}}]}',
        b'{"choices": [{"message": {"content": "\xff"}}]}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_answer_is_a_bad_answer(body: bytes) -> None:
    """HTML, garbage, an empty body, no choices: an error that says so, never a crash."""
    with pytest.raises(BadAnswer):
        decode(body, Memo())


def test_an_error_under_a_200_is_that_error() -> None:
    """A body with an error is the error decode_error would name, with or without choices."""
    body = b'{"error": {"message": "slow down", "code": 429}, "choices": []}'
    with pytest.raises(UpstreamRateLimited, match="slow down"):
        decode(body, Memo())
    with pytest.raises(UpstreamOverloaded):
        decode(b'[{"error": {"message": "busy", "code": 503, "status": "UNAVAILABLE"}}]', Memo())


def test_a_null_error_is_none() -> None:
    """Some providers write error: null beside a good answer."""
    body = json.dumps(json.loads(whole()) | {"error": None}).encode()
    assert fold(decode(body, Memo()).events).text == "Hi"


def test_extras_of_the_top_do_not_leak_between_answers() -> None:
    """What one answer remembered is not known to the next."""
    first = decode(json.dumps(json.loads(whole()) | {"citations": ["a"]}).encode(), Memo())
    second = decode(whole(), Memo())
    assert Extra(fields={"citations": ["a"]}) in first.events
    assert not any(isinstance(event, Extra) for event in second.events)

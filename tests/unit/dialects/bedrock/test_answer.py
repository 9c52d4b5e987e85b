"""Answers of Bedrock: what marks a frame, what is an end, and the shapes nobody expects."""

import json
from typing import Any

import pytest

from tests.unit.dialects.bedrock.wire import delta, frames, heard, message, start, stop
from trunkline.dialects.bedrock import decode, decode_frame
from trunkline.errors import BadAnswer, ProviderError, UpstreamRateLimited
from trunkline.testing import converse_answer, event_message
from trunkline.types import (
    Finish,
    FinishReason,
    Mark,
    Memo,
    Text,
    Thinking,
    ToolCall,
    Usage,
    UsageReport,
)

USAGE = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}
STOPPED = ("messageStop", {"stopReason": "end_turn", "p": "a"})
METADATA = ("metadata", {"usage": USAGE, "metrics": {"latencyMs": 1}})


def whole(*blocks: dict[str, Any], stop: str = "end_turn", **fields: Any) -> Any:
    """Decode a whole answer."""
    output = {"message": {"role": "assistant", "content": list(blocks)}}
    answer = converse_answer(output=output, stopReason=stop, **fields)
    return decode(json.dumps(answer).encode(), Memo())


def test_the_usage_ends_a_stream() -> None:
    """It comes after the reason for the end; if it stays out, the body's end is the answer's."""
    memo = Memo()
    found = frames(("messageStart", {"role": "assistant"}), delta(text="Hi"), memo=memo)
    assert [frame.mark for frame in found] == [Mark.NONE, Mark.SHOWN]
    assert not memo.finished
    last = frames(stop(), STOPPED, METADATA, memo=memo)
    assert [frame.mark for frame in last] == [0, Mark.FINISH, Mark.USAGE | Mark.TERMINAL]
    assert memo.finished


def test_words_are_decoded_when_somebody_asks() -> None:
    """A plain piece of text is known by its bytes; an empty one shows nothing."""
    plain, empty, escaped = frames(delta(text="Hi"), delta(text=""), delta(text='"'))
    assert plain._events is None
    assert (empty.mark, escaped.mark) == (Mark.NONE, Mark.SHOWN)
    assert message(plain.events).text == "Hi"


def test_blocks_begin_without_a_word() -> None:
    """Texts and thoughts with another number are other parts."""
    found = heard(
        delta(0, reasoningContent={"text": "Hm"}),
        delta(0, reasoningContent={"text": "."}),
        delta(0, reasoningContent={"signature": "c2ln"}),
        stop(0),
        delta(1, reasoningContent={"redactedContent": "aGk="}),
        delta(2, text="One"),
        delta(3, text="Two"),
    )
    assert found.parts == (
        Thinking(text="Hm.", signature="c2ln", spelling="bedrock"),
        Thinking(redacted="aGk=", spelling="bedrock"),
        Text(text="One"),
        Text(text="Two"),
    )


def test_calls_come_in_pieces() -> None:
    """Side by side, one of them without arguments; the reason is that of the calls."""
    found = heard(
        start(1, toolUse={"toolUseId": "a", "name": "f"}),
        start(2, toolUse={"toolUseId": "b", "name": "g"}),
        delta(1, toolUse={"input": '{"x":'}),
        delta(2, toolUse={"input": ""}),
        delta(1, toolUse={"input": "1}"}),
    )
    assert found.parts == (
        ToolCall(id="a", name="f", arguments='{"x":1}'),
        ToolCall(id="b", name="g", arguments="{}"),
    )


@pytest.mark.parametrize("streamed", [True, False])
def test_a_tool_of_the_provider_is_no_call(streamed: bool) -> None:
    """Its call and its result travel whole, at their place."""
    call = {"toolUseId": "s", "name": "nova_grounding", "type": "server_tool_use"}
    result = {"toolUseId": "s", "status": "success", "type": "nova_grounding_result"}
    if streamed:
        found = heard(
            start(0, toolUse=call),
            delta(0, toolUse={"input": '{"q":'}),
            delta(0, toolUse={"input": '"x"}'}),
            stop(0),
            start(1, toolResult=result),
            delta(1, toolResult=[{"text": "r"}]),
            stop(1),
        )
    else:
        blocks = {"toolUse": call | {"input": {"q": "x"}}}
        found = message(whole(blocks, {"toolResult": result | {"content": [{"text": "r"}]}}).events)
    assert [part.extra["bedrock"] for part in found.parts] == [
        {"toolUse": call | {"input": {"q": "x"}}},
        {"toolResult": result | {"content": [{"text": "r"}]}},
    ]
    assert found.text == ""


def test_unknown_blocks_and_messages_are_no_failure() -> None:
    """A block that nobody here knows is kept; a message that nobody knows says nothing."""
    found = heard(
        start(0, image={"format": "png"}),
        delta(0, image={"source": {"bytes": "QQ=="}}),
        stop(0),
        delta(1, novelty={"a": "x"}),
        delta(1, novelty={"a": "y"}),
        stop(1),
        ("somethingNew", {"a": 1}),
    )
    image, novelty = (part.extra["bedrock"] for part in found.parts)
    assert image == {"image": {"format": "png", "source": {"bytes": "QQ=="}}}
    assert novelty == {"novelty": {"a": "xy"}}


@pytest.mark.parametrize(
    ("raw", "meant"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("malformed_model_output", "error"),
        ("malformed_tool_use", "error"),
        ("something_new", "unknown"),
    ],
)
def test_every_reason_has_a_meaning(raw: str, meant: FinishReason) -> None:
    """Those of the API's own list, and one that is not on it yet."""
    [finish] = [e for e in whole({"text": "x"}, stop=raw).events if isinstance(e, Finish)]
    assert (finish.reason, finish.raw) == (meant, raw)


def test_what_stands_beside_the_answer_is_kept() -> None:
    """The trace of a guardrail, and fields that were asked for."""
    fields = {"stop_sequence": "END"}
    frame = whole(
        {"text": "x"}, trace={"guardrail": {"a": 1}}, additionalModelResponseFields=fields
    )
    [finish] = [event for event in frame.events if isinstance(event, Finish)]
    assert finish.extra == {"additionalModelResponseFields": fields}
    assert message(frame.events).extra == {"trace": {"guardrail": {"a": 1}}}


@pytest.mark.parametrize(("kind", "apart"), [("server_tool_use", True), (None, False)])
def test_a_tool_that_the_provider_ran_is_charged_apart(kind: str | None, apart: bool) -> None:
    """What it costs nobody says; a call that the caller answers costs tokens alone."""
    call = {"toolUseId": "t", "name": "nova_grounding", "type": kind}
    usage = {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}
    *_, streamed = frames(start(toolUse=call), stop(), ("metadata", {"usage": usage}))
    for frame in (whole({"toolUse": call}, usage=usage), streamed):
        assert [one.apart for one in frame.events if isinstance(one, UsageReport)] == [apart]


def test_usage_adds_the_cache_up_and_names_the_tier() -> None:
    """What was read and written stands outside the input; both names of it are one number."""
    wire = {
        "inputTokens": 3,
        "outputTokens": 2,
        "cacheReadInputTokens": 100,
        "cacheReadInputTokenCount": 100,
        "cacheWriteInputTokens": 50,
        "cacheDetails": [{"ttl": "1h", "inputTokens": 40}, {"ttl": "5m", "inputTokens": 10}],
        "totalTokens": 155,
    }
    frame = whole(
        {"text": "x"},
        usage=wire,
        serviceTier={"type": "priority"},
        performanceConfig={"latency": "optimized"},
    )
    [report] = [event for event in frame.events if isinstance(event, UsageReport)]
    assert report.usage == Usage(
        prompt_tokens=153,
        completion_tokens=2,
        cache_read_tokens=100,
        cache_write_tokens=50,
        cache_write_1h_tokens=40,
        service_tier="priority-optimized",
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"output": 1}',
        b'{"output": {}}',
        b'{"output": {"message": {"content": [1]}}}',
    ],
)
def test_what_is_no_answer_is_named(body: bytes) -> None:
    """Nothing, a web page, and JSON of another shape."""
    with pytest.raises(BadAnswer):
        decode(body, Memo())


def test_an_error_under_a_200_is_an_error() -> None:
    """Some proxies lose the status."""
    with pytest.raises(UpstreamRateLimited, match="slow down"):
        decode(b'{"__type": "x#ThrottlingException", "message": "slow down"}', Memo())


@pytest.mark.parametrize(
    "raw",
    [
        event_message("contentBlockDelta", [1]),
        event_message("contentBlockDelta", {"delta": {"toolUse": {"input": "x"}}}),
        event_message("contentBlockStart", {"start": {"toolUse": {}}}),
        event_message("messageStop", "x"),
    ],
)
def test_garbage_in_a_stream_is_named(raw: bytes) -> None:
    """No object, pieces of a call that never began, a call without a name."""
    with pytest.raises(BadAnswer):
        decode_frame(raw, Memo())


def test_an_exception_breaks_a_stream_off() -> None:
    """Whatever it says of itself."""
    with pytest.raises(ProviderError):
        decode_frame(event_message("brandNewException", {}, "exception"), Memo())

"""Answers, whole and streamed: what they say, why they end, and what is no answer."""

import json
from typing import Any

import pytest

from tests.unit.dialects.gemini.wire import SIGNED, event, events, fold, response, whole
from trunkline.dialects.gemini import decode, decode_frame
from trunkline.errors import BadAnswer, UpstreamOverloaded
from trunkline.types import (
    Finish,
    Mark,
    Memo,
    Started,
    Text,
    Thinking,
    ToolCall,
    UsageReport,
)

TEXT = {"text": "Hello."}


def finish(all_events: Any) -> Finish:
    """Return the only finish."""
    [found] = [one for one in all_events if isinstance(one, Finish)]
    return found


def test_pieces_of_a_stream_make_one_answer() -> None:
    """Thought and words go on where they stopped; who answers is said once."""
    said = events(
        event({"text": "Let ", "thought": True}),
        event({"text": "me.", "thought": True}),
        event({"text": "Hel"}),
        event({"text": "lo."}, finish="STOP"),
    )
    assert fold(said).parts == (
        Thinking(text="Let me.", spelling="gemini"),
        Text(text="Hello."),
    )
    assert [one for one in said if isinstance(one, Started)] == [Started(id="r1", model="m1")]
    assert (finish(said).reason, finish(said).raw) == ("stop", "STOP")


def test_several_answers_end_when_all_have() -> None:
    """One that was heard and did not end is broken off."""
    memo = Memo(wanted=2)
    ends = []
    for index, reason in ((0, "STOP"), (1, None), (1, "MAX_TOKENS")):
        candidate = {"index": index, "content": {"parts": [TEXT]}, "finishReason": reason}
        decode_frame(f"data: {json.dumps({'candidates': [candidate]})}\n\n".encode(), memo)
        ends.append(memo.finished)
    assert ends == [True, False, True]


def test_signed_words_are_a_part_of_their_own() -> None:
    """Also empty ones; a client of OpenAI's dialect sees the signature beside the message."""
    said = events(
        event({"text": "a"}),
        event({"text": "", "thoughtSignature": "c2ln+/=="}),
        event({"text": "b"}, finish="STOP"),
    )
    message = fold(said)
    assert message.parts == (Text(text="a"), Text(text="", extra=SIGNED), Text(text="b"))
    assert message.extra == SIGNED


def test_a_signature_closes_its_thought() -> None:
    """Two thoughts that are signed apart stay two."""
    one = {"text": "a", "thought": True, "thoughtSignature": "s1"}
    two = {"text": "b", "thought": True, "thoughtSignature": "s2"}
    assert [part.text for part in fold(whole(one, two)).parts if isinstance(part, Thinking)] == [
        "a",
        "b",
    ]


def test_calls_without_ids_get_some_that_no_other_answer_has() -> None:
    """Made of the answer's own id, and the finish says that tools were called."""
    call = {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "c2ln+/=="}
    said = whole(call, {"functionCall": {"name": "g", "id": "own"}})
    assert fold(said).tool_calls == (
        ToolCall(id="call_r1_0_0", name="f", arguments='{"a":1}', extra=SIGNED),
        ToolCall(id="own", name="g", arguments="{}"),
    )
    assert (finish(said).reason, finish(said).raw) == ("tool_calls", "STOP")
    nameless = response(call, finish="STOP", responseId="")
    first = decode(json.dumps(nameless | {"x": 1}).encode(), Memo()).events
    second = decode(json.dumps(nameless | {"x": 2}).encode(), Memo()).events
    assert fold(first).tool_calls[0].id != fold(second).tool_calls[0].id


def test_a_call_may_come_in_pieces() -> None:
    """Arguments by their paths: objects, lists, texts that go on, numbers and nothing."""
    pieces: list[dict[str, Any]] = [
        {"jsonPath": "$.a", "stringValue": "x", "willContinue": True},
        {"jsonPath": "$.a", "stringValue": "y"},
        {"jsonPath": "$.b[0].c", "numberValue": 0.5},
        {"jsonPath": "$.b[0]['d e']", "boolValue": False},
        {"jsonPath": "$.b[1]", "nullValue": "NULL_VALUE"},
    ]
    said = events(
        event({"functionCall": {"name": "f", "willContinue": True}}),
        *(event({"functionCall": {"partialArgs": [one], "willContinue": True}}) for one in pieces),
        event({"functionCall": {}}),
        event({"functionCall": {"name": "g"}}, finish="STOP"),
    )
    first, second = fold(said).tool_calls
    assert json.loads(first.arguments) == {"a": "xy", "b": [{"c": 0.5, "d e": False}, None]}
    assert (second.name, second.arguments) == ("g", "{}")


@pytest.mark.parametrize("path", ["$.b[7]", "$.a.b"])
def test_a_piece_with_nowhere_to_go_is_no_answer(path: str) -> None:
    """A list never grows by more than its next place."""
    pieces = [
        {"jsonPath": "$.a", "stringValue": "x"},
        {"jsonPath": path, "stringValue": "x"},
    ]
    with pytest.raises(BadAnswer):
        events(event({"functionCall": {"name": "f", "partialArgs": pieces}}))


def test_parts_only_gemini_knows_keep_their_place() -> None:
    """Code and what came of it, whole, between the words; a picture is shown to others too."""
    code = {"executableCode": {"language": "PYTHON", "code": "1+1"}, "thoughtSignature": "s"}
    picture = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    message = fold(whole({"text": "a"}, code, {"text": "b"}, picture))
    assert message.parts == (
        Text(text="a"),
        Text(text="", extra={"gemini": code}),
        Text(text="b"),
        Text(text="", extra={"gemini": picture}),
    )
    assert message.extra["images"] == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    ]


def test_what_stands_beside_an_answer_survives() -> None:
    """Grounding, citations and ratings are fields of the message."""
    candidate = {"content": {"parts": [TEXT]}, "finishReason": "STOP", "safetyRatings": [{"a": 1}]}
    grounded = candidate | {"groundingMetadata": {"webSearchQueries": ["q"]}}
    said = decode(json.dumps({"candidates": [grounded]}).encode(), Memo()).events
    assert fold(said).extra == {
        "groundingMetadata": {"webSearchQueries": ["q"]},
        "safetyRatings": [{"a": 1}],
    }


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("STOP", "stop"),
        (1, "stop"),
        (2, "length"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        (3, "content_filter"),
        ("RECITATION", "content_filter"),
        ("IMAGE_PROHIBITED_CONTENT", "content_filter"),
        ("MODEL_ARMOR", "content_filter"),
        ("MALFORMED_FUNCTION_CALL", "error"),
        ("MISSING_THOUGHT_SIGNATURE", "error"),
        ("CONTINUATION", "pause"),
        ("BRAND_NEW", "unknown"),
        (99, "unknown"),
    ],
)
def test_why_an_answer_ended(raw: Any, reason: str) -> None:
    """Numbers where enums were asked for as numbers; an unknown reason never means stop."""
    assert finish(whole(TEXT, finish=raw)).reason == reason
    assert isinstance(finish(whole(TEXT, finish=raw)).raw, str)


def test_a_refused_call_says_why() -> None:
    """The provider's words survive."""
    candidate = {"finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": "call:f{"}
    said = decode(json.dumps({"candidates": [candidate]}).encode(), Memo()).events
    assert finish(said).extra == {"finishMessage": "call:f{"}


def test_a_blocked_prompt_is_a_filtered_answer() -> None:
    """Without any candidate, whole and streamed; an empty reason means nothing was blocked."""
    feedback = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT", "safetyRatings": []}}
    body = json.dumps(feedback | {"usageMetadata": {"promptTokenCount": 7}}).encode()
    memo = Memo()
    streamed = decode_frame(b"data: " + body + b"\n\n", memo)
    for said in (decode(body, Memo()).events, streamed.events):
        assert finish(said).reason == "content_filter"
        assert finish(said).raw == "PROHIBITED_CONTENT"
        assert finish(said).extra == {"promptFeedback": feedback["promptFeedback"]}
        assert any(isinstance(one, UsageReport) for one in said)
    assert memo.finished
    fine = response(TEXT, finish="STOP", promptFeedback={"blockReason": ""})
    assert finish(decode(json.dumps(fine).encode(), Memo()).events).reason == "stop"


def test_several_candidates_are_several_choices() -> None:
    """Each with its own words, calls and end."""
    candidates: list[dict[str, Any]] = [
        {"content": {"parts": [TEXT]}, "finishReason": "STOP"},
        {"content": {"parts": [{"functionCall": {"name": "f"}}]}, "finishReason": "STOP"},
    ]
    candidates = [one | {"index": n} for n, one in enumerate(candidates)]
    said = decode(json.dumps({"candidates": candidates}).encode(), Memo()).events
    ends = [(one.choice, one.reason) for one in said if isinstance(one, Finish)]
    assert ends == [(0, "stop"), (1, "tool_calls")]


def test_an_answer_without_an_end_is_of_unknown_end() -> None:
    """A whole body without a reason, and a candidate without content."""
    assert finish(whole(TEXT, finish=None)).reason == "unknown"
    body = json.dumps({"candidates": [{"finishReason": "MAX_TOKENS"}]}).encode()
    assert finish(decode(body, Memo()).events).reason == "length"


def test_a_list_is_a_stream_in_one_piece() -> None:
    """A proxy took `alt=sse` away."""
    body = json.dumps([response({"text": "a"}), response({"text": "b"}, finish="STOP")]).encode()
    frame = decode(body, Memo())
    assert fold(frame.events).text == "ab"
    assert frame.terminal


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{", b"3", b"[]", b"{}", b'{"candidates":[]}', b"[[]]"]
)
def test_what_is_no_answer(body: bytes) -> None:
    """Nothing, a web page, garbage, and an object without candidates."""
    with pytest.raises(BadAnswer):
        decode(body, Memo())


@pytest.mark.parametrize("data", [b"{", b"3", b'{"candidates":[{"content":{"parts":[3]}}]}'])
def test_what_is_no_event(data: bytes) -> None:
    """An event that is broken ends the stream as a bad answer."""
    with pytest.raises(BadAnswer):
        decode_frame(b"data: " + data + b"\n\n", Memo())


def test_an_error_in_a_stream_is_raised() -> None:
    """As its own event, also within a list, and as a whole body under a 200."""
    error = {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}
    for said in (error, [error]):
        body = json.dumps(said).encode()
        with pytest.raises(UpstreamOverloaded):
            decode_frame(b"data: " + body + b"\n\n", Memo())
        with pytest.raises(UpstreamOverloaded):
            decode(body, Memo())


def test_marks_of_frames() -> None:
    """No event says that it is the last: the end of the body does, once there was a finish."""
    memo = Memo()
    assert decode_frame(b": ping\n\n", memo).mark == 0
    assert decode_frame(event(TEXT), memo).mark == Mark.SHOWN
    assert decode_frame(b"data: [DONE]\n\n", memo).mark == 0
    usage = event(TEXT, finish="STOP", usageMetadata={"promptTokenCount": 1})
    assert decode_frame(usage, memo).mark == Mark.SHOWN | Mark.FINISH | Mark.USAGE
    assert memo.finished
    assert decode_frame(b"data: [DONE]\n\n", memo).mark == Mark.TERMINAL

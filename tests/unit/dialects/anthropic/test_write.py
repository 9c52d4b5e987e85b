"""`write`: relay what Anthropic said, spell what others said."""

import json
import re
from typing import Any

import pytest
from anthropic.types import Message as SdkMessage
from anthropic.types import RawMessageStreamEvent
from anthropic.types.shared import ErrorResponse
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from pydantic import TypeAdapter

from tests.unit.dialects.anthropic.wire import (
    CHAT,
    PING,
    STOP,
    begin,
    delta,
    end,
    finish,
    fold,
    start,
    text,
    whole,
)
from trunkline.dialects.anthropic import decode, decode_frame, write
from trunkline.errors import (
    BudgetExhausted,
    DeadlineExceeded,
    InputError,
    ModelNotFound,
    TrunklineError,
    UpstreamOverloaded,
    UpstreamRateLimited,
)
from trunkline.transport.sse import SseSplitter
from trunkline.types import (
    AudioDelta,
    Cost,
    Event,
    Extra,
    Finish,
    FinishReason,
    Frame,
    Mark,
    Memo,
    RefusalDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
)

COST = Cost(7)
EVENTS: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


def frames(*raws: bytes) -> list[Frame]:
    """Decode the events of one stream."""
    memo = Memo()
    return [decode_frame(raw, memo) for raw in raws]


def relay(all_frames: list[Frame]) -> bytes:
    """Relay a stream of the same dialect to its end."""
    writer = write(CHAT, "anthropic")
    return b"".join(writer.frame(frame) for frame in all_frames) + writer.end(COST)


def spell(*pieces: Event | tuple[Event, ...]) -> list[dict[str, Any]]:
    """Write events from another dialect, one frame each; check each as the SDK does."""
    writer = write(CHAT, "another")
    stream = b""
    for piece in pieces:
        told = piece if isinstance(piece, tuple) else (piece,)
        stream += writer.frame(Frame(b"x", Mark.SHOWN, events=told))
    stream += writer.end(COST)
    found = []
    for block in SseSplitter().feed(stream):
        named = re.fullmatch(rb"event: (\w+)\ndata: (.*)\n\n", block)
        assert named is not None
        data = json.loads(named[2])
        assert data["type"] == named[1].decode()
        EVENTS.validate_json(named[2], strict=True)
        found.append(data)
    assert (found[0]["type"], found[-1]["type"]) == ("message_start", "message_stop")
    return found


def short(found: list[dict[str, Any]]) -> list[Any]:
    """Write down the events of blocks in a few words."""
    said: list[Any] = []
    for data in found:
        if data["type"] == "content_block_start":
            said.append(("start", data["index"], data["content_block"]["type"]))
        elif data["type"] == "content_block_delta":
            delta = dict(data["delta"])
            kind = delta.pop("type")
            (value,) = delta.values()
            said.append((data["index"], kind, value))
        elif data["type"] == "content_block_stop":
            said.append(("stop", data["index"]))
    return said


# --- relay ----------------------------------------------------------------------------------------

PLAIN = [start(), begin(0, type="text", text=""), PING, text("Hi"), end(0), finish(), STOP]


def test_frames_of_the_same_dialect_are_relayed_byte_by_byte() -> None:
    """Pings, comments, padding, unknown events and odd line ends reach the caller as they came."""
    odd = b'event: novelty\r\ndata: {"type" : "novelty"}\r\n\r\n'
    raws = [*PLAIN[:3], b": comment\n\n", odd, *PLAIN[3:]]
    assert relay(frames(*raws)) == b"".join(raws)


def test_events_without_a_name_are_given_theirs() -> None:
    """SDKs pass over events that lack the line; some servers do not write it."""
    bare = [raw.split(b"\n", 1)[1] for raw in PLAIN]
    assert relay(frames(*bare)) == b"".join(PLAIN)


def test_a_stream_that_only_ends_is_given_its_end() -> None:
    """A stop reason and the end of the body are an end, and so is another dialect's mark."""
    ended = Frame(b"", Mark.TERMINAL, events=())
    assert relay([*frames(*PLAIN[:-1]), ended]).endswith(b'data: {"type":"message_stop"}\n\n')
    assert relay(frames(*PLAIN[:-1], b"data: [DONE]\n\n")) == (
        b"".join(PLAIN[:-1]) + b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )


CUT = Frame(
    b"",
    Mark.FINISH | Mark.USAGE | Mark.TERMINAL,
    events=(Finish(reason="length", raw="budget"), UsageReport(usage=Usage(completion_tokens=9))),
)
USE = {"type": "tool_use", "id": "toolu_1", "name": "now", "input": {}}


@pytest.mark.parametrize(
    ("sent", "closed"),
    [
        ([], []),
        ([PLAIN[0], PING], []),
        (PLAIN[:4], [0]),
        ([*PLAIN[:4], PING, b"event: novelty\ndata: {}\n\n"], [0]),
        (PLAIN[:5], []),
        ([*PLAIN[:5], begin(1, **USE), delta(1, type="input_json_delta", partial_json='{"x')], [1]),
        ([raw.split(b"\n", 1)[1] for raw in PLAIN[:4]], [0]),
    ],
    ids=["nothing", "start", "in text", "ping", "between", "in a call", "nameless"],
)
def test_a_stream_that_is_cut_is_closed(sent: list[bytes], closed: list[int]) -> None:
    """The open block, if there is one, the reason and the usage; what was relayed stays."""
    relayed = relay([*frames(*sent), CUT])
    if not sent or sent[0].startswith(b"event:"):
        assert relayed.startswith(b"".join(sent))
    new = [json.loads(raw.split(b"data: ")[1]) for raw in SseSplitter().feed(relayed)][len(sent) :]
    assert [data["index"] for data in new if data["type"] == "content_block_stop"] == closed
    assert [data["type"] for data in new if data["type"].startswith("message")][-2:] == [
        "message_delta",
        "message_stop",
    ]
    assert new[-2]["delta"]["stop_reason"] == "max_tokens"
    assert new[-2]["usage"]["output_tokens"] == 9
    assert ("message_start" in [data["type"] for data in new]) == (not sent)


def test_a_cut_after_an_event_that_cannot_be_read() -> None:
    """The answer ends all the same."""
    broken = text("Hi").replace(b"   }", b",}")
    assert relay([*frames(*PLAIN[:2], broken), CUT]).endswith(b'data: {"type":"message_stop"}\n\n')


def test_a_whole_body_of_the_same_dialect_is_relayed() -> None:
    """Byte by byte, whatever it holds."""
    body = b' {"new" : 1.10, "content":[], "stop_reason":"end_turn"}\n'
    assert write(CHAT, "anthropic").whole([decode(body, Memo())], COST) == body


def test_a_whole_body_is_spelled_as_a_stream_for_who_asked_for_one() -> None:
    """An upstream may answer a request for a stream with plain JSON."""
    stream = relay([decode(whole({"type": "text", "text": "Hi"}), Memo())])
    again = frames(*SseSplitter().feed(stream))
    assert fold([e for f in again for e in f.events]).text == "Hi"
    assert again[-1].terminal


def test_a_stream_is_joined_for_who_asked_for_a_whole() -> None:
    """From its events, if it came in pieces."""
    body = json.loads(write(CHAT, "anthropic").whole(frames(*PLAIN), COST))
    assert body["content"] == [{"type": "text", "text": "Hi"}]
    assert (body["id"], body["model"], body["stop_reason"]) == ("msg_1", "m1", "end_turn")
    assert (body["usage"]["input_tokens"], body["usage"]["output_tokens"]) == (3, 7)


def test_frames_without_bytes_are_spelled() -> None:
    """A backend in this process has events only, whatever it calls its dialect."""
    writer = write(CHAT, "anthropic")
    sent = writer.frame(Frame(b"", Mark.SHOWN, events=(TextDelta(text="Hi"),))) + writer.end(COST)
    assert b'"text":"Hi"' in sent
    assert sent.endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')


# --- streams spelled anew -------------------------------------------------------------------------


def test_the_least_answer() -> None:
    """Even one that says nothing has a beginning and an end."""
    first, last, _ = spell()
    assert first["message"]["id"] == "msg_01J"
    assert first["message"]["content"] == []
    assert first["message"]["stop_reason"] is None
    assert last["delta"] == {"stop_reason": "max_tokens", "stop_sequence": None}


def test_the_head_names_the_provider_s_own_id_and_model() -> None:
    """As far as they are known when the first event is written."""
    found = spell((Started(id="x1", model="gpt"), TextDelta(text="A")), Started(id="x2"))
    assert (found[0]["message"]["id"], found[0]["message"]["model"]) == ("x1", "gpt")


def test_blocks_follow_one_another() -> None:
    """Thought, words and calls, each in a block of its own; a signature ends a thought."""
    found = spell(
        ThinkingDelta(text="Hm"),
        ThinkingDelta(text="m"),
        ThinkingDelta(signature="c2ln"),
        ThinkingDelta(redacted="eA=="),
        (TextDelta(text="A"), TextDelta(text="B")),
        ToolCallDelta(index=0, id="a", name="f", arguments='{"x":'),
        ToolCallDelta(index=0, arguments="1}"),
        ToolCallDelta(index=1, id="b", name="g", arguments="{}"),
        TextDelta(text="C"),
        Finish(reason="tool_calls"),
    )
    assert short(found) == [
        ("start", 0, "thinking"),
        (0, "thinking_delta", "Hm"),
        (0, "thinking_delta", "m"),
        (0, "signature_delta", "c2ln"),
        ("stop", 0),
        ("start", 1, "redacted_thinking"),
        ("stop", 1),
        ("start", 2, "text"),
        (2, "text_delta", "A"),
        (2, "text_delta", "B"),
        ("stop", 2),
        ("start", 3, "tool_use"),
        (3, "input_json_delta", '{"x":'),
        (3, "input_json_delta", "1}"),
        ("stop", 3),
        ("start", 4, "tool_use"),
        (4, "input_json_delta", "{}"),
        ("stop", 4),
        ("start", 5, "text"),
        (5, "text_delta", "C"),
        ("stop", 5),
    ]
    calls = [d["content_block"] for d in found if d.get("index") in {3, 4} and "content_block" in d]
    assert calls == [
        {"type": "tool_use", "id": "a", "name": "f", "input": {}},
        {"type": "tool_use", "id": "b", "name": "g", "input": {}},
    ]


def test_pieces_of_two_calls_may_come_in_turns() -> None:
    """Blocks cannot: the second call waits until the first is whole."""
    found = spell(
        ToolCallDelta(index=0, id="a", name="f", arguments='{"x":'),
        ToolCallDelta(index=1, id="b", name="g", arguments='{"y":'),
        ToolCallDelta(index=0, arguments="1}"),
        ToolCallDelta(index=1, arguments="2"),
        ToolCallDelta(index=1, arguments="}"),
    )
    assert short(found) == [
        ("start", 0, "tool_use"),
        (0, "input_json_delta", '{"x":'),
        (0, "input_json_delta", "1}"),
        ("stop", 0),
        ("start", 1, "tool_use"),
        (1, "input_json_delta", '{"y":2'),
        (1, "input_json_delta", "}"),
        ("stop", 1),
    ]


@pytest.mark.parametrize(
    ("pieces", "kind", "sent"),
    [
        (["", ""], "function", []),
        (["nu", "ll"], "function", []),
        (["[1", "]"], "function", ['{"input":"[1]"}']),
        (["free ", "text"], "custom", ['{"input":"free text"}']),
        ([" {", '"a":1}'], "function", [" {", '"a":1}']),
        (['{"cut'], "function", ['{"cut']),
    ],
)
def test_the_input_of_a_call_is_an_object(pieces: list[str], kind: str, sent: list[str]) -> None:
    """What is none is made one; an object is written as it comes."""
    deltas = [
        ToolCallDelta(index=0, id="a", name="f", arguments=piece, kind=kind) for piece in pieces
    ]
    assert [said[2] for said in short(spell(*deltas)) if said[1] == "input_json_delta"] == sent


def test_a_call_whose_name_comes_late_waits_for_it() -> None:
    """A block begins with its id and name."""
    found = spell(
        ToolCallDelta(index=0, id="a", arguments="{"),
        ToolCallDelta(index=0, name="f", arguments="}"),
    )
    assert found[1]["content_block"]["name"] == "f"
    assert short(found)[1] == (0, "input_json_delta", "{}")


def test_words_of_other_kinds_are_words() -> None:
    """A refusal and what a spoken answer says; other answers and unnamed fields have no place."""
    found = spell(
        RefusalDelta(text="No."),
        AudioDelta(data="QQ==", transcript=" Sorry."),
        TextDelta(text="second answer", choice=1),
        Extra(fields={"annotations": []}),
        Finish(reason="stop", raw="stop"),
        Finish(reason="length", choice=1),
    )
    assert short(found)[1:3] == [(0, "text_delta", "No."), (0, "text_delta", " Sorry.")]
    assert found[-2]["delta"]["stop_reason"] == "refusal"


@pytest.mark.parametrize(
    ("reason", "raw", "word"),
    [
        ("stop", "stop", "end_turn"),
        ("stop", "stop_sequence", "stop_sequence"),
        ("length", "length", "max_tokens"),
        ("length", "model_context_window_exceeded", "model_context_window_exceeded"),
        ("tool_calls", "tool_calls", "tool_use"),
        ("tool_calls", "end_turn", "tool_use"),
        ("content_filter", "content_filter", "refusal"),
        ("pause", "pause_turn", "pause_turn"),
        ("error", "error", "max_tokens"),
        ("unknown", "novel", "max_tokens"),
    ],
)
def test_every_finish_has_its_word(reason: FinishReason, raw: str, word: str) -> None:
    """What was no proper end is never called `end_turn`."""
    stopped = Finish(reason=reason, raw=raw, extra={"stop_sequence": "X", "container": 1})
    assert spell(stopped)[-2]["delta"] == {"stop_reason": word, "stop_sequence": "X"}


def test_usage_is_told_at_the_end_and_as_early_as_it_is_known() -> None:
    """Clients show the input of the first event; the last one has the real numbers."""
    usage = Usage(prompt_tokens=110, cache_read_tokens=100, completion_tokens=9, reasoning_tokens=4)
    early = spell((UsageReport(usage=usage), TextDelta(text="A")))
    assert early[0]["message"]["usage"]["input_tokens"] == 10
    late = spell(TextDelta(text="A"), Finish(reason="stop"), UsageReport(usage=usage))
    assert late[0]["message"]["usage"]["input_tokens"] == 0
    assert late[-2]["usage"] == {
        "input_tokens": 10,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 100,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 9,
        "output_tokens_details": {"thinking_tokens": 4},
    }


words = st.text(max_size=4)
EVENT = st.one_of(
    st.builds(TextDelta, text=words, block=st.none() | st.integers(0, 2)),
    st.builds(
        ThinkingDelta,
        text=words,
        signature=st.none() | words,
        block=st.none() | st.integers(0, 2),
    ),
    st.builds(ThinkingDelta, redacted=words),
    st.builds(RefusalDelta, text=words),
    st.builds(
        ToolCallDelta,
        index=st.integers(0, 2),
        id=st.none() | words,
        name=st.none() | words,
        arguments=st.sampled_from(["", "{", "}", "{}", '"a"', ":1", "null", "x"]),
        kind=st.sampled_from(["function", "custom"]),
    ),
    st.builds(AudioDelta, transcript=words),
    st.builds(UsageReport, usage=st.just(Usage(prompt_tokens=3))),
    st.builds(Finish, reason=st.sampled_from(["stop", "length", "unknown"])),
)


@given(st.lists(EVENT, max_size=12))
def test_any_events_make_a_stream_the_sdk_takes(events: list[Event]) -> None:
    """Blocks are numbered in order, each begins and ends once; a whole body is valid too."""
    found = spell(*events)
    open_block: int | None = None
    blocks = 0
    for data in found:
        if data["type"] == "content_block_start":
            assert open_block is None
            open_block, blocks = blocks, blocks + 1
        if "index" in data:
            assert data["index"] == open_block
        if data["type"] == "content_block_stop":
            open_block = None
    assert open_block is None
    frame = Frame(b"x", Mark.SHOWN, events=tuple(events))
    SdkMessage.model_validate_json(write(CHAT, "another").whole([frame], COST), strict=True)


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InputError("bad"), "invalid_request_error"),
        (ModelNotFound("none"), "not_found_error"),
        (BudgetExhausted("gone"), "billing_error"),
        (UpstreamRateLimited("slow"), "rate_limit_error"),
        (UpstreamOverloaded("busy"), "overloaded_error"),
        (DeadlineExceeded("late"), "timeout_error"),
        (TrunklineError("broke"), "api_error"),
    ],
)
def test_errors_have_anthropic_s_shape(error: TrunklineError, kind: str) -> None:
    """The type its SDKs know, our stable code, and the id under which the call is recorded."""
    body = write(CHAT, "another").error(error)
    ErrorResponse.model_validate_json(body, strict=True)
    said = {"type": kind, "message": error.message, "code": error.code}
    assert json.loads(body) == {"type": "error", "error": said, "request_id": "01J"}
    error.call_id = "01K"
    nobody = write(replace(CHAT, id=""), "another")
    assert json.loads(nobody.error(error))["request_id"] == "01K"


@pytest.mark.parametrize("source", ["anthropic", "another"])
def test_an_error_in_the_middle_is_an_event(source: str) -> None:
    """Once something was written, it is the stream's own error event, and no end follows."""
    writer = write(CHAT, source)
    for frame in frames(*PLAIN[:4]):
        writer.frame(frame)
    sent = writer.error(UpstreamOverloaded("busy"))
    name, data, *_ = sent.split(b"\n")
    assert name == b"event: error"
    ErrorResponse.model_validate_json(data.removeprefix(b"data: "), strict=True)


def test_whole_answers_are_spelled_with_every_block() -> None:
    """Words, thoughts, calls and blocks of Anthropic's own, from events of any dialect."""
    own = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    told = (
        ThinkingDelta(text="Hm", signature="c2ln", block=0),
        ThinkingDelta(text="more", block=1),
        TextDelta(text="A", block=2, extra={"citations": [{"type": "x"}]}),
        TextDelta(text="", block=3, extra={"anthropic": own}),
        ToolCallDelta(index=0, id="functions.f:0", name="f", arguments="[1]"),
        Finish(reason="tool_calls"),
    )
    body = json.loads(write(CHAT, "another").whole([Frame(b"x", 0, events=told)], COST))
    assert body["content"] == [
        {"type": "thinking", "thinking": "Hm", "signature": "c2ln"},
        {"type": "thinking", "thinking": "more", "signature": ""},
        {"type": "text", "text": "A", "citations": [{"type": "x"}]},
        own,
        {"type": "tool_use", "id": "functions.f:0", "name": "f", "input": {"input": "[1]"}},
    ]

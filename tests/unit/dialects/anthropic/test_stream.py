"""`decode_frame` and `decode`: what an answer may look like, byte by byte."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.dialects.anthropic.wire import (
    PING,
    STOP,
    begin,
    delta,
    end,
    event,
    events,
    finish,
    fold,
    start,
    text,
    whole,
)
from trunkline.dialects.anthropic import decode, decode_frame
from trunkline.errors import (
    AuthFailed,
    BadAnswer,
    ContextTooLong,
    ProviderError,
    QuotaExhausted,
    Refused,
    UpstreamFailed,
    UpstreamOverloaded,
    UpstreamRateLimited,
)
from trunkline.types import (
    Event,
    Finish,
    Frame,
    Mark,
    Memo,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    UsageReport,
)


@pytest.mark.parametrize(
    ("raw", "meaning"),
    [
        (text("Hi"), TextDelta(text="Hi", block=0)),
        (
            delta(3, type="thinking_delta", thinking="Hm"),
            ThinkingDelta(text="Hm", block=3, spelling="anthropic"),
        ),
    ],
)
def test_words_are_scanned_and_decoded_only_when_asked(raw: bytes, meaning: Event) -> None:
    """A plain piece of text or thought costs no JSON until its events are wanted."""
    frame = decode_frame(raw, Memo())
    assert frame.mark == Mark.SHOWN
    assert frame._events is None
    assert frame.events == (meaning,)


TOLD = Mark.SHOWN | Mark.USAGE


@pytest.mark.parametrize(
    ("raw", "mark"),
    [
        (start(), Mark.USAGE),
        (PING, Mark.NONE),
        (begin(0, type="text", text=""), Mark.NONE),
        (begin(0, type="text", text="A"), Mark.SHOWN),
        (begin(0, type="thinking", thinking="", signature=""), Mark.NONE),
        (begin(0, type="redacted_thinking", data="eA=="), Mark.SHOWN),
        (begin(0, type="tool_use", id="t", name="f", input={}), Mark.SHOWN),
        (begin(0, type="mcp_tool_use", id="t", name="f", input={}), Mark.NONE),
        (text("A"), Mark.SHOWN),
        (text(""), Mark.SHOWN),
        (delta(0, type="signature_delta", signature="s"), Mark.SHOWN),
        (delta(0, type="citations_delta", citation={"type": "x"}), Mark.SHOWN),
        (delta(0, type="novel_delta", x=1), Mark.NONE),
        (end(0), Mark.NONE),
        (finish(), Mark.FINISH | Mark.USAGE),
        (event("message_delta", delta={"stop_reason": None}, usage=None), Mark.NONE),
        (STOP, Mark.TERMINAL),
        (event("novelty", a=1), Mark.NONE),
        (b": keep-alive\n\n", Mark.NONE),
        (b"\n\n", Mark.NONE),
        (b"event: ping\n\n", Mark.NONE),
        (b"data: [DONE]\n\n", Mark.NONE),
    ],
)
def test_marks_are_right(raw: bytes, mark: int) -> None:
    """What a frame is worth is known, in any line ends, spaces and order of lines."""
    bare = raw.replace(b"event: ", b"id: ") if b"data" in raw else raw
    for spelled in (raw, raw.replace(b"\n", b"\r\n"), raw.replace(b'":', b'" : '), bare):
        frame = decode_frame(spelled, Memo())
        assert frame.mark == mark
        assert frame.raw == spelled


def test_an_end_mark_of_another_dialect_ends_only_what_has_finished() -> None:
    """`[DONE]` without a stop reason before it is no end."""
    memo = Memo()
    assert not decode_frame(b"data: [DONE]\n\n", memo).terminal
    decode_frame(finish(), memo)
    assert memo.finished
    assert decode_frame(b"data: [DONE]\n\n", memo).terminal


def test_signatures_are_kept_byte_for_byte() -> None:
    """A signature is not touched, with or without readable thought before it."""
    signature = "Ev+/==\u00e9" * 200
    for words in ("", "Hm. "):
        raws = [begin(0, type="thinking", thinking="", signature="")]
        raws += [delta(0, type="thinking_delta", thinking=words)] if words else []
        raws += [delta(0, type="signature_delta", signature=signature), end(0)]
        (part,) = fold(events(*raws)).parts
        assert part.signature == signature  # type: ignore[union-attr]
        assert part.text == words  # type: ignore[union-attr]


def test_calls_are_numbered_from_zero() -> None:
    """Clients of other dialects count calls, not blocks."""
    got = events(
        begin(0, type="text", text="A"),
        begin(2, type="tool_use", id="a", name="f", input={}),
        delta(2, type="input_json_delta", partial_json='{"x":'),
        delta(2, type="input_json_delta", partial_json="1}"),
        end(2),
        begin(5, type="tool_use", id="b", name="g", input={}),
        end(5),
    )
    assert [e.index for e in got if isinstance(e, ToolCallDelta)] == [0, 0, 0, 1, 1]
    calls = fold(got).tool_calls
    assert [(c.id, c.name, c.arguments) for c in calls] == [("a", "f", '{"x":1}'), ("b", "g", "{}")]


def test_an_input_that_comes_with_the_block_counts() -> None:
    """Some servers send the whole input at the start of the block, and no pieces."""
    got = events(begin(0, type="tool_use", id="a", name="f", input={"x": [1]}), end(0))
    assert fold(got).tool_calls[0].arguments == '{"x":[1]}'


def test_a_call_is_the_reason_whatever_a_local_server_says() -> None:
    """`end_turn` after a call means that the call is to be made."""
    memo = Memo()
    got = events(begin(0, type="tool_use", id="a", name="f", input={}), finish(), memo=memo)
    assert [e.reason for e in got if isinstance(e, Finish)] == ["tool_calls"]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "pause"),
        ("compaction", "pause"),
        ("a_new_word", "unknown"),
        (None, "unknown"),
    ],
)
def test_every_stop_reason_has_its_meaning(word: str | None, reason: str) -> None:
    """An unknown reason never becomes `stop`."""
    (told,) = (e for e in decode(whole(stop_reason=word), Memo()).events if isinstance(e, Finish))
    assert (told.reason, told.raw) == (reason, word)


def test_usage_is_overwritten_field_by_field() -> None:
    """The end repeats some numbers, changes others, and says null where it says nothing."""
    got = events(
        start(cache_read_input_tokens=10, cache_creation_input_tokens=5),
        finish(usage={"input_tokens": 20, "output_tokens": 9, "cache_read_input_tokens": None}),
    )
    first, last = (e.usage for e in got if isinstance(e, UsageReport))
    assert (first.prompt_tokens, first.completion_tokens) == (18, 2)
    assert (last.prompt_tokens, last.completion_tokens) == (35, 9)
    assert (last.cache_read_tokens, last.cache_write_tokens) == (10, 5)


def error(kind: str, message: str = "oops", **details: Any) -> dict[str, Any]:
    """Make an error object."""
    return {
        "type": "error",
        "error": {"details": details or None, "type": kind, "message": message},
    }


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (error("overloaded_error", "Overloaded"), UpstreamOverloaded),
        (error("api_error"), UpstreamFailed),
        (error("timeout_error"), UpstreamFailed),
        (error("rate_limit_error"), UpstreamRateLimited),
        (error("invalid_request_error"), Refused),
        (error("invalid_request_error", "prompt is too long: 9 tokens > 8"), ContextTooLong),
        (error("authentication_error"), AuthFailed),
        (error("billing_error"), QuotaExhausted),
        ({"error": "it broke"}, UpstreamFailed),
    ],
)
def test_errors_inside_a_200_are_raised(
    data: dict[str, Any], expected: type[ProviderError]
) -> None:
    """A stream may fail in its middle, and a body under a 200 may be an error.

    No recording exists; written from the documentation and from anthropic-sdk-python issue 688.
    """
    attempts: list[Callable[[], Frame]] = [
        lambda: decode_frame(b"event: error\ndata: %b\n\n" % json.dumps(data).encode(), Memo()),
        lambda: decode_frame(b"data: %b\n\n" % json.dumps(data).encode(), Memo()),
        lambda: decode(json.dumps(data).encode(), Memo()),
    ]
    for attempt in attempts:
        with pytest.raises(ProviderError) as caught:
            attempt()
        assert type(caught.value) is expected
        assert caught.value.upstream_status is None


def test_an_error_told_in_plain_words_is_an_error() -> None:
    """A proxy may write words where JSON belongs."""
    with pytest.raises(UpstreamFailed, match="upstream gone"):
        decode_frame(b"event: error\ndata: upstream gone\n\n", Memo())


def test_an_error_as_a_word_is_no_error() -> None:
    """A model may talk about errors and ends."""
    words = 'event: error\ndata: {"type":"error","error":{}} "type":"message_stop"'
    frame = decode_frame(text(words), Memo())
    assert frame.mark == Mark.SHOWN
    assert fold(frame.events).text == words


@pytest.mark.parametrize(
    "body",
    [b"", b"  ", b"<html><title>502</title>", b"nope", b"[]", b"5", b'{"a":1}', b'{"content":5}'],
)
def test_what_is_no_answer_is_said_to_be_none(body: bytes) -> None:
    """Garbage, web pages and empty bodies are bad answers, not empty ones."""
    with pytest.raises(BadAnswer):
        decode(body, Memo())


@pytest.mark.parametrize(
    "data",
    [
        b"garbage",
        b"<html>",
        b"5",
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"cut',
        b'{"type":"content_block_delta","index":0}',
        b'{"type":"content_block_start","index":0,"content_block":7}',
        b'{"type":"message_start"}',
    ],
)
def test_garbage_in_a_stream_is_a_bad_answer(data: bytes) -> None:
    """An event that is no JSON, or of no known shape, is told as such."""
    with pytest.raises(BadAnswer):
        decode_frame(b"data: %b\n\n" % data, Memo())


def test_garbage_found_late_is_a_bad_answer() -> None:
    """A frame that looked plain and turns out broken raises when it is asked."""
    frame = decode_frame(text("Hi").replace(b"}   }", b"]   }"), Memo())
    assert frame.mark == Mark.SHOWN
    with pytest.raises(BadAnswer):
        assert frame.events


_KEYS = st.sampled_from(
    [
        *("type", "message", "content", "content_block", "delta", "index", "usage", "error", "id"),
        *("text", "thinking", "signature", "data", "input", "partial_json", "citation", "name"),
        *("stop_reason", "input_tokens", "cache_creation", "iterations", "cost", "model"),
    ]
)
_TYPES = st.sampled_from(
    [
        *("message_start", "content_block_start", "content_block_delta", "content_block_stop"),
        *("message_delta", "text", "thinking", "tool_use", "redacted_thinking", "mcp_tool_use"),
        *("text_delta", "thinking_delta", "signature_delta", "input_json_delta", "citations_delta"),
    ]
)
_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.builds(
            lambda kind, d: {"type": kind} | d, _TYPES, st.dictionaries(_KEYS, inner, max_size=4)
        )
    ),
    max_leaves=15,
)
_OBJECTS = st.builds(
    lambda kind, d: {"type": kind, "index": 0} | d, _TYPES, st.dictionaries(_KEYS, _ANY, max_size=4)
)


@given(st.lists(_OBJECTS, max_size=3), _ANY)
def test_no_json_breaks_decoding(streamed: list[dict[str, Any]], content: Any) -> None:
    """Any JSON is either understood or a ProviderError; nothing else ever comes out."""
    memo = Memo()
    attempts: list[Callable[[], Frame]] = [
        *(
            lambda d=d: decode_frame(b"data: %b\n\n" % json.dumps(d).encode(), memo)
            for d in streamed
        ),
        lambda: decode(json.dumps({"content": [content], "usage": content}).encode(), Memo()),
    ]
    for attempt in attempts:
        with suppress(ProviderError):
            assert all(isinstance(one, Event) for one in attempt().events)


@given(st.binary(max_size=60))
def test_no_bytes_break_decoding(raw: bytes) -> None:
    """Any bytes are a frame or a ProviderError."""
    for framed in (raw, b"data: %b\n\n" % raw):
        with suppress(ProviderError):
            assert decode_frame(framed, Memo()).raw == framed
    with suppress(ProviderError):
        decode(raw, Memo())

"""`decode_frame`: what the events of a stream may look like."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.dialects.openai_chat.wire import USAGE, call, chunk, events, fold
from trunkline.dialects.openai_chat import decode, decode_frame
from trunkline.dialects.openai_chat.events import events_of
from trunkline.errors import (
    BadAnswer,
    ProviderError,
    Refused,
    UpstreamFailed,
    UpstreamOverloaded,
    UpstreamRateLimited,
)
from trunkline.types import (
    AudioDelta,
    Event,
    Frame,
    Mark,
    Memo,
    Started,
    TextDelta,
    UsageReport,
)


def test_the_tier_of_a_stream_belongs_to_its_usage() -> None:
    """It stands in every event, or in the first ones only; the last word counts."""
    role = chunk({"role": "assistant", "content": ""}, service_tier="auto")
    served = chunk({"content": "Hi"}, "stop", service_tier="flex")
    for end in (chunk(choices=[], usage=USAGE), chunk(choices=[], usage=USAGE, service_tier=None)):
        (report,) = (e for e in events(role, served, end) if isinstance(e, UsageReport))
        assert report.usage.service_tier == "flex"


@pytest.mark.parametrize("space", [b":", b": "])
def test_text_is_scanned_and_decoded_only_when_asked(space: bytes) -> None:
    """A plain piece of text costs no JSON until its events are wanted, however it is spaced."""
    frame = decode_frame(chunk({"content": "Hi"}).replace(b'":', b'"' + space), Memo())
    assert frame.mark == Mark.SHOWN
    assert frame._events is None
    assert TextDelta(text="Hi") in frame.events


@pytest.mark.parametrize(
    ("raw", "mark"),
    [
        (chunk({"role": "assistant", "content": ""}), Mark.NONE),
        (chunk({"content": "Hi"}), Mark.SHOWN),
        (chunk({"reasoning_content": "Hi"}), Mark.SHOWN),
        (chunk({"reasoning": "Hi", "content": ""}), Mark.SHOWN),
        (chunk({"content": None, "reasoning_content": "Hi"}), Mark.SHOWN),
        (chunk({"refusal": "No"}), Mark.SHOWN),
        (chunk({"tool_calls": [call(0, "f", "", id="c")]}), Mark.SHOWN),
        (chunk({"content": [{"type": "text", "text": "Hi"}]}), Mark.SHOWN),
        (chunk({"audio": {"data": "QQ=="}}), Mark.SHOWN),
        (chunk({"content": "Hi"}, usage=USAGE), Mark.SHOWN | Mark.USAGE),
        (chunk({"content": "Hi"}, usage=None), Mark.SHOWN),
        (chunk({}, "stop"), Mark.FINISH),
        (chunk({"content": "Hi"}, "stop"), Mark.SHOWN | Mark.FINISH),
        (chunk({}, "stop", usage=USAGE), Mark.FINISH | Mark.USAGE),
        (chunk(choices=[], usage=USAGE), Mark.USAGE),
        (chunk({}, "stop", x_groq={"usage": USAGE}), Mark.FINISH | Mark.USAGE),
        (chunk(choices=[], prompt_filter_results=[{}], id="", model=""), Mark.NONE),
        (b'data: {"usage":{"prompt_tokens":1}}\n\n', Mark.USAGE),
        (b'data: {"choices":[{"index":0,"delta":null}]}\n\n', Mark.NONE),
        (b'data: {"choices":[{"content_filter_results":{}}]}\n\n', Mark.NONE),
        (b"data: [DONE]\n\n", Mark.TERMINAL),
        (b"data:[DONE]\r\n\r\n", Mark.TERMINAL),
        (b": keep-alive\ndata: [DONE]\n\n", Mark.TERMINAL),
        (b": OPENROUTER PROCESSING\n\n", Mark.NONE),
        (b"\n\n", Mark.NONE),
        (b"\r\n", Mark.NONE),
        (b"event: ping\ndata: {}\n\n", Mark.NONE),
        (b"data:\n\n", Mark.NONE),
        (b'\xef\xbb\xbfdata: {"choices":[{"delta":{"content":"Hi"}}]}\n\n', Mark.SHOWN),
        (b'id: 7\nretry: 5\ndata: {"choices":[{"delta":{"content":"Hi"}}]}\n\n', Mark.SHOWN),
        (b'data: {"choices":[{"delta":\ndata: {"content":"Hi"}}]}\n\n', Mark.SHOWN),
        (b'data: {"choices":[{"delta":{"content":"Hi"}}]}', Mark.SHOWN),
    ],
)
def test_marks_are_right(raw: bytes, mark: int) -> None:
    """What a frame is worth is known, in any line ends, spaces and order of keys."""
    for spelled in (raw, raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")):
        frame = decode_frame(spelled, Memo())
        assert frame.mark == mark
        assert frame.raw == spelled
        assert [e.text for e in frame.events if isinstance(e, TextDelta)] in (["Hi"], [])


def test_frames_that_begin_alike_are_told_apart() -> None:
    """Where frame after frame begins alike, each turn of the stream is still met as it comes."""
    memo = Memo()
    shown = [{"content": "", "reasoning_content": "H"}, {"content": "A"}, {"content": 'usage"'}]
    for delta in shown:
        for _ in range(2):
            assert decode_frame(chunk(delta), memo).mark == Mark.SHOWN
    assert decode_frame(chunk({"content": ""}), memo).mark == Mark.NONE
    assert decode_frame(chunk({"content": "A"}), memo).mark == Mark.SHOWN
    assert decode_frame(chunk({"content": "A"}, usage=USAGE), memo).mark == Mark.SHOWN | Mark.USAGE
    assert decode_frame(chunk({"content": "A"}, "stop"), memo).mark == Mark.SHOWN | Mark.FINISH


def test_half_a_character_is_relayed() -> None:
    """Whoever cuts a text between two escapes of one character is relayed as he wrote."""
    for half in (rb"\ud83d", rb"\ude00"):
        raw = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % half
        frame = decode_frame(raw, Memo())
        assert (frame.raw, frame.mark) == (raw, Mark.SHOWN)


def test_the_end_is_known_without_decoding_events() -> None:
    """A finish reason sets memo.finished in the scan, so that EOF without [DONE] is an end."""
    memo = Memo()
    decode_frame(chunk({"content": "Hi"}), memo)
    assert not memo.finished
    decode_frame(chunk({}, "stop"), memo)
    assert memo.finished


def test_several_answers_end_when_all_have() -> None:
    """One that was heard and did not end is broken off; what comes after an end opens nothing."""
    memo = Memo(wanted=2)
    ends = []
    for index, delta, reason in (
        (0, {"content": "a"}, None),
        (0, {}, "stop"),
        (1, {"content": "b"}, None),
        (1, {}, "length"),
        (0, {"citations": ["https://x.test"]}, None),
    ):
        choice = {"index": index, "delta": delta, "finish_reason": reason}
        decode_frame(chunk(choices=[choice]), memo)
        ends.append(memo.finished)
    assert ends == [False, True, False, True, True]


def test_the_provider_names_itself_first_and_at_the_end() -> None:
    """Id and model are given where layers look: at the start, and with finish and usage."""
    memo = Memo()
    frames = [decode_frame(raw, memo) for raw in (chunk({"content": ""}), chunk({"content": "A"}))]
    frames.append(decode_frame(chunk({}, "stop"), memo))
    named = [[e for e in f.events if isinstance(e, Started)] for f in frames]
    assert [bool(one) for one in named] == [True, False, True]


def test_cumulative_messages_beside_deltas_are_ignored() -> None:
    """Perplexity repeats the whole message so far in every event."""
    raws = [
        b'data: {"choices":[{"delta":{"content":"A"},"message":{"content":"A"}}]}\r\n\r\n',
        b'data: {"choices":[{"delta":{"content":"B"},"message":{"content":"AB"}}]}\r\n\r\n',
    ]
    assert fold(events(*raws)).text == "AB"


def test_repeated_usage_is_assigned() -> None:
    """Groq says its usage up to three times: each report is the whole, the last one counts."""
    raws = [chunk({}, "stop", usage=USAGE, x_groq={"usage": USAGE}), chunk(choices=[], usage=USAGE)]
    reports = [event.usage for event in events(*raws) if isinstance(event, UsageReport)]
    assert [usage.total_tokens for usage in reports] == [5, 5]


def test_audio_comes_in_pieces() -> None:
    """Spoken answers stream data and transcript; the last piece has only the expiry."""
    got = events(
        chunk({"audio": {"id": "a1", "transcript": "Hel"}}),
        chunk({"audio": {"data": "QUJD"}}),
        chunk({"audio": {"transcript": "lo"}}),
        chunk({"audio": {"expires_at": 99}}),
    )
    assert AudioDelta(id="a1", transcript="Hel") in got
    (heard,) = fold(got).parts
    assert (heard.id, heard.data, heard.transcript, heard.expires_at) == ("a1", "QUJD", "Hello", 99)  # type: ignore[union-attr]


def test_pieces_of_logprobs_are_joined() -> None:
    """Log probabilities of a stream fold into the list a whole answer has."""
    raws = [
        chunk(
            choices=[
                {"delta": {"content": c}, "logprobs": {"content": [{"token": c}], "refusal": None}}
            ]
        )
        for c in "AB"
    ]
    assert fold(events(*raws)).extra["logprobs"] == {
        "content": [{"token": "A"}, {"token": "B"}],
        "refusal": None,
    }


@pytest.mark.parametrize(
    ("raw", "kind", "says"),
    [
        (
            b'event: error\ndata: {"error":{"message":"bad","code":null,"status_code":400}}\n\n',
            Refused,
            "bad",
        ),
        (b'data: {"error":"model runner has stopped"}\n\n', UpstreamFailed, "runner"),
        (
            chunk({"content": "x"}, "error", error={"code": 502, "message": "upstream died"}),
            UpstreamFailed,
            "upstream died",
        ),
        (
            chunk(choices=[{"delta": {}, "error": {"code": 429, "message": "slow"}}]),
            UpstreamRateLimited,
            "slow",
        ),
        (
            b'data: {"error":{"type":"overloaded_error","message":"Overloaded"}}\n\n',
            UpstreamOverloaded,
            "Over",
        ),
        (
            b'data: [{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}]\n\n',
            UpstreamOverloaded,
            "busy",
        ),
        (b'data: {"object":"error","message":"dead","code":500}\n\n', UpstreamFailed, "dead"),
        (b'data: {"detail":"Not Found"}\n\n', UpstreamFailed, "Not Found"),
        (b"event: error\ndata: something broke\n\n", UpstreamFailed, "something broke"),
        (b'event: error\ndata: {"message":"broke"}\n\n', UpstreamFailed, "broke"),
    ],
)
def test_errors_in_a_stream_are_raised(raw: bytes, kind: type[ProviderError], says: str) -> None:
    """Whatever a provider calls it, an error inside a 200 stream is an error.

    Recorded for Groq and OpenRouter; the others are written from their documentation.
    """
    with pytest.raises(ProviderError) as caught:
        decode_frame(raw, Memo())
    assert type(caught.value) is kind
    assert says in caught.value.message


def test_an_error_as_a_word_is_no_error() -> None:
    """A model may talk about errors."""
    text = '"error": {"message": "x"} [DONE] "finish_reason":"stop" "usage":{}'
    frame = decode_frame(chunk({"content": text}), Memo())
    assert frame.mark == Mark.SHOWN
    assert fold(frame.events).text == text


@pytest.mark.parametrize(
    "raw",
    [
        b"data: garbage\n\n",
        b'data: {"choices":[{"delta":{"content":"cut\n\n',
        b"data: <html>\n\n",
        b"data: 5\n\n",
        b'data: {"choices":[3]}\n\n',
        b'data: {"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]\n\n',
    ],
)
def test_garbage_in_a_stream_is_a_bad_answer(raw: bytes) -> None:
    """An event that is no JSON, or of no known shape, is told as such."""
    with pytest.raises(BadAnswer):
        decode_frame(raw, Memo())


def test_garbage_found_late_is_a_bad_answer() -> None:
    """A frame that looked plain and turns out broken raises when it is asked."""
    frame = decode_frame(b'data: {"choices":[{"delta":{"content":"Hi"}]}\n\n', Memo())
    with pytest.raises(BadAnswer):
        assert frame.events


_KEYS = st.sampled_from(
    [
        *("choices", "delta", "content", "tool_calls", "function", "index", "id", "usage", "error"),
        *("finish_reason", "message", "reasoning", "reasoning_details", "audio", "arguments"),
        *("prompt_tokens", "prompt_tokens_details", "cost", "logprobs", "x_groq", "model"),
    ]
)
_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=15,
)


@given(st.dictionaries(_KEYS, _ANY, max_size=4), st.dictionaries(_KEYS, _ANY, max_size=4))
def test_no_json_breaks_decoding(top: dict[str, Any], delta: dict[str, Any]) -> None:
    """Any JSON is either understood or a ProviderError; nothing else ever comes out."""
    choice = {"delta": delta, "message": delta}
    whole_or_piece: list[Callable[[bytes], Frame]] = [
        lambda body: decode(body, Memo()),
        lambda body: decode_frame(b"data: %b\n\n" % body, Memo()),
    ]
    for data in (top, {"choices": [choice]} | top):
        for attempt in whole_or_piece:
            with suppress(ProviderError):
                frame = attempt(json.dumps(data).encode())
                assert all(isinstance(event, Event) for event in frame.events)


@given(
    st.dictionaries(
        st.sampled_from(["content", "reasoning_content", "reasoning", "refusal", "role", "x"]),
        st.none() | st.text(max_size=4),
    ),
    st.dictionaries(
        st.sampled_from(["index", "logprobs", "stop_reason", "finish_reason", "x"]),
        st.none() | st.integers(0, 2),
    ),
)
def test_words_mean_the_same_however_they_are_decoded(
    delta: dict[str, Any], beside: dict[str, Any]
) -> None:
    """The short way for plain words and the long way for everything give the same events."""
    data = {"choices": [beside | {"delta": delta}]}
    short, long = Memo(), Memo()
    short.scratch["started"] = long.scratch["started"] = True
    raw = b"data: %b\n\n" % json.dumps(data).encode()
    assert decode_frame(raw, short).events == tuple(events_of(data, long))


@given(st.binary(max_size=60))
def test_no_bytes_break_decoding(raw: bytes) -> None:
    """Any bytes are a frame or a ProviderError; only an event that is null has no bytes then."""
    for framed in (raw, b"data: %b\n\n" % raw):
        with suppress(ProviderError):
            assert decode_frame(framed, Memo()).raw == framed or b"null" in raw

"""What Cohere's answers and failures mean, where no recording shows it."""

import json
from typing import Any

import pytest

from trunkline.dialects.cohere import decode, decode_error, decode_frame
from trunkline.dialects.cohere.events import usage_of
from trunkline.errors import (
    AuthFailed,
    BadAnswer,
    ContentBlocked,
    ContextTooLong,
    ProviderError,
    QuotaExhausted,
    Refused,
    UpstreamFailed,
    UpstreamNotFound,
    UpstreamOverloaded,
    UpstreamRateLimited,
)
from trunkline.types import Event, Finish, Mark, Memo, Usage

Json = dict[str, Any]


def events(*told: Json | bytes) -> tuple[list[Event], Memo]:
    """Decode events of one stream."""
    memo = Memo()
    raws = [b"data: %b\n\n" % (t if isinstance(t, bytes) else json.dumps(t).encode()) for t in told]
    return [event for raw in raws for event in decode_frame(raw, memo).events], memo


def ending(reason: Any) -> Json:
    """Make the last event of a stream."""
    return {"type": "message-end", "delta": {"finish_reason": reason}}


REASONS = [
    ("COMPLETE", "stop"),
    ("STOP_SEQUENCE", "stop"),
    ("MAX_TOKENS", "length"),
    ("TOOL_CALL", "tool_calls"),
    ("ERROR", "error"),
    ("TIMEOUT", "error"),
    ("ERROR_TOXIC", "content_filter"),
    ("NEW_ONE", "unknown"),
    (None, "unknown"),
]


@pytest.mark.parametrize(("raw", "reason"), REASONS)
def test_finish_reasons(raw: str | None, reason: str) -> None:
    """A word that nobody knows is not taken for an end."""
    found, memo = events(ending(raw))
    assert found == [Finish(reason=reason, raw=raw)]  # type: ignore[arg-type]
    assert memo.finished


def test_done_ends_what_is_finished() -> None:
    """Without a finish before it, it is no end."""
    assert decode_frame(b"data: [DONE]\n\n", Memo()).mark == 0
    _, memo = events(ending("COMPLETE"))
    assert decode_frame(b"data: [DONE]\n\n", memo).mark == Mark.TERMINAL


def test_unknown_events_mean_nothing() -> None:
    """They pass, as do comments."""
    assert events({"type": "debug", "prompt": "x"}, {"type": "content-end", "index": 0})[0] == []
    assert decode_frame(b": ping\n\n", Memo()).mark == 0


USAGES: list[tuple[Json, Usage | None]] = [
    ({}, None),
    ({"billed_units": {}}, None),
    ({"tokens": {"input_tokens": 5}}, Usage(prompt_tokens=5)),
    (
        {
            "billed_units": {"input_tokens": 5.0, "output_tokens": 2.0},
            "tokens": {"input_tokens": 500, "output_tokens": 9, "reasoning_tokens": 7},
            "cached_tokens": 400,
        },
        Usage(prompt_tokens=5, completion_tokens=2, reasoning_tokens=2),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("wire", "usage"), USAGES)
def test_usage_is_what_is_billed(wire: Json, usage: Usage | None) -> None:
    """Not what Cohere adds to the prompt for itself, nor what it had in its cache of that."""
    assert usage_of(wire) == usage


FAILURES: list[tuple[int, Json | bytes, type[ProviderError]]] = [
    (400, {"message": "invalid request: message must be at least 1 token long"}, Refused),
    (400, {"message": "too many tokens: size limit exceeded by 2 tokens."}, ContextTooLong),
    (400, {"message": "no", "error_type": "TOO_MANY_TOKENS"}, ContextTooLong),
    (400, {"message": "blocked output: please adjust the prompt"}, ContentBlocked),
    (401, {"message": "invalid api token"}, AuthFailed),
    (498, {"message": "invalid token"}, AuthFailed),
    (402, {"message": "Please add or update your payment method"}, QuotaExhausted),
    (404, {"message": "model 'x' not found"}, UpstreamNotFound),
    (422, {"message": "unprocessable"}, Refused),
    (429, {"message": "limited to 1000 API calls / month"}, QuotaExhausted),
    (429, {"message": "limited to 40 API calls / minute"}, UpstreamRateLimited),
    (499, {"message": "request cancelled"}, UpstreamFailed),
    (500, b"<html>", UpstreamFailed),
    (503, b"", UpstreamOverloaded),
]


@pytest.mark.parametrize(("status", "body", "kind"), FAILURES)
def test_failures(status: int, body: Json | bytes, kind: type[ProviderError]) -> None:
    """The class says what to do next."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    error = decode_error(status, {"retry-after": "3"}, raw)
    assert type(error) is kind
    assert (error.upstream_status, error.retry_after_s) == (status, 3.0)


BAD: list[tuple[bytes, type[ProviderError]]] = [
    (b"", BadAnswer),
    (b"<html>", BadAnswer),
    (b"[]", BadAnswer),
    (b'{"id":"x"}', BadAnswer),
    (b'{"id":"x","message":"try later"}', UpstreamFailed),
    (b'{"message":{"content":5}}', BadAnswer),
]


@pytest.mark.parametrize(("body", "kind"), BAD)
def test_a_200_without_an_answer(body: bytes, kind: type[ProviderError]) -> None:
    """It fails, and says what came."""
    with pytest.raises(kind):
        decode(body, Memo())


@pytest.mark.parametrize(
    "told",
    [
        b"nonsense",
        b"[1]",
        b'{"message":"internal error"}',
        b'{"type":"content-delta","delta":{}}',
        b'{"type":"message-end","delta":{"finish_reason":"ERROR","error":"out of service"}}',
    ],
)
def test_an_event_that_fails(told: bytes) -> None:
    """Garbage and errors in mid-stream raise."""
    with pytest.raises(ProviderError):
        events(told)

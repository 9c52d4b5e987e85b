"""`decode_error`: which class a failure belongs to, whoever worded it."""

import json
from typing import Any

import pytest

from trunkline.dialects.anthropic import decode_error
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


def body(kind: str, message: str = "oops", code: str | None = None) -> bytes:
    """Make an error body of Anthropic's."""
    error: dict[str, Any] = {"type": kind, "message": message}
    if code is not None:
        error["details"] = {"error_code": code}
    return json.dumps({"type": "error", "error": error, "request_id": None}).encode()


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (400, body("invalid_request_error", "max_tokens: Field required"), Refused),
        (
            400,
            body("invalid_request_error", "prompt is too long: 9 tokens > 8 maximum"),
            ContextTooLong,
        ),
        (
            400,
            body(
                "invalid_request_error", "input length and `max_tokens` exceed context limit: 9 + 9"
            ),
            ContextTooLong,
        ),
        (413, body("request_too_large", "Request exceeds the maximum size"), ContextTooLong),
        (413, b"<html><title>413 Payload Too Large</title></html>", ContextTooLong),
        (
            400,
            body("invalid_request_error", "Output blocked by content filtering policy"),
            ContentBlocked,
        ),
        (
            400,
            body("invalid_request_error", "Your credit balance is too low to access"),
            QuotaExhausted,
        ),
        (
            400,
            body("invalid_request_error", "You have reached your specified API usage limits."),
            QuotaExhausted,
        ),
        (402, body("billing_error"), QuotaExhausted),
        (402, b"{}", QuotaExhausted),
        (429, body("rate_limit_error", "x", "enforced_spend_limit_reached"), QuotaExhausted),
        (429, body("rate_limit_error", "x", "contract_spend_limit_reached"), QuotaExhausted),
        (
            400,
            body("invalid_request_error", "x", "linked_organization_billing_unavailable"),
            QuotaExhausted,
        ),
        (429, body("rate_limit_error", "would exceed the rate limit"), UpstreamRateLimited),
        (429, body("rate_limit_error", "x", "ramp_limit_exceeded"), UpstreamRateLimited),
        (429, b"", UpstreamRateLimited),
        (
            401,
            body("authentication_error", "invalid x-api-key sk-ant-1234567890abcdef"),
            AuthFailed,
        ),
        (400, b'{"error":"invalid api key"}', AuthFailed),
        (403, body("permission_error", "Your API key may not use this"), AuthFailed),
        (404, body("not_found_error", "model: claude-nope"), UpstreamNotFound),
        (400, body("invalid_request_error", "model claude-1 does not exist"), UpstreamNotFound),
        (529, body("overloaded_error", "Overloaded"), UpstreamOverloaded),
        (529, b"", UpstreamOverloaded),
        (503, b"<html><head><title>busy</title></head>", UpstreamOverloaded),
        (524, b"", UpstreamOverloaded),
        (500, body("api_error"), UpstreamFailed),
        (502, b"bad gateway", UpstreamFailed),
        (504, body("timeout_error"), UpstreamFailed),
        (408, b"", UpstreamFailed),
        (409, body("conflict_error"), UpstreamFailed),
        (422, b'{"detail":[{"msg":"no"}]}', Refused),
        (302, b"", BadAnswer),
    ],
)
def test_every_failure_has_its_class(
    status: int, said: bytes, expected: type[ProviderError]
) -> None:
    """Money before rate, words before status.

    429, 402, 413 and 529 are written from the documentation: no recording of them exists.
    """
    error = decode_error(status, {}, said)
    assert type(error) is expected
    assert error.upstream_status == status
    assert error.message


@pytest.mark.parametrize(
    ("said", "message", "code"),
    [
        (body("api_error", "Broke", "x_y"), "Broke", "x_y"),
        (body("api_error", "Broke"), "Broke", "api_error"),
        (b'{"error":"it broke"}', "it broke", None),
        (b'{"error":{"message":{"a":1}}}', '{"a":1}', None),
        (b'{"detail":"it broke"}', "it broke", None),
        (b"plain words", "plain words", None),
        (b"[1]", "[1]", None),
        (b'"words"', "words", None),
        (b"<html><title> 502 Bad </title>", "the provider answered a web page: 502 Bad", None),
        (b"", "the provider gave no reason (HTTP 500)", None),
        (b"\xff\xfe", "\ufffd\ufffd", None),
        (b'{"error":{"type":5,"code":7}}', "the provider gave no reason (HTTP 500)", "7"),
    ],
)
def test_the_message_is_found_in_any_shape(said: bytes, message: str, code: str | None) -> None:
    """Proxies before Anthropic word errors as they like."""
    error = decode_error(500, {}, said)
    assert (error.message, error.upstream_code) == (message, code)


def test_the_text_of_a_refused_credential_is_never_relayed() -> None:
    """It may repeat the key."""
    error = decode_error(401, {}, body("authentication_error", "key sk-ant-secret is wrong"))
    assert error.message == "the provider did not accept our credential (HTTP 401)"


def test_credentials_in_other_errors_are_taken_out() -> None:
    """Whatever a provider repeats of a request."""
    error = decode_error(
        500, {}, body("api_error", "failed with sk-ant-api03-0123456789abcdefghij")
    )
    assert "0123456789" not in error.message


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
        (
            {
                "retry-after": "Fri, 20 Nov 2026 10:00:30 GMT",
                "date": "Fri, 20 Nov 2026 10:00:00 GMT",
            },
            30.0,
        ),
    ],
)
def test_how_long_to_wait(headers: dict[str, str], wait_s: float | None) -> None:
    """Seconds, or a date counted from the answer's own."""
    assert decode_error(429, headers, body("rate_limit_error")).retry_after_s == wait_s

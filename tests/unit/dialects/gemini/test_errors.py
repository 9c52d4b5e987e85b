"""Failures, named by status, reason and words.

No recording of a 402, of a daily quota, of a 5xx and of a disabled API was found; those bodies are
written from https://ai.google.dev/gemini-api/docs/troubleshooting (2026-11-20).
"""

import json
from typing import Any

import pytest

from trunkline.dialects.gemini import decode_error
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

QUOTA = "You exceeded your current quota, please check your plan and billing details."


def named(status: int, message: str = "", code: str = "", *details: Any) -> ProviderError:
    """Name an error as Google spells it."""
    error = {"code": status, "message": message, "status": code, "details": list(details)}
    return decode_error(status, {}, json.dumps({"error": error}).encode())


def reason(text: str) -> dict[str, str]:
    """Say a reason as `ErrorInfo` does."""
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": text}


def quota(id_: str) -> dict[str, Any]:
    """Name the quota that was exceeded."""
    return {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{"quotaId": id_}],
    }


@pytest.mark.parametrize(
    ("status", "message", "details", "kind"),
    [
        (400, "API key not valid. Please pass a valid API key.", [], AuthFailed),
        (400, "x", [reason("API_KEY_INVALID")], AuthFailed),
        (401, "Request had invalid authentication credentials.", [], AuthFailed),
        (403, "Permission denied", [reason("SERVICE_DISABLED")], AuthFailed),
        (403, "x", [reason("BILLING_DISABLED")], QuotaExhausted),
        (402, "x", [], QuotaExhausted),
        (429, QUOTA, [quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier")], QuotaExhausted),
        (429, f"{QUOTA} limit: 0, model: m", [], QuotaExhausted),
        (429, "Your prepayment credits are depleted.", [], QuotaExhausted),
        (429, QUOTA, [quota("GenerateRequestsPerMinutePerProject")], UpstreamRateLimited),
        (429, "Resource exhausted. Please try again later.", [], UpstreamRateLimited),
        (400, "The input token count (9) exceeds the maximum number of tokens allowed (8).", [],
         ContextTooLong),
        (413, "", [], ContextTooLong),
        (400, "Blocked by Model Armor", [], ContentBlocked),
        (400, "User location is not supported for the API use.", [], UpstreamNotFound),
        (404, "models/x is not found for API version v1beta", [], UpstreamNotFound),
        (400, "Function call is missing a thought_signature in functionCall parts.", [], Refused),
        (500, "An internal error has occurred.", [], UpstreamFailed),
        (503, "The model is overloaded. Please try again later.", [], UpstreamOverloaded),
        (504, "Deadline expired before operation could complete.", [], UpstreamFailed),
        (499, "The operation was cancelled.", [], UpstreamFailed),
        (302, "", [], BadAnswer),
    ],
)  # fmt: skip
def test_errors_by_status_reason_and_words(
    status: int, message: str, details: list[Any], kind: type[ProviderError]
) -> None:
    """A bad key is a 400 here, an empty account a 429."""
    error = named(status, message, "", *details)
    assert type(error) is kind
    assert error.upstream_status == status


def test_when_to_come_back() -> None:
    """`RetryInfo` counts, else the headers."""
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.4s"}
    assert named(429, "x", "RESOURCE_EXHAUSTED", info).retry_after_s == 34.4
    assert decode_error(429, {"retry-after": "7"}, b"{}").retry_after_s == 7
    assert named(429).retry_after_s is None


def test_the_most_precise_code_is_kept() -> None:
    """The reason, else the canonical code."""
    assert named(400, "x", "INVALID_ARGUMENT").upstream_code == "INVALID_ARGUMENT"
    assert named(400, "x", "I", reason("API_KEY_INVALID")).upstream_code == "API_KEY_INVALID"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html><title>502 Bad Gateway</title>", "a web page: 502 Bad Gateway"),
        (b"", "gave no reason (HTTP 502)"),
        (b"upstream gone", "upstream gone"),
        (b'[{"error": {"message": "in a list"}}]', "in a list"),
        (b'{"error": "only words"}', "only words"),
        (b'{"error": {"message": "m", "details": 3}}', "m"),
        (b'{"error": {"details": [{"violations": [1]}, 2]}}', "gave no reason"),
        (b"\xff\xfe", ""),
    ],
)
def test_odd_bodies(body: bytes, words: str) -> None:
    """Whatever a proxy says, it is an error of the provider's."""
    error = decode_error(502, {}, body)
    assert type(error) is UpstreamFailed
    assert words in error.message


def test_credentials_do_not_leave() -> None:
    """What is said about ours is not repeated, and keys in other texts are masked."""
    key = "AIzaSyA-0123456789abcdefghijklmnopqrstu"
    assert key not in named(400, f"API key not valid: {key}").message
    assert key not in named(500, f"trouble with {key}").message

"""The table of failures: each documented or observed error is what it is, whatever its status.

Bodies are from https://docs.ollama.com/api/errors and the issues named there (2026-11-20).
"""

import json
from typing import Any

import pytest

from trunkline import errors
from trunkline.dialects.ollama import decode_error

TOO_LONG = {
    "error": {
        "code": 400,
        "message": "request (8889 tokens) exceeds the available context size (4096 tokens)",
        "type": "exceed_context_size_error",
    }
}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, {"error": "model 'x' not found"}, errors.UpstreamNotFound),
        (404, {"error": 'model "x" not found, try pulling it first'}, errors.UpstreamNotFound),
        (400, {"error": '"x" does not support thinking'}, errors.Refused),
        (400, {"error": "top_logprobs must be between 0 and 20"}, errors.Refused),
        (400, {"error": "the input length exceeds the context length"}, errors.ContextTooLong),
        (500, {"error": "the input length exceeds the context length"}, errors.ContextTooLong),
        (400, {"error": json.dumps(TOO_LONG)}, errors.ContextTooLong),
        (400, {"error": "prompt too long; exceeded max context length"}, errors.ContextTooLong),
        (401, {"error": "unauthorized", "signin_url": "https://o.test/k"}, errors.AuthFailed),
        (402, {"error": "payment required"}, errors.QuotaExhausted),
        (429, {"error": "you have reached your weekly usage limit"}, errors.QuotaExhausted),
        (429, {"error": "too many concurrent requests"}, errors.UpstreamRateLimited),
        (503, {"error": "server busy, please try again"}, errors.UpstreamOverloaded),
        (
            500,
            {"error": "model requires more system memory (9 GiB) than is available (2 GiB)"},
            errors.UpstreamOverloaded,
        ),
        (500, {"error": "llama runner process has terminated"}, errors.UpstreamFailed),
        (502, "<html><title>Bad Gateway</title></html>", errors.UpstreamFailed),
        (500, "", errors.UpstreamFailed),
        (400, [], errors.Refused),
        (302, {}, errors.BadAnswer),
    ],
)
def test_each_error_is_named(status: int, body: Any, kind: type[errors.ProviderError]) -> None:
    """By its words where the status says too little."""
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    found = decode_error(status, {}, raw)
    assert type(found) is kind
    assert found.upstream_status == status


def test_an_error_says_what_to_do() -> None:
    """Get the model, or give it more room; the runner's own words are unpacked."""
    missing = decode_error(404, {}, b'{"error":"model \'qwen3:8b\' not found"}')
    assert missing.message.endswith("; get it with: ollama pull qwen3:8b")
    long = decode_error(400, {}, json.dumps({"error": json.dumps(TOO_LONG)}).encode())
    assert long.message.startswith("request (8889 tokens) exceeds")
    assert "options.num_ctx" in long.message
    assert long.upstream_code == "exceed_context_size_error"


def test_what_an_error_says_beside() -> None:
    """When to come back; of a web page its title; of a refused key nothing."""
    limited = decode_error(429, {"retry-after": "3"}, b'{"error":"slow down"}')
    assert limited.retry_after_s == 3
    page = decode_error(502, {}, b"<html><title>Bad Gateway</title></html>")
    assert "a web page: Bad Gateway" in page.message
    refused = decode_error(401, {}, b'{"error":"unauthorized: key abc"}')
    assert "abc" not in refused.message

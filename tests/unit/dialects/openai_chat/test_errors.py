"""`decode_error`: what a failure means, whatever its body looks like."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.dialects.openai_chat import decode_error
from trunkline.errors import (
    AuthFailed,
    BadAnswer,
    ContentBlocked,
    ContextTooLong,
    ProviderError,
    QuotaExhausted,
    Refused,
    RequestTooLarge,
    UpstreamFailed,
    UpstreamNotFound,
    UpstreamOverloaded,
    UpstreamRateLimited,
)


def openai(message: str, code: str | None = None, type_: str = "invalid_request_error") -> Any:
    """Make an error body as OpenAI writes it."""
    return {"error": {"message": message, "type": type_, "param": None, "code": code}}


TPM = "on tokens per min (TPM): Limit {}, Used {}, Requested {}. Please try again in 1.5s."

# Recorded or documented: each line is one provider's way of saying one thing.
CASES: list[tuple[int, Any, type[ProviderError]]] = [
    # local servers
    (400, {"error": "Model is unloaded."}, UpstreamFailed),
    (400, {"error": {"message": 'Failed to load model "a". Error: out of memory'}}, UpstreamFailed),
    (400, {"error": "The model has crashed without additional information."}, UpstreamFailed),
    (
        400,
        {
            "error": "Trying to keep the first 9 tokens when context the overflows. However, the "
            "model is loaded with context length of only 4 tokens, which is not enough."
        },
        ContextTooLong,
    ),
    (503, {"error": {"message": "Loading model", "type": "unavailable_error"}}, UpstreamOverloaded),
    # auth
    (401, openai("Incorrect API key provided: sk-abc", "invalid_api_key"), AuthFailed),
    (401, {"detail": "Invalid API Key"}, AuthFailed),
    (401, "", AuthFailed),
    (400, {"code": "invalid-argument", "error": "Incorrect API key provided: xa***"}, AuthFailed),
    (
        400,
        [{"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}],
        AuthFailed,
    ),
    (400, openai("API Key not found. Please pass a valid API key."), AuthFailed),
    (403, {"error": {"message": "Forbidden", "code": "forbidden"}}, AuthFailed),
    # rate
    (429, openai("Rate limit reached", "rate_limit_exceeded", "tokens"), UpstreamRateLimited),
    (
        429,
        openai(TPM.format(200_000, 199_000, 5_000), "rate_limit_exceeded"),
        UpstreamRateLimited,
    ),
    (
        429,
        openai("Rate limit reached. Add a card at https://x.test/account/billing. Try later."),
        UpstreamRateLimited,
    ),
    (429, {"error": {"code": "RateLimitReached", "message": "exceeded"}}, UpstreamRateLimited),
    (429, "slow down", UpstreamRateLimited),
    (
        429,
        {
            "error": {
                "code": 429,
                "message": "You exceeded your current quota, please check your plan and billing",
                "status": "RESOURCE_EXHAUSTED",
                "details": [{"retryDelay": "34.4s"}],
            }
        },
        UpstreamRateLimited,
    ),
    # too large for the limit
    (429, openai(TPM.format(1, 0, 30), "rate_limit_exceeded"), RequestTooLarge),
    (
        429,
        openai("Request too large for gpt-4o on TPM: Limit 30,000, Requested 38,100."),
        RequestTooLarge,
    ),
    (413, openai("Request too large for model `x`: Limit 6000, Requested 7000"), RequestTooLarge),
    # quota
    (
        429,
        openai("You exceeded your current quota, please check your plan.", "insufficient_quota"),
        QuotaExhausted,
    ),
    (429, openai("x", "organization_usage_limit_exceeded"), QuotaExhausted),
    (429, openai("x", "project_spend_limit_exceeded"), QuotaExhausted),
    (402, {"error": {"message": "Insufficient Balance"}}, QuotaExhausted),
    (402, "", QuotaExhausted),
    (400, openai("Your credit balance is too low"), QuotaExhausted),
    (
        403,
        {"code": "forbidden", "error": "Your team has used all available credits"},
        QuotaExhausted,
    ),
    (
        429,
        {
            "error": {
                "message": "Quota exceeded",
                "details": [
                    {"violations": [{"quotaId": "GenerateRequestsPerDayPerProject-FreeTier"}]},
                    {"retryDelay": "34s"},
                ],
            }
        },
        QuotaExhausted,
    ),
    # overload
    (503, openai("The engine is overloaded", None, "server_error"), UpstreamOverloaded),
    (529, {"error": {"type": "overloaded_error", "message": "Overloaded"}}, UpstreamOverloaded),
    (498, {"error": {"message": "no room", "code": "capacity_exceeded"}}, UpstreamOverloaded),
    (522, "<html><title>522: Connection timed out</title></html>", UpstreamOverloaded),
    (500, openai("x", "server_is_overloaded"), UpstreamOverloaded),
    # context
    (400, openai("too long", "context_length_exceeded"), ContextTooLong),
    (400, openai("This model's maximum context length is 4096 tokens."), ContextTooLong),
    (
        400,
        {"error": {"message": "exceeds n_ctx", "type": "exceed_context_size_error", "n_ctx": 512}},
        ContextTooLong,
    ),
    (
        400,
        {"error": {"message": "long", "type": "too_many_prompt_tokens", "code": 400}},
        ContextTooLong,
    ),
    (400, openai("prompt too long; exceeded max context length by 5 tokens"), ContextTooLong),
    (400, openai("prompt is too long: 210000 tokens > 200000 maximum"), ContextTooLong),
    (
        400,
        openai("The input token count (9) exceeds the maximum number of tokens allowed (8)."),
        ContextTooLong,
    ),
    (400, {"message": "too many tokens", "error_type": "TOO_MANY_TOKENS"}, ContextTooLong),
    (413, "<html><title>413 Request Entity Too Large</title></html>", ContextTooLong),
    (
        400,
        {
            "error": {
                "message": "Provider returned error",
                "code": 400,
                "metadata": {"raw": '{"message":"Input is too long for requested model."}'},
            }
        },
        ContextTooLong,
    ),
    # policy
    (
        400,
        {
            "error": {
                "code": "content_filter",
                "message": "The response was filtered",
                "innererror": {"code": "ResponsibleAIPolicyViolation"},
            }
        },
        ContentBlocked,
    ),
    (
        400,
        openai("Your request was rejected by our safety system", "content_policy_violation"),
        ContentBlocked,
    ),
    (403, {"error": {"code": 403, "message": "Your input was flagged"}}, ContentBlocked),
    # not found
    (404, openai("The model `x` does not exist", "model_not_found"), UpstreamNotFound),
    (404, {"error": {"code": "DeploymentNotFound", "message": "x"}}, UpstreamNotFound),
    (404, {"error": "model 'x' not found"}, UpstreamNotFound),
    (404, "404 page not found", UpstreamNotFound),
    (
        400,
        {"object": "error", "message": "Invalid model: x", "type": "invalid_model", "code": "1500"},
        UpstreamNotFound,
    ),
    (400, {"error": {"message": "a/b is not a valid model ID", "code": 400}}, UpstreamNotFound),
    # wrong requests
    (
        400,
        openai("Unsupported parameter: 'stop' is not supported", "unsupported_parameter"),
        Refused,
    ),
    (400, openai("max_tokens is too large: 100000. This model supports at most 16384"), Refused),
    (400, openai("Unsupported parameter: 'moderation'"), Refused),
    (422, {"detail": [{"loc": ["body", "x"], "msg": "extra"}]}, Refused),
    (405, "", Refused),
    # the model's own failure
    (400, {"error": {"message": "bad call", "code": "tool_use_failed"}}, BadAnswer),
    (302, "", BadAnswer),
    # 5xx and friends
    (500, openai("x", None, "server_error"), UpstreamFailed),
    (502, "<!doctype html><html><title>502 Bad Gateway</title>", UpstreamFailed),
    (504, "", UpstreamFailed),
    (408, {"error": {"code": 408, "message": "timed out"}}, UpstreamFailed),
    (409, "", UpstreamFailed),
]


@pytest.mark.parametrize(("status", "body", "kind"), CASES)
def test_every_way_of_saying_it(status: int, body: Any, kind: type[ProviderError]) -> None:
    """The class is the one whose meaning the provider intended, exactly."""
    sent = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    error = decode_error(status, {}, sent)
    assert type(error) is kind
    assert error.upstream_status == status
    assert error.message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "m"}}, "m"),
        ({"error": "m"}, "m"),
        ({"code": "c", "error": "m"}, "m"),
        ({"message": "m"}, "m"),
        ({"detail": "m"}, "m"),
        ({"detail": [{"loc": ["body", 0, "n"], "msg": "m"}, {"msg": "k"}]}, "body.0.n: m; : k"),
        ({"object": "error", "message": {"detail": [{"loc": ["a"], "msg": "m"}]}}, "a: m"),
        ({"error": {"message": {"odd": 1}}}, '{"odd":1}'),
        ({"errors": [{"message": "m"}]}, "m"),
        ([{"error": {"message": "m"}}], "m"),
        ("m", "m"),
        ({"error": {"message": "m", "metadata": {"raw": "why"}}}, "m: why"),
        ({"error": {}}, "the provider gave no reason (HTTP 400)"),
        ({}, "the provider gave no reason (HTTP 400)"),
        ([], "the provider gave no reason (HTTP 400)"),
        (None, "the provider gave no reason (HTTP 400)"),
    ],
)
def test_the_providers_own_words_are_kept(body: Any, message: str) -> None:
    """The message is the provider's, from wherever the body keeps it."""
    assert decode_error(400, {}, json.dumps(body).encode()).message == message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the provider gave no reason (HTTP 400)"),
        (b"plain words\n", "plain words"),
        (
            b"<html><head><title> Bad\nGateway </title>",
            "the provider answered a web page: Bad\nGateway",
        ),
        (b"<div>", "the provider answered a web page: (no title)"),
        (b"\xff\xfe words", "\ufffd\ufffd words"),
        (b"x" * 5000, "x" * 1997 + "..."),
    ],
)
def test_bodies_that_are_no_json_are_read_too(body: bytes, message: str) -> None:
    """HTML gives its title, text itself, bytes whatever can be read; nothing is endless."""
    assert decode_error(400, {}, body).message == message


def test_names_and_place_are_kept() -> None:
    """Code, type and param stay for whoever looks closer."""
    body = b'{"error":{"message":"m","type":"t","param":"messages[0]","code":"c"}}'
    error = decode_error(400, {}, body)
    assert (error.upstream_code, error.param) == ("c", "messages[0]")
    assert decode_error(400, {}, b'{"error":{"message":"m","type":"t"}}').upstream_code == "t"
    assert decode_error(400, {}, b"{}").upstream_code is None


def test_the_text_of_an_authentication_error_is_ours() -> None:
    """A provider may repeat the key: its words are never the message."""
    error = decode_error(401, {}, b'{"error":{"message":"Incorrect API key: sk-secret"}}')
    assert error.message == "the provider did not accept our credential (HTTP 401)"


NOW = "Fri, 20 Nov 2026 14:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "text", "wait_s"),
    [
        ({"retry-after": "7"}, "", 7.0),
        ({"retry-after": "1.5"}, "", 1.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, "", 0.25),
        ({"retry-after-ms": "0", "retry-after": "1"}, "", 1.0),
        ({"retry-after": "Fri, 20 Nov 2026 14:00:09 GMT", "date": NOW}, "", 9.0),
        ({"retry-after": "Fri, 20 Nov 2026 13:00:00 GMT", "date": NOW}, "", 0.0),
        ({"retry-after": "Fri, 20 Nov 2026 14:00:09 GMT"}, "", None),
        ({"retry-after": "soon"}, "", None),
        ({"retry-after": "-3"}, "", None),
        ({"retry-after": "inf"}, "", None),
        ({}, "Please try again in 7.66s.", 7.66),
        ({}, "Please try again in 20ms.", 0.02),
        ({}, "Please try again in 7m12s.", 432.0),
        ({}, "Please retry after 3 seconds.", 3.0),
        ({"retry-after": "2"}, "Please try again in 9s.", 2.0),
        ({}, "no idea", None),
    ],
)
def test_how_long_to_wait(headers: dict[str, str], text: str, wait_s: float | None) -> None:
    """Headers count before words; a date is counted from the answer's own date."""
    error = decode_error(429, headers, json.dumps({"error": {"message": text}}).encode())
    assert error.retry_after_s == wait_s


def test_googles_delay_is_read_from_the_details() -> None:
    """RetryInfo says how long to wait."""
    body = {"error": {"message": "x", "details": [{"retryDelay": "34.4s"}]}}
    assert decode_error(429, {}, json.dumps(body).encode()).retry_after_s == 34.4


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "message", "code", "type", "detail", "metadata", "raw", "msg"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.integers(300, 600), _JSON | st.binary(max_size=40))
def test_no_body_breaks_the_table(status: int, body: Any) -> None:
    """Any status with any body is some ProviderError with a message and our own statuses."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    error = decode_error(status, {}, sent)
    assert isinstance(error, ProviderError)
    assert error.message
    assert error.upstream_status == status

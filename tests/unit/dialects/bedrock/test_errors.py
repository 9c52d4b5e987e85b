"""Errors of Bedrock, as its documentation has them: nobody recorded an exception in a stream."""

import json

import pytest

from trunkline.dialects.bedrock import decode_error, decode_frame
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
from trunkline.testing import event_message
from trunkline.testing.converse import framed
from trunkline.types import Memo

CASES: list[tuple[int, str, str, type[ProviderError]]] = [
    (403, "AccessDenied", "User: arn:... is not authorized to perform", AuthFailed),
    (403, "AccessDenied", "You don't have access to the model", UpstreamNotFound),
    (403, "ExpiredToken", "The token in the request is expired", AuthFailed),
    (403, "InvalidSignature", "Your signature does not match", AuthFailed),
    (403, "InvalidSignature", "Signature expired: 20241008T195522Z is now earlier", UpstreamFailed),
    (
        403,
        "InvalidSignature",
        "Signature not yet current: 20241008T195522Z is late",
        UpstreamFailed,
    ),
    (403, "RequestTimeTooSkewed", "The difference is too large", UpstreamFailed),
    (403, "MissingAuthenticationToken", "Missing Authentication Token", AuthFailed),
    (403, "", "Bearer Token has expired", AuthFailed),
    (429, "Throttling", "Too fast, please wait", UpstreamRateLimited),
    (429, "Throttling", "Too many tokens, please wait", UpstreamRateLimited),
    (429, "Throttling", "Too many tokens per day, please wait", QuotaExhausted),
    (400, "ServiceQuotaExceeded", "You have exceeded your quota", QuotaExhausted),
    (403, "AccessDenied", "Access is denied: INVALID_PAYMENT_INSTRUMENT", QuotaExhausted),
    (429, "ModelNotReady", "Model is not ready for inference", UpstreamOverloaded),
    (408, "ModelTimeout", "The request took too long", UpstreamFailed),
    (424, "ModelError", "The model failed", UpstreamFailed),
    (500, "InternalServer", "Internal", UpstreamFailed),
    (503, "ServiceUnavailable", "It is unable", UpstreamOverloaded),
    (400, "Validation", "Input is too long for requested model.", ContextTooLong),
    (400, "Validation", "prompt is too long: 210000 tokens > 200000 maximum", ContextTooLong),
    (400, "Validation", "Output blocked by content filtering policy", ContentBlocked),
    (400, "Validation", "Malformed input request", Refused),
    (404, "ResourceNotFound", "Could not resolve the foundation model", UpstreamNotFound),
    (400, "Validation", "x with on-demand throughput isn\u2019t supported", UpstreamNotFound),
    (302, "", "Moved", BadAnswer),
]


@pytest.mark.parametrize(("status", "kind", "words", "wanted"), CASES)
def test_an_error_is_named(status: int, kind: str, words: str, wanted: type[ProviderError]) -> None:
    """By its type, its words and its status, wherever the type stands."""
    kind = kind and f"{kind}Exception"
    headers = {"x-amzn-errortype": f"{kind}:http://internal.amazon.com/coral/"} if kind else {}
    error = decode_error(status, headers, json.dumps({"message": words}).encode())
    assert type(error) is wanted
    assert error.upstream_code == (kind or None)
    in_body = json.dumps({"__type": f"com.amazon#{kind}", "Message": words}).encode()
    assert type(decode_error(status, {}, in_body)) is wanted


def test_what_is_no_json_is_told_shortly() -> None:
    """A web page by its title, words as they are, nothing by its status."""
    page = b"<html><title>403 Forbidden</title></html>"
    assert "403 Forbidden" in decode_error(502, {}, page).message
    assert decode_error(500, {}, b"oops").message == "oops"
    assert decode_error(500, {}, b"").message == "the provider gave no reason (HTTP 500)"


def test_an_authentication_error_is_not_relayed() -> None:
    """Its words may hold a key."""
    error = decode_error(
        403, {"x-amzn-errortype": "UnrecognizedClientException"}, b'{"message":"AKIA"}'
    )
    assert error.message == "the provider did not accept our credential (HTTP 403)"


@pytest.mark.parametrize(
    ("kind", "data", "wanted"),
    [
        ("internalServerException", {"message": "x"}, UpstreamFailed),
        ("modelStreamErrorException", {"message": "x", "originalStatusCode": 500}, UpstreamFailed),
        ("modelTimeoutException", {"message": "x"}, UpstreamFailed),
        ("serviceUnavailableException", {"message": "x"}, UpstreamOverloaded),
        ("throttlingException", {"message": "x"}, UpstreamRateLimited),
        ("validationException", {"message": "x"}, Refused),
        ("validationException", {"message": "Input is too long"}, ContextTooLong),
        ("brandNewException", {"message": "x"}, UpstreamFailed),
    ],
)
def test_exceptions_in_a_stream(kind: str, data: object, wanted: type[ProviderError]) -> None:
    """Their names are spelled otherwise there, and mean the same."""
    with pytest.raises(ProviderError) as caught:
        decode_frame(event_message(kind, data, "exception"), Memo())
    assert type(caught.value) is wanted
    assert caught.value.upstream_code == kind


def test_what_the_model_itself_said_is_told() -> None:
    """Beside what Bedrock says of it."""
    data = {"message": "The model failed", "originalMessage": "overheated"}
    with pytest.raises(UpstreamFailed, match="The model failed: overheated"):
        decode_frame(event_message("modelStreamErrorException", data, "exception"), Memo())


def test_an_error_message_has_no_payload() -> None:
    """What it says stands in its headers."""
    headers = {":message-type": "error", ":error-code": "InternalError", ":error-message": "oh no"}
    with pytest.raises(UpstreamFailed, match="oh no") as caught:
        decode_frame(framed(headers, b""), Memo())
    assert caught.value.upstream_code == "InternalError"

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
    (403, "AccessDeniedException", "User: arn:... is not authorized to perform", AuthFailed),
    (403, "AccessDeniedException", "You don't have access to the model with the specified model ID.", UpstreamNotFound),
    (403, "ExpiredTokenException", "The security token included in the request is expired", AuthFailed),
    (403, "InvalidSignatureException", "The request signature we calculated does not match", AuthFailed),
    (403, "InvalidSignatureException", "Signature expired: 20241008T195522Z is now earlier than 20241008T195940Z (20241008T200440Z - 5 min.)", UpstreamFailed),
    (403, "InvalidSignatureException", "Signature not yet current: 20241008T195522Z is still later than 20241008T195000Z", UpstreamFailed),
    (403, "RequestTimeTooSkewed", "The difference is too large", UpstreamFailed),
    (403, "MissingAuthenticationTokenException", "Missing Authentication Token", AuthFailed),
    (403, "", "Bearer Token has expired", AuthFailed),
    (429, "ThrottlingException", "Too many requests, please wait before trying again.", UpstreamRateLimited),
    (429, "ThrottlingException", "Too many tokens, please wait before trying again.", UpstreamRateLimited),
    (429, "ThrottlingException", "Too many tokens per day, please wait before trying again.", QuotaExhausted),
    (400, "ServiceQuotaExceededException", "You have exceeded your quota", QuotaExhausted),
    (403, "AccessDeniedException", "Model access is denied due to INVALID_PAYMENT_INSTRUMENT: A valid payment instrument must be provided.", QuotaExhausted),
    (429, "ModelNotReadyException", "Model is not ready for inference", UpstreamOverloaded),
    (408, "ModelTimeoutException", "The request took too long", UpstreamFailed),
    (424, "ModelErrorException", "The model failed", UpstreamFailed),
    (500, "InternalServerException", "Internal", UpstreamFailed),
    (503, "ServiceUnavailableException", "Bedrock is unable to process your request.", UpstreamOverloaded),
    (400, "ValidationException", "Input is too long for requested model.", ContextTooLong),
    (400, "ValidationException", "The model returned the following errors: prompt is too long: 210000 tokens > 200000 maximum", ContextTooLong),
    (400, "ValidationException", "Output blocked by content filtering policy", ContentBlocked),
    (400, "ValidationException", "Malformed input request", Refused),
    (404, "ResourceNotFoundException", "Could not resolve the foundation model", UpstreamNotFound),
    (400, "ValidationException", "Invocation of model ID x with on-demand throughput isn\u2019t supported.", UpstreamNotFound),
    (302, "", "Moved", BadAnswer),
]  # fmt: skip


@pytest.mark.parametrize(("status", "kind", "words", "wanted"), CASES)
def test_an_error_is_named(status: int, kind: str, words: str, wanted: type[ProviderError]) -> None:
    """By its type, its words and its status, wherever the type stands."""
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

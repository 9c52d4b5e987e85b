"""Cohere's words say what failed, as far as its status lets them."""

import json

import pytest

from trunkline.dialects import load
from trunkline.errors import (
    ContentBlocked,
    ContextTooLong,
    ProviderError,
    QuotaExhausted,
    UpstreamFailed,
    UpstreamRateLimited,
)


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (429, "too many tokens per minute", UpstreamRateLimited),
        (429, "you have used your calls per month", QuotaExhausted),
        (400, "too many tokens: 9 of 8", ContextTooLong),
        (400, "blocked: the answer was toxic", ContentBlocked),
        (500, "upstream connection blocked", UpstreamFailed),
    ],
)
def test_words_count_beside_their_status(
    status: int, message: str, kind: type[ProviderError]
) -> None:
    """A limit per minute is no prompt that is too long, and a fault of theirs no refusal."""
    error = load("cohere").decode_error(status, {}, json.dumps({"message": message}).encode())
    assert type(error) is kind

"""When a rate limit has room again, by the headers that each provider writes in its own way."""

import pytest

from trunkline.codec import room_after_s
from trunkline.dialects.anthropic.errors import decode_error as decode_anthropic
from trunkline.dialects.openai_chat.errors import decode_error as decode_openai
from trunkline.errors import UpstreamFailed, UpstreamRateLimited

DATE = "Fri, 20 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("reset", "wait_s"),
    [
        ("6ms", 0.006),
        ("1m3s", 63.0),
        ("17.56s", 17.56),
        ("2h0m5s", 7205.0),
        ("12", 12.0),
        ("2026-11-20T10:00:30Z", 30.0),
        ("2026-11-20T12:00:30+02:00", 30.0),
        ("1795168830", 30.0),
        ("1795168830000", 30.0),
        ("0", None),
        ("2026-11-20T09:00:00Z", None),
        ("", None),
        ("soon", None),
        ("1.2.3s", None),
        ("9e99", None),
        ("-5", None),
    ],
)
def test_a_reset_is_read_in_every_way(reset: str, wait_s: float | None) -> None:
    """OpenAI and Groq write durations, Anthropic dates, gateways moments, Together seconds."""
    headers = {"date": DATE, "x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}
    assert room_after_s(headers) == (None if wait_s is None else pytest.approx(wait_s))


@pytest.mark.parametrize("reset", ["2026-11-20T10:00:30Z", "1795168830"])
def test_a_moment_needs_the_date_of_the_answer(reset: str) -> None:
    """Our own clock may be wrong."""
    assert room_after_s({"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}) is None


def test_only_what_is_used_up_counts() -> None:
    """A limit with room says nothing, however long its reset; of several the latest counts."""
    headers = {
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "24h",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "4s",
        "x-ratelimit-remaining-project-tokens": "0",
        "x-ratelimit-reset-project-tokens": "9s",
    }
    assert room_after_s(headers) == 9
    assert room_after_s({}) is None


ANTHROPIC = {
    "date": DATE,
    "anthropic-ratelimit-requests-remaining": "0",
    "anthropic-ratelimit-requests-reset": "2026-11-20T10:00:07Z",
    "anthropic-ratelimit-tokens-remaining": "80000",
    "anthropic-ratelimit-tokens-reset": "2026-11-20T11:00:00Z",
}
OPENAI = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "7s"}


@pytest.mark.parametrize(
    ("decode", "headers"), [(decode_openai, OPENAI), (decode_anthropic, ANTHROPIC)]
)
def test_a_429_carries_it(decode: object, headers: dict[str, str]) -> None:
    """Where nothing says it more plainly; other errors do not."""
    assert callable(decode)
    error = decode(429, headers, b'{"error": {"message": "slow down"}}')
    assert isinstance(error, UpstreamRateLimited)
    assert error.retry_after_s == 7
    assert decode(429, {**headers, "retry-after": "2"}, b"{}").retry_after_s == 2
    error = decode(500, headers, b'{"error": {"message": "down"}}')
    assert isinstance(error, UpstreamFailed)
    assert error.retry_after_s is None


def test_words_count_for_more_than_a_reset() -> None:
    """A reset is when all of it is back; the text says when there is enough."""
    body = b'{"error": {"message": "Rate limit reached. Please try again in 1.5s."}}'
    assert decode_openai(429, OPENAI, body).retry_after_s == 1.5

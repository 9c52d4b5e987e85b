"""What is left of a limit, in the words of each family."""

import pytest

from trunkline.gateway.surfaces.family import duration, family_of
from trunkline.types import Allowance, Room

SECOND_NS = 10**9


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0001, "1ms"),
        (0.006, "6ms"),
        (0.9991, "1s"),
        (1, "1s"),
        (17.56, "17.56s"),
        (59.9999, "1m0s"),
        (360, "6m0s"),
        (63.5, "1m3.5s"),
        (7325.25, "2h2m5.25s"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    """As OpenAI writes them, never too short."""
    assert duration(seconds) == text


def test_only_what_is_limited_is_said() -> None:
    """Either unit may be without a limit."""
    requests = Allowance(requests=Room(60, 59, 1.0))
    assert dict(family_of("openai_chat").rate_headers(requests, 0)) == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
    }
    tokens = Allowance(tokens=Room(600, 0, 90.2))
    assert dict(family_of("anthropic").rate_headers(tokens, 10 * SECOND_NS)) == {
        "anthropic-ratelimit-tokens-limit": "600",
        "anthropic-ratelimit-tokens-remaining": "0",
        "anthropic-ratelimit-tokens-reset": "1970-01-01T00:01:41Z",
    }

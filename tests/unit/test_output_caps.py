"""Caps on the output among a caller's own options: the smallest counts, and none is passed on."""

from typing import Any

import pytest
from msgspec import Raw
from msgspec.json import encode

from trunkline.caps import least_cap, take_cap


@pytest.mark.parametrize(
    ("cap", "options", "least"),
    [
        (None, {}, None),
        (20, {"temperature": 1}, 20),
        (20, {"generationConfig": {"maxOutputTokens": 60_000}}, 20),
        (20, {"generationConfig": {"max_output_tokens": 7, "maxOutputTokens": 9}}, 7),
        (None, {"inferenceConfig": {"maxTokens": 30}}, 30),
        (None, {"options": {"num_predict": 30}, "num_predict": 9}, 9),
        (None, {"n_predict": 8}, 8),
        (20, {"num_predict": -1, "n_predict": True, "options": {"num_predict": "9"}}, 20),
        (20, {"options": [1], "generationConfig": None, "inferenceConfig": {}}, 20),
        (0, {"num_predict": 5}, 0),
    ],
)
def test_the_smallest_cap_counts(
    cap: int | None, options: dict[str, Any], least: int | None
) -> None:
    """Whoever's word for it was used; what is no whole number above 0 is none."""
    fields = {name: Raw(encode(value)) for name, value in options.items()}
    assert least_cap(cap, fields) == least


def test_what_cannot_be_read_caps_nothing() -> None:
    """The dialect that has to read it refuses the request."""
    assert least_cap(20, {"options": Raw(b'{"num_predict": "\xff"}')}) == 20


def test_caps_are_taken_out() -> None:
    """All spellings; the rest of the options stays."""
    options = {"maxOutputTokens": 9, "max_output_tokens": "x", "topK": 3}
    assert take_cap(None, options, ("maxOutputTokens", "max_output_tokens")) == 9
    assert options == {"topK": 3}

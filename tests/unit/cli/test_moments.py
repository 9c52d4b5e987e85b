"""Times as people write them."""

from __future__ import annotations

import datetime

import click
import pytest

from trunkline.cli import moments
from trunkline.cli.moments import length_s, maybe_ns, moment, span, to_ns

NOW = datetime.datetime(2026, 11, 20, 20, 30, 15, tzinfo=datetime.UTC)
SECOND_NS = 10**9


def ns(text: str) -> int:
    """Return a time in ISO 8601 as nanoseconds since the epoch."""
    return int(datetime.datetime.fromisoformat(text).timestamp()) * SECOND_NS


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("current_month", "2026-11-01T00:00:00Z"),
        ("24h", "2026-11-19T20:30:15Z"),
        ("7d", "2026-11-13T20:30:15Z"),
        ("2026-11-01", "2026-11-01T00:00:00Z"),
        ("2026-11-01T12:00:00+01:00", "2026-11-01T11:00:00Z"),
        ("0001-01-01", "1970-01-01T00:00:00Z"),
    ],
)
def test_a_moment(text: str, wanted: str) -> None:
    """By UTC where no zone is named, and never before the epoch."""
    assert to_ns(text, "--since", NOW) == ns(wanted)


def test_no_moment_names_the_option() -> None:
    """And says what to write; nothing is none, which is no mistake."""
    with pytest.raises(click.BadParameter, match="24h, 7d or 2026-11-01") as caught:
        to_ns("soon", "--until", NOW)
    assert caught.value.param_hint == "--until"
    assert maybe_ns(None, "--until") is None


@pytest.mark.parametrize(
    ("period", "wanted"),
    [
        (None, "2026-11-01T00:00:00Z"),
        ("current_month", "2026-11-01T00:00:00Z"),
        ("today", "2026-11-20T00:00:00Z"),
        ("last_7d", "2026-11-13T20:30:15Z"),
        ("last_30d", "2026-10-21T20:30:15Z"),
    ],
)
def test_a_period(period: str | None, wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no end; without one it is the month."""
    monkeypatch.setattr(moments, "utc_now", lambda: NOW)
    assert span(period, None, None) == (ns(wanted), None)


def test_bounds_of_ones_own() -> None:
    """Either may be left open; with a period they contradict each other."""
    assert span(None, None, "2026-11-01") == (None, ns("2026-11-01T00:00:00Z"))
    assert span(None, "2026-11-01", None) == (ns("2026-11-01T00:00:00Z"), None)
    with pytest.raises(click.UsageError, match="not both"):
        span("today", None, "1d")


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("90", 90), ("90s", 90), ("15m", 900), ("24h", 86_400)]
)
def test_a_length_of_time(text: str, seconds: int) -> None:
    """In seconds unless it says otherwise."""
    assert length_s(text, "--grace") == seconds


@pytest.mark.parametrize("text", ["", "-1", "1w", "1.5h", "h"])
def test_no_length_of_time(text: str) -> None:
    """Wrong use."""
    with pytest.raises(click.BadParameter, match="is no length of time"):
        length_s(text, "--grace")


def test_a_moment_for_a_table() -> None:
    """By UTC, to the second."""
    assert moment(ns("2026-11-20T20:30:15Z") + 999) == "2026-11-20 20:30:15"

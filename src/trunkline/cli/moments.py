"""Moments as people write them on a command line, and as they read them."""

from __future__ import annotations

import datetime
import re

import click

_INT64_MAX = 2**63 - 1
_DAY = datetime.timedelta(days=1)
_LENGTHS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
PERIODS = ("current_month", "today", "last_7d", "last_30d")


def utc_now() -> datetime.datetime:
    """Return what time it is."""
    return datetime.datetime.now(tz=datetime.UTC)


def to_ns(text: str, option: str, now: datetime.datetime | None = None) -> int:
    """Return the moment `text` means, in nanoseconds since the epoch.

    It is `current_month`, a time ago (`24h`, `7d`), a date, or a time in ISO 8601.

    Raises:
        click.BadParameter: it means none; names `option`.
    """
    now = now or utc_now()
    try:
        if text == "current_month":
            start = _period_start(text, now)
        elif ago := re.fullmatch(r"(\d+)([hd])", text):
            start = now - datetime.timedelta(hours=int(ago[1]) * (24 if ago[2] == "d" else 1))
        else:
            start = datetime.datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text[:40]!r} is no time; write current_month, 24h, 7d or 2026-11-01",
            param_hint=option,
        ) from None
    return _as_ns(start if start.tzinfo else start.replace(tzinfo=datetime.UTC))


def span(period: str | None, since: str | None, until: str | None) -> tuple[int | None, int | None]:
    """Return the first moment of what is asked for, and the first one after it; None = open.

    Raises:
        click.UsageError: a period is given and something else as well, or there is no such moment.
    """
    if period is not None and (since, until) != (None, None):
        raise click.UsageError("write --period, or --since and --until, not both")
    if since is None and until is None:
        return _as_ns(_period_start(period or "current_month", utc_now())), None
    return maybe_ns(since, "--since"), maybe_ns(until, "--until")


def maybe_ns(text: str | None, option: str) -> int | None:
    """Return the moment `text` means, if it is there; see `to_ns`."""
    return None if text is None else to_ns(text, option)


def length_s(text: str, option: str) -> int:
    """Return how many seconds `90`, `15m`, `24h` or `7d` are.

    Raises:
        click.BadParameter: it is no such length; names `option`.
    """
    found = re.fullmatch(r"([0-9]{1,12})([smhd]?)", text)
    if found is None:
        raise click.BadParameter(
            f"{text[:40]!r} is no length of time; write 90 (seconds), 15m, 24h or 7d",
            param_hint=option,
        )
    return int(found[1]) * _LENGTHS[found[2] or "s"]


def moment(at_ns: int) -> str:
    """Write a moment for a table: `2026-11-20 12:00:00`, UTC."""
    return f"{datetime.datetime.fromtimestamp(at_ns // 10**9, tz=datetime.UTC):%F %T}"


def _period_start(period: str, now: datetime.datetime) -> datetime.datetime:
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if period in {"last_7d", "last_30d"}:
        return now - (7 if period == "last_7d" else 30) * _DAY
    return today if period == "today" else today.replace(day=1)


def _as_ns(at: datetime.datetime) -> int:
    return min(max(0, int(at.timestamp() * 1_000_000) * 1000), _INT64_MAX)

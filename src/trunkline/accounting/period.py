"""Which stretch of time a budget's money is for, and when there is new money.

Pure: the caller says what time it is, and keeps the answer until its `end_ns`.
"""

from __future__ import annotations

import datetime
from bisect import bisect_left

from msgspec import Struct

from trunkline.config.model import Period

_SECOND_NS = 1_000_000_000
_HOUR_NS = 3600 * _SECOND_NS
_DAY_NS = 24 * _HOUR_NS
_DAY = datetime.timedelta(days=1)

_ROLLING: dict[Period, tuple[int, int]] = {
    "day": (_DAY_NS, _HOUR_NS),
    "week": (7 * _DAY_NS, 6 * _HOUR_NS),
    "month": (30 * _DAY_NS, _DAY_NS),
}
"""Length and bucket; each length is a whole number of its buckets."""


class Window(Struct, frozen=True):
    """Which spending counts now; times are nanoseconds since the epoch."""

    start_ns: int
    """Start of the first bucket that counts."""
    bucket_ns: int
    """Start of the bucket that money spent now belongs to."""
    end_ns: int
    """The first moment that it no longer holds for: another one has to be asked for then."""
    resets_ns: int | None
    """When money comes back, all of it or, of a rolling period, perhaps some; None = never."""


_FOR_EVER = Window(0, 0, 2**63 - 1, None)  # the most that a database takes


def window(period: Period, now_ns: int, *, timezone: str = "UTC", rolling: bool = False) -> Window:
    """Return the window around `now_ns`.

    A day, an ISO week (from Monday) or a month is one bucket, from the first instant of its first
    date in `timezone` to the first instant of the next one's. A rolling period is the last 24
    hours, 7 days or 30 days, whatever the zone, in buckets of an hour, six hours or a day of UTC.
    All of its oldest bucket counts, up to one bucket more than its length: it refuses too much
    rather than too little. `total` is all of time, rolling or not.

    Raises:
        zoneinfo.ZoneInfoNotFoundError: no such zone here; the configuration has checked it.
    """
    if period == "total":
        return _FOR_EVER
    if rolling:
        length_ns, size_ns = _ROLLING[period]
        bucket_ns = now_ns - now_ns % size_ns
        end_ns = bucket_ns + size_ns
        return Window(bucket_ns - length_ns, bucket_ns, end_ns, end_ns)
    now_s, zone = now_ns // _SECOND_NS, _zone(timezone)
    first = _first_date(period, datetime.datetime.fromtimestamp(now_s, zone).date())
    following = _following(period, first)
    if now_s >= _begin_s(following, zone):
        # Put back from just after midnight, a clock shows the old date again in the new period.
        first, following = following, _following(period, following)
    start_ns, end_ns = (_begin_s(date, zone) * _SECOND_NS for date in (first, following))
    return Window(start_ns, start_ns, end_ns, end_ns)


def _zone(name: str) -> datetime.tzinfo:
    if name == "UTC":
        return datetime.UTC  # needs no zone data, and no module that reads it
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)


def _first_date(period: Period, date: datetime.date) -> datetime.date:
    """Return the first date of the period that `date` is in."""
    if period == "week":
        return date - date.weekday() * _DAY
    return date.replace(day=1) if period == "month" else date


def _following(period: Period, first: datetime.date) -> datetime.date:
    """Return the first date of the next period."""
    days = {"day": 1, "week": 7}.get(period, 31)
    return _first_date(period, first + days * _DAY)


def _begin_s(date: datetime.date, zone: datetime.tzinfo) -> int:
    """Return the first instant of a local date, in seconds since the epoch.

    Where clocks jump over midnight it is the instant of the jump.
    """
    midnight = datetime.datetime.combine(date, datetime.time(), zone)
    begin_s = int(midnight.timestamp())  # of two midnights the earlier one
    if _local(begin_s, zone) == midnight:
        return begin_s
    # There is no midnight. What Python took for it is after the jump, by no more than its width.
    before_s = int(midnight.replace(fold=1).timestamp())
    jump = range(before_s, begin_s)
    return before_s + bisect_left(jump, midnight, key=lambda at_s: _local(at_s, zone))


def _local(at_s: int, zone: datetime.tzinfo) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(at_s, zone)

"""Windows of budgets: periods of a time zone, and rolling ones."""

import sys
from bisect import bisect_left
from datetime import UTC, date, datetime, tzinfo
from functools import cache, partial
from typing import get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.accounting.period import Window, window
from trunkline.config.model import Period

S = 10**9
HOUR = 3600 * S
DAY = 24 * HOUR
CALENDAR: tuple[Period, ...] = ("day", "week", "month")
LENGTHS: dict[Period, tuple[int, int]] = {
    "day": (24 * HOUR, HOUR),
    "week": (7 * DAY, 6 * HOUR),
    "month": (30 * DAY, DAY),
}
ZONES = (
    "UTC",
    "Africa/Casablanca",
    "America/Havana",
    "America/New_York",
    "America/Sao_Paulo",
    "America/St_Johns",  # put back at 00:01 until 2011: a date ends, and comes again
    "Antarctica/Casey",  # by three hours at a time
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Kathmandu",
    "Atlantic/Azores",
    "Australia/Lord_Howe",  # by half an hour
    "Europe/Berlin",
    "Pacific/Apia",  # had no 30 December 2011
    "Pacific/Kwajalein",
)
END_S = int(datetime(2060, 1, 1, tzinfo=UTC).timestamp())


def ns(text: str) -> int:
    """Return the nanoseconds of an ISO time; one without an offset is in UTC."""
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) * S


def local(at_ns: int, zone: tzinfo) -> datetime:
    """Return what a clock on the wall shows."""
    return datetime.fromtimestamp(at_ns // S, zone)


@cache
def changes(name: str) -> list[int]:
    """Return the seconds since the epoch at which a zone's offset changes."""
    zone, week_s = ZoneInfo(name), 7 * 86_400

    def changed(at_s: int, since_s: int) -> bool:
        return local(at_s * S, zone).utcoffset() != local(since_s * S, zone).utcoffset()

    return [
        week[bisect_left(week, True, key=partial(changed, since_s=week[0]))]
        for start_s in range(0, END_S, week_s)
        if changed((week := range(start_s, start_s + week_s + 1))[-1], start_s)
    ]


@st.composite
def moments(draw: st.DrawFn) -> tuple[str, int]:
    """Draw a zone and a moment, often one about a change of the zone's clocks."""
    name = draw(st.sampled_from(ZONES))
    moment = st.integers(0, END_S * S)
    if near := changes(name):
        a_day = st.integers(-86_400 * S, 86_400 * S)
        moment |= st.builds(lambda s, by: max(s * S + by, 0), st.sampled_from(near), a_day)
    return name, draw(moment)


def stretch(period: Period, day: date) -> tuple[int, ...]:
    """Return which day, week or month a date is in."""
    if period == "week":
        return day.isocalendar()[:2]
    return (day.year, day.month, day.day)[: 3 if period == "day" else 2]


@given(moments(), st.sampled_from(CALENDAR))
def test_calendar_windows_tile_time(moment: tuple[str, int], period: Period) -> None:
    """Each holds now, is the same throughout, and ends where the next one starts."""
    zone, now = moment
    here = window(period, now, timezone=zone)
    assert here.start_ns <= now < here.end_ns
    assert here == Window(here.start_ns, here.start_ns, here.end_ns, here.end_ns)
    assert window(period, here.start_ns, timezone=zone) == here
    assert window(period, here.end_ns - 1, timezone=zone) == here
    assert window(period, here.end_ns, timezone=zone).start_ns == here.end_ns


@given(moments(), st.sampled_from(CALENDAR))
def test_a_period_begins_with_its_first_date(moment: tuple[str, int], period: Period) -> None:
    """Its start shows a new day, week or month; only clocks put back show the old one again."""
    name, now = moment
    zone = ZoneInfo(name)
    start = window(period, now, timezone=name).start_ns
    shown, first, last = (stretch(period, local(at, zone).date()) for at in (now, start, start - 1))
    assert last < first
    assert shown == first or (shown == last and now - start < 3 * HOUR)


@given(
    st.sampled_from(sorted(available_timezones())),
    st.integers(ns("2026-11-20"), END_S * S),
    st.sampled_from(CALENDAR),
)
def test_windows_are_of_whole_quarters_of_an_hour(name: str, now: int, period: Period) -> None:
    """In every zone there is: the records keep their sums by the quarter."""
    found = window(period, now, timezone=name)
    assert [at % (900 * S) for at in (found.start_ns, found.end_ns)] == [0, 0]


@given(moments(), moments(), st.sampled_from(get_args(Period)), st.booleans())
def test_windows_are_in_the_order_of_time(
    one: tuple[str, int], other: tuple[str, int], period: Period, rolling: bool
) -> None:
    """A later moment has no earlier window."""
    zone = one[0]
    before, after = (
        window(period, now, timezone=zone, rolling=rolling) for now in sorted((one[1], other[1]))
    )
    assert before.start_ns <= after.start_ns
    assert before.bucket_ns <= after.bucket_ns
    assert before.end_ns <= after.end_ns


@pytest.mark.parametrize(
    ("zone", "period", "now", "start", "end"),
    [
        ("UTC", "week", "2027-01-01T12:00", "2026-12-28T00:00", "2027-01-04T00:00"),
        ("UTC", "month", "2028-02-29T23:59", "2028-02-01T00:00", "2028-03-01T00:00"),
        ("UTC", "month", "2026-12-31T23:59", "2026-12-01T00:00", "2027-01-01T00:00"),
        # An offset of 5:45.
        ("Asia/Kathmandu", "day", "2026-11-20T18:15", "2026-11-20T18:15", "2026-11-21T18:15"),
        # Days of 23 and of 25 hours, and what they are part of.
        ("Europe/Berlin", "day", "2026-03-29T12:00", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("Europe/Berlin", "day", "2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00"),
        ("Europe/Berlin", "week", "2026-10-25T22:59", "2026-10-18T22:00", "2026-10-25T23:00"),
        ("Europe/Berlin", "month", "2026-03-31T21:59", "2026-02-28T23:00", "2026-03-31T22:00"),
        # 24.5 hours.
        ("Australia/Lord_Howe", "day", "2026-04-05T00:00", "2026-04-04T13:00", "2026-04-05T13:30"),
        # From 00:00 to 01:00: the day begins at one.
        ("America/Sao_Paulo", "day", "2018-11-04T12:00", "2018-11-04T03:00", "2018-11-05T02:00"),
        ("Asia/Beirut", "day", "2026-03-29T12:00", "2026-03-28T22:00", "2026-03-29T21:00"),
        # From 24:00 back to 23:00: the day before has the hour.
        ("Asia/Beirut", "day", "2026-10-24T21:30", "2026-10-23T21:00", "2026-10-24T22:00"),
        # From 01:00 back to 00:00: two midnights, the first one counts.
        ("America/Havana", "day", "2026-11-01T05:30", "2026-11-01T04:00", "2026-11-02T05:00"),
        # From 00:01 back to 23:01: the old date again, but not the old budget.
        ("America/St_Johns", "day", "2010-11-07T02:45", "2010-11-07T02:30", "2010-11-08T03:30"),
        ("America/St_Johns", "day", "2010-11-07T02:29", "2010-11-06T02:30", "2010-11-07T02:30"),
        # From 23:30 to 00:30: the day begins at half past.
        ("America/Toronto", "day", "1919-03-31T12:00", "1919-03-31T04:30", "1919-04-01T04:00"),
        # There was no 30 December.
        ("Pacific/Apia", "day", "2011-12-30T09:59", "2011-12-29T10:00", "2011-12-30T10:00"),
        ("Pacific/Apia", "day", "2011-12-30T10:00", "2011-12-30T10:00", "2011-12-31T10:00"),
    ],
)
def test_named_cases(zone: str, period: Period, now: str, start: str, end: str) -> None:
    """What the calendar of a place says, in UTC."""
    found = window(period, ns(now), timezone=zone)
    assert (found.start_ns, found.end_ns) == (ns(start), ns(end))


@given(st.integers(0, END_S * S), st.sampled_from(CALENDAR))
def test_a_rolling_window_covers_its_length(now: int, period: Period) -> None:
    """All of it, at most a bucket more, and as long as the present bucket lasts."""
    length, size = LENGTHS[period]
    found = window(period, now, rolling=True)
    assert length <= now - found.start_ns < length + size
    assert found.bucket_ns <= now < found.end_ns == found.resets_ns == found.bucket_ns + size
    assert [at % size for at in (found.start_ns, found.bucket_ns)] == [0, 0]
    assert window(period, found.end_ns - 1, rolling=True) == found
    after = window(period, found.end_ns, rolling=True)
    assert (after.start_ns, after.bucket_ns) == (found.start_ns + size, found.end_ns)


def test_a_rolling_window_asks_no_zone() -> None:
    """Its buckets are those of UTC, so that a change of clocks moves nothing."""
    now = ns("2026-10-25T00:59:59")
    found = window("day", now, timezone="Europe/Berlin", rolling=True)
    assert found == Window(
        ns("2026-10-24T00:00"), ns("2026-10-25T00:00"), ns("2026-10-25T01:00"), found.end_ns
    )


@pytest.mark.parametrize("rolling", [False, True])
def test_total_is_all_of_time(rolling: bool) -> None:
    """One window for ever, as far as 64 bits of a database go; nothing comes back."""
    found = window("total", ns("2026-11-20T12:00"), timezone="Asia/Beirut", rolling=rolling)
    assert found == Window(0, 0, 2**63 - 1, None)


def test_a_zone_that_is_not_there_is_an_error() -> None:
    """Never UTC in its place."""
    with pytest.raises(ZoneInfoNotFoundError):
        window("day", 0, timezone="Europe/Atlantis")


def test_utc_needs_no_zone_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small container has none, and works."""
    monkeypatch.setitem(sys.modules, "zoneinfo", None)
    now = ns("2026-11-20T12:00")
    assert window("day", now).end_ns == now + 12 * HOUR

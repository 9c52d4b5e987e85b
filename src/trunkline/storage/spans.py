"""Days added up to spans of 2, 4, 8, ... 512 days, so that a year is not read day by day.

A span is made when all its days are over, out of the two halves of it; until then its days are read
one by one. What comes later is added to the spans that were made, so they are always exact. `meta`
says up to which day they were made. A migration fills nothing: the next calls that come do.
"""

from __future__ import annotations

from collections.abc import Mapping

from trunkline.storage.counts import COUNTS, DAY_KEY, KINDS, counting
from trunkline.storage.database import Session, Words

SIZES = tuple(2**power for power in range(1, 10))
"""In days; each begins where its size divides the day."""
_DAYS_AT_ONCE = 8
"""Others cannot write meanwhile, so where there is much to be made it takes several turns."""
_MADE = "usage_spans_until"
_KINDS = ", ".join(f"'{kind}'" for kind in (*KINDS, "tag"))
_ADD = counting("usage_spans", ("days", *DAY_KEY), COUNTS)
_NOTE = (
    "INSERT INTO meta (key, value) VALUES (?, ?) "
    "ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)


def made(db: Session) -> int:
    """Return the day before which all spans are made."""
    row = db.execute("SELECT value FROM meta WHERE key = ?", (_MADE,)).fetchone()
    return int(row["value"]) if row else 0


def add_late(db: Session, days: Mapping[tuple[str, int, str, str], list[int]]) -> None:
    """Add what belongs to spans that are made: counts by the key of `usage_days`."""
    until = made(db)
    late: dict[tuple[int, str, int, str, str], list[int]] = {}
    for (kind, day, tenant_id, name), counts in days.items():
        if day < until:
            for size in SIZES:
                begin = day // size * size
                if begin + size <= until:
                    found = late.setdefault((size, kind, begin, tenant_id, name), [0] * len(counts))
                    found[:] = [one + other for one, other in zip(found, counts, strict=True)]
    if late:
        db.executemany(_ADD, [(*place, *late[place]) for place in sorted(late)])


def make(db: Session, words: Words) -> None:
    """Make the spans that are over, or the oldest of them, before the newest day there is."""
    until = made(db)
    row = db.execute("SELECT max(day) AS day FROM usage_days WHERE kind = 'team'").fetchone()
    newest = (row["day"] or 0) // 2 * 2
    if newest <= until:
        return
    first = "SELECT min(day) AS day FROM usage_days WHERE kind = 'team' AND day >= ?"
    row = db.execute(first, (until,)).fetchone()
    now = min(newest, row["day"] // 2 * 2 + _DAYS_AT_ONCE)
    db.execute(words.unhurried)
    for size in SIZES:
        between = (until // size * size, now // size * size)
        if between[0] < between[1]:
            db.execute(_making(size), between)
    db.execute(_NOTE, (_MADE, str(now)))


def _making(size: int) -> str:
    """Return the statement that makes the spans of one size between two days."""
    halves = "usage_days WHERE" if size == 2 else f"usage_spans WHERE days = {size // 2} AND"
    sums = ", ".join(f"sum({name})" for name in COUNTS)
    return (
        f"INSERT INTO usage_spans (days, {', '.join(DAY_KEY)}, {', '.join(COUNTS)}) "
        f"SELECT {size}, kind, day / {size} * {size}, tenant_id, name, {sums} FROM {halves} "
        f"kind IN ({_KINDS}) AND day >= ? AND day < ? GROUP BY kind, day / {size}, tenant_id, name"
    )


def parts(first: int, last: int, until: int) -> list[tuple[int, int, int]]:
    """Return what the days from `first` to before `last` are made of, as few rows as there are.

    Each is a size (1 = the days themselves) and the days from which, and before which, spans of it
    begin.

    Args:
        until: the day before which spans are made.
    """
    found: list[tuple[int, int, int]] = []
    day = first
    while day < last:
        whole = [size for size in SIZES if day % size == 0 and day + size <= min(last, until)]
        size = whole[-1] if whole else 1
        begin, day = day, day + size if day < until else last
        if found and found[-1][0] == size:
            begin = found.pop()[1]
        found.append((size, begin, day))
    return found

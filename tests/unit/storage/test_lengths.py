"""Names that are too long to be looked up by."""

import random
from typing import Any

import pytest

from tests.journal_records import called, ended, whole
from trunkline.storage.lengths import fitting, fitting_end
from trunkline.storage.store import Store

LETTERS = "".join(random.Random(7).choices("abcdef", k=900))
"""Which no engine makes shorter."""
LONG = ["x" * 3_000, "\u20ac" * 1_000, "\x01" * 900, LETTERS]
FIELDS = ("model", "deployment", "key_id", "user_id", "team_id", "tenant_id", "run")


@pytest.mark.parametrize("name", LONG)
def test_no_name_stops_ingestion(store: Store, name: str) -> None:
    """On any engine: the call is there, counted and charged, under a name that is cut."""
    who: dict[str, Any] = dict.fromkeys(FIELDS, name) | {
        "tags": tuple(f"{n}{name}" for n in range(99))
    }
    store.apply("owner.log", 1, whole(name, **who))
    (row,) = store.calls()
    assert row.attempts[0].cost.nusd == 120
    assert store.settled("global", 0) == 120
    assert row.call.user_id is not None
    assert store.settled(f"user:{row.call.user_id}", 0) == 120
    assert store.usage("user")[0].value == row.call.user_id
    assert len(row.call.user_id.encode()) <= 128
    assert 1 <= len(row.call.tags) < 99


def test_what_calls_may_have_stays_as_it_is(store: Store) -> None:
    """All that is let in before it begins: 2,400 bytes, and a run of 256 characters."""
    letters = random.Random(7)
    who: dict[str, Any] = {name: "".join(letters.choices("abcdef", k=250)) for name in FIELDS}
    who["run"] = "\u20ac" * 256
    who["tags"] = tuple("".join(letters.choices("abcdef", k=200)) for _ in range(4))
    store.apply("owner.log", 1, whole("c", **who))
    (row,) = store.calls()
    assert {name: getattr(row.call, name) for name in who} == who


def test_two_long_names_stay_two() -> None:
    """Though they begin alike; the same one is always cut alike, and once."""
    first, second = (fitting(called(user_id="u" * 3000 + end)) for end in "ab")
    assert first.user_id != second.user_id
    assert first == fitting(called(user_id="u" * 3000 + "a")) == fitting(first)


@pytest.mark.parametrize("id", ["c" * 399, "c" * 400, "c" * 401, "c" * 5000])
def test_the_records_of_a_call_keep_one_id(id: str) -> None:
    """However long, and whatever else each of them has."""
    ids = {fitting_end(ended(id)).call_id}
    ids |= {fitting(called(id)).call_id, fitting(called(id, user_id="u" * 5000)).call_id}
    assert len(ids) == 1

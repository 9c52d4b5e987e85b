"""However records come, each attempt and each call is counted once, with the end that counts."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.journal_records import begun, called, died, died_call, ended, whole
from trunkline.storage.changes import AttemptChange, CallChange, Changes, Weight, changes
from trunkline.storage.outbox import Outbox
from trunkline.storage.records import Batch
from trunkline.storage.store import Store
from trunkline.storage.sums import QUARTER_NS
from trunkline.types.answer import Usage
from trunkline.types.call import Cost
from trunkline.types.record import Record

FILE = "owner.000000.log"
REAL = Weight(Usage(prompt_tokens=10, completion_tokens=5), 120)
KEY = ("quarter", "model", "deployment", "key_id", "user_id", "team_id", "tenant_id", "tags")


def would(store: Store, *records: Record) -> Changes:
    """Return what records would change."""
    with store.database.session() as db:
        return changes(db, store.database, Batch(records))


@pytest.mark.parametrize("order", [*itertools.permutations(range(3))])
def test_any_order(store: Store, order: tuple[int, ...]) -> None:
    """An attempt is new when both its records are here, a call with its own; then nothing is."""
    records: list[Record] = [begun(), ended(), called()]
    seen: list[int] = []
    for number in order:
        found = would(store, records[number])
        both = number < 2 and 1 - number in seen
        assert found.attempts == ([AttemptChange(begun(), ended(), None)] if both else [])
        assert found.calls == ([CallChange(called(), None)] if number == 2 else [])
        store.apply(FILE, 1, [records[number]])
        seen.append(number)
    assert would(store, *(records[number] for number in order)).attempts == []


def test_a_batch_with_everything(store: Store) -> None:
    """What comes together, even twice, changes what it would one by one."""
    found = would(store, *whole("a"), begun("a"), died("a"), died_call("a"), ended("a", 2))
    assert found.attempts == [AttemptChange(begun("a"), ended("a"), None)]
    assert found.calls == [CallChange(called("a"), None)]


def test_a_real_end_replaces_a_recovered_one(store: Store) -> None:
    """What was counted until now comes with it; the reverse changes nothing."""
    store.apply(FILE, 1, [begun(), died(), died_call()])
    found = would(store, ended(), called())
    assert found.calls == [CallChange(called(), died_call())]
    assert found.attempts == [AttemptChange(begun(), ended(), Weight(Usage(), 500))]
    store.apply(FILE, 1, [ended(), called()])
    assert would(store, begun(), died(), died_call()) == ([], [])
    assert would(store, ended(), begun()).attempts == []


def test_an_end_that_waited_for_its_beginning(store: Store) -> None:
    """It counts with the beginning; the real one, if a recovered one comes with it."""
    store.apply(FILE, 1, [ended()])
    (change,) = would(store, died(), begun()).attempts
    assert (Weight(change.ended.usage, change.ended.cost_nusd), change.before) == (REAL, None)
    store.apply(FILE, 1, [died(), begun(), called()])
    ((attempt,),) = (row.attempts for row in store.calls())
    assert (attempt.started_ns, attempt.outcome, attempt.cost) == (1_000, "complete", Cost(120))


def test_what_is_absurd_is_counted_as_it_is_kept(store: Store) -> None:
    """The same absurd numbers again are no change of any sum."""
    absurd = ended(cost_nusd=2**70, usage=Usage(prompt_tokens=2**64))
    for _ in range(2):
        store.apply(FILE, 1, [begun(), absurd, called()])
    (row,) = store.usage("model")
    assert (row.cost_nusd, row.prompt_tokens, row.requests) == (2**43, 2**43, 1)


# --- sums are what the rows say -------------------------------------------------------------------

NAMES = st.sampled_from([None, "x"])


@st.composite
def calls(draw: st.DrawFn, call_id: str) -> list[Record]:
    """Draw all records of a call, ended by its process, by recovery, or by both."""
    who: dict[str, Any] = {name: draw(NAMES) for name in KEY[3:7]}
    who["tags"] = draw(st.sampled_from([(), ("a",), ("b", "a", "b")]))
    who["tracked"] = draw(st.booleans())
    who["run"] = draw(NAMES)
    records: list[Record] = []
    attempts = draw(st.integers(0, 2))
    for n in range(1, attempts + 1):
        at_ns = draw(st.integers(0, 2)) * QUARTER_NS
        target = draw(st.sampled_from(["openai/a", "other/b"]))
        records.append(begun(call_id, n, started_ns=at_ns, deployment=target, **who))
        cost_nusd = draw(st.sampled_from([None, 0, 7]))
        usage = Usage(prompt_tokens=draw(st.integers(0, 3)), cache_read_tokens=1)
        end = ended(call_id, n, cost_nusd=cost_nusd, usage=usage)
        records += draw(st.sampled_from([[], [end], [died(call_id, n)], [died(call_id, n), end]]))
    who["cost_state"] = draw(st.sampled_from(["exact", "unknown"]))
    who["deployment"] = draw(st.sampled_from([None, "openai/a", "other/b"]))
    end_of_call = called(call_id, started_ns=draw(st.integers(0, 1)) * QUARTER_NS, **who)
    died_too = died_call(call_id, **{**who, "started_ns": QUARTER_NS, "cost_state": "estimated"})
    endings: list[list[Record]] = [[], [end_of_call], [died_too, end_of_call]]
    if attempts:
        endings.append([died_too])
    return records + draw(st.sampled_from(endings))


def counted(store: Store) -> dict[tuple[Any, ...], tuple[int, ...]]:
    """Return the sums as they were added up."""
    with store.database.session() as db:
        rows = [tuple(row) for row in db.execute("SELECT * FROM usage_sums")]
    return {row[:9]: row[9:] for row in rows if any(row[9:])}


def added(store: Store) -> dict[tuple[Any, ...], tuple[int, ...]]:
    """Return the same, added up over all rows now."""
    of_attempts = """
        SELECT a.started_ns, c.model, a.deployment, c.key_id, c.user_id, c.team_id, c.tenant_id,
            c.tags, c.tracked, 0, 1, a.prompt_tokens, a.completion_tokens, a.cache_read_tokens,
            a.reasoning_tokens, a.cost_nusd, 0, CASE WHEN a.cost_nusd IS NULL THEN 1 ELSE 0 END
        FROM attempts AS a JOIN calls AS c ON c.call_id = a.call_id
        WHERE a.outcome IS NOT NULL AND a.started_ns IS NOT NULL"""
    of_calls = """
        SELECT started_ns, model, deployment, key_id, user_id, team_id, tenant_id, tags, tracked,
            1, 0, 0, 0, 0, 0, 0, CASE WHEN cost_state = 'unknown' THEN 1 ELSE 0 END, 0
        FROM calls WHERE outcome IS NOT NULL"""
    sums: dict[tuple[Any, ...], list[int]] = {}
    with store.database.session() as db:
        rows = [tuple(row) for query in (of_attempts, of_calls) for row in db.execute(query)]
    for started_ns, *names, tags, tracked, requests, one, p, c, r, t, cost, u, v in rows:
        key = (started_ns // QUARTER_NS, *(name or "" for name in names), tags, tracked)
        counts = (requests, one, p, c, r, t, cost or 0, u, v)
        sums[key] = [a + b for a, b in zip(sums.get(key, [0] * 9), counts, strict=True)]
    return {key: tuple(counts) for key, counts in sums.items()}


@given(data=st.data())
def test_sums_are_exact(
    store: Store, clear: Callable[[], None], tmp_path: Path, data: st.DataObject
) -> None:
    """After every batch of whatever was shuffled and repeated; hooks hear of each attempt once."""
    clear()
    outbox = Outbox(store.database, tmp_path)
    outbox.subscribe(["hook"], now_ns=0)
    drawn = [data.draw(calls(call_id)) for call_id in "ab"]
    records = [record for each in drawn for record in each]
    again = data.draw(st.lists(st.sampled_from(records), max_size=4)) if records else []
    order = iter(data.draw(st.permutations([*records, *again])))
    while batch := list(itertools.islice(order, data.draw(st.integers(1, 5)))):
        store.apply(FILE, 1, batch)
        assert counted(store) == added(store)
    attempts = sum(row[1] for row in counted(store).values())
    assert outbox.counts() == ({"waiting": attempts} if attempts else {})

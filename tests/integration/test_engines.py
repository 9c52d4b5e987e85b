"""The engines give the same answers."""

import contextlib
import random
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.journal_records import begun, called, ended
from trunkline.storage.postgres import PostgresDatabase
from trunkline.storage.rows import By, CallFilter
from trunkline.storage.sqlite import SqliteDatabase
from trunkline.storage.store import Store
from trunkline.types.answer import Usage
from trunkline.types.record import Record

DAY_NS = 86_400 * 10**9
HERE = Path(__file__).parent
_ASKS = re.compile(r"^(?:async )?def test_\w+\([^)]*\b(?:database|engine|old|place|store): ", re.M)
_OWN = re.compile(r"^@pytest\.fixture.*\ndef (?:database|engine|place|store)\(", re.M)
"""Where it makes its own, it is about one engine."""


def _records(dice: random.Random) -> list[Record]:
    """Return calls of every kind, some unfinished, in any order, some records twice."""
    records: list[Record] = []
    for number in range(60):
        call_id = f"c{number}"
        who: dict[str, Any] = {
            name: dice.choice([None, f"{name}1", f"{name}2"])
            for name in ("key_id", "user_id", "team_id", "tenant_id", "run")
        }
        who |= {
            "model": dice.choice("xyz"),
            "tags": tuple(dice.sample(["a", "b", 'c"\\', "ü"], dice.randrange(4))),
            "tracked": dice.random() < 0.9,
            "started_ns": dice.randrange(3 * DAY_NS),
        }
        cost_nusd, state = dice.choice([(None, "unknown"), (dice.randrange(2**40), "exact")])
        cost: dict[str, Any] = {"cost_nusd": cost_nusd, "cost_state": state}
        usage = Usage(prompt_tokens=dice.randrange(99), completion_tokens=dice.randrange(10**6))
        latency_ms = dice.choice([None, dice.random()])
        records += [
            begun(call_id, deployment=dice.choice(["openai/a", "anthropic/b", "alone"]), **who),
            ended(call_id, usage=usage, latency_ms=latency_ms, **cost),
            called(call_id, route=("a", "b"), **cost, **who),
        ]
    records = [record for record in records if dice.random() < 0.9]
    records += dice.sample(records, 30)
    dice.shuffle(records)
    return records


def _sorted(rows: list[Any]) -> list[Any]:
    return sorted(rows, key=repr)


def _answers(store: Store) -> list[Any]:
    """Return all that a store tells."""
    scopes = ["global", "key:key_id1", "user:user_id2", "team:team_id1", "tenant:tenant_id2"]
    scopes += ["tag:ü", 'tag:c"\\', "run:run1", "provider:openai", "deployment:anthropic/b"]
    return [
        store.offset("o.1"),
        store.calls(1000, CallFilter(hidden=True)),
        *(store.calls(5, CallFilter(tag=tag, model="x")) for tag in ("a", 'c"\\', "none")),
        *(_sorted(store.usage(by)) for by in get_args(By)),
        *(store.settled(scope, 0) for scope in scopes),
        _sorted(store.loose_ends("o")),
    ]


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_asked_the_engine_makes_no_difference(
    database_url: str, tmp_path: Path, seed: int
) -> None:
    """The same records, in the same batches, give the same answers in SQLite and in PostgreSQL."""
    dice = random.Random(seed)
    records = _records(dice)
    with (
        contextlib.closing(Store(PostgresDatabase(database_url))) as postgres,
        contextlib.closing(Store(SqliteDatabase(tmp_path / "trunkline.db"))) as sqlite,
    ):
        for end in range(25, len(records) + 25, 25):
            for store in (postgres, sqlite):
                store.apply("o.1", end, records[end - 25 : end])
        assert _answers(postgres) == _answers(sqlite)


@pytest.mark.parametrize("folder", ["accounting", "gateway", "storage"])
def test_what_asks_a_database_asks_a_server_too(folder: str) -> None:
    """Each module of tests/unit that asks the database of its folder has its like here."""
    asking = {
        path.name
        for path in (HERE.parent / "unit" / folder).glob("test_*.py")
        if _ASKS.search(text := path.read_text()) and not _OWN.search(text)
    }
    assert asking
    assert asking <= {path.name for path in (HERE / folder).iterdir()}

"""Every engine of the shared ledger."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ledgers import Engine, InProcessEngine, SqlEngine
from trunkline.storage.database import Database
from trunkline.storage.ledger import SqlLeases


@pytest.fixture(params=["in_process", "sqlite", "postgres", "valkey"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An engine with nothing in it."""
    if request.param == "in_process":
        yield InProcessEngine()
        return
    database: Database
    if request.param == "sqlite":
        from trunkline.storage.sqlite import SqliteDatabase

        database = SqliteDatabase(tmp_path / "ledger.db")
    else:
        from trunkline.storage.postgres import PostgresDatabase

        database = PostgresDatabase(request.getfixturevalue("database_url"))
    leases: SqlLeases | None = None
    if request.param == "valkey":
        from trunkline.storage.valkey import Valkey
        from trunkline.storage.valkey_leases import ValkeyLeases

        leases = ValkeyLeases(database, Valkey(request.getfixturevalue("valkey").url))
    yield SqlEngine(database, leases)
    (leases or database).close()

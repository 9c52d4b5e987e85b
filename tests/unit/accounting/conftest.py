"""Every engine of the shared ledger."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ledgers import Engine, InProcessEngine, SqlEngine
from trunkline.storage.database import Database


@pytest.fixture(params=["in_process", "sqlite", "postgres"])
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
    yield SqlEngine(database)
    database.close()

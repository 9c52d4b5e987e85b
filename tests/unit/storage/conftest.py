"""An empty database of every engine, and what stands on it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from trunkline.storage.database import Database
from trunkline.storage.schema import tables
from trunkline.storage.sqlite import SqliteDatabase
from trunkline.storage.store import Store

if TYPE_CHECKING:
    from tests.servers import Postgres


@pytest.fixture(scope="session")
def postgres_database(postgres_server: Postgres) -> Iterator[Database]:
    """One database for all tests here: to empty it is quicker than to make another."""
    from trunkline.storage.postgres import PostgresDatabase

    with postgres_server.database() as url, closing(PostgresDatabase(url)) as made:
        yield made


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database."""
    made: Database
    if request.param == "sqlite":
        made = SqliteDatabase(tmp_path / "trunkline.db")
    else:
        request.getfixturevalue("postgres")
        made = request.getfixturevalue("postgres_database")
        empty(made)
    yield made
    made.close()


@pytest.fixture
def store(database: Database) -> Store:
    """An empty store."""
    return Store(database)


@pytest.fixture
def clear(database: Database) -> Callable[[], None]:
    """Return what removes all rows."""
    return lambda: empty(database)


def empty(database: Database) -> None:
    """Remove all rows, but not what version the tables have."""
    with database.session(write=True) as db:
        for table in re.findall(r"CREATE TABLE (\w+)", tables(database.words)):
            if table != "meta":
                db.execute(f"DELETE FROM {table}")

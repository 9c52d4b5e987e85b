"""Empty databases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from trunkline.storage.database import Database
from trunkline.storage.sqlite import SqliteDatabase


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database of each engine."""
    made: Database
    if request.param == "sqlite":
        made = SqliteDatabase(tmp_path / "trunkline.db")
    else:
        from trunkline.storage.postgres import PostgresDatabase

        made = PostgresDatabase(request.getfixturevalue("database_url"))
    with closing(made):
        yield made


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    """An empty database of the engine that is quick to make."""
    with closing(SqliteDatabase(tmp_path / "trunkline.db")) as made:
        yield made

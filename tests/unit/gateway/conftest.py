"""An empty database; tests/integration/gateway has it on PostgreSQL."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from trunkline.storage.database import Database
from trunkline.storage.sqlite import SqliteDatabase


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An empty database."""
    with closing(SqliteDatabase(tmp_path / "trunkline.db")) as made:
        yield made


@pytest.fixture
def sqlite(database: Database) -> Database:
    """The same, where the engine makes no difference: such tests are not run on another."""
    return database

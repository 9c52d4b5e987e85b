"""An empty database, and what stands on it; tests/integration/storage has it on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.databases import Open, empty
from trunkline.storage.database import Database
from trunkline.storage.sqlite import SqliteDatabase
from trunkline.storage.store import Store


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An empty database."""
    with closing(SqliteDatabase(tmp_path / "trunkline.db")) as made:
        yield made


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Open]:
    """Open the same database, which is not there yet, as often as wanted."""
    with ExitStack() as stack:
        path = tmp_path / "trunkline.db"
        yield lambda **how: stack.enter_context(closing(SqliteDatabase(path, **how)))


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Database]:
    """Another empty database."""
    with closing(SqliteDatabase(tmp_path / "other.db")) as made:
        yield made


@pytest.fixture
def store(database: Database) -> Store:
    """An empty store."""
    return Store(database)


@pytest.fixture
def clear(database: Database) -> Callable[[], None]:
    """Return what removes all rows."""
    return lambda: empty(database)

"""An empty database of PostgreSQL, and what stands on it."""

from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from tests.databases import Open, empty
from tests.servers import Postgres
from tests.unit.storage.conftest import clear, store
from trunkline.storage.database import Database
from trunkline.storage.postgres import PostgresDatabase

__all__ = ["clear", "database", "one_database", "other", "place", "store"]


@pytest.fixture(scope="session")
def one_database(postgres_server: Postgres) -> Iterator[Database]:
    """One for all tests here: to empty it is quicker than to make another."""
    with postgres_server.database() as url, closing(PostgresDatabase(url)) as made:
        yield made


@pytest.fixture
def database(postgres: Postgres, one_database: Database) -> Iterator[Database]:
    """An empty database."""
    empty(one_database)
    yield one_database
    one_database.close()


@pytest.fixture
def place(database_url: str) -> Iterator[Open]:
    """Open the same database, which is not there yet, as often as wanted."""
    with ExitStack() as stack:
        yield lambda **how: stack.enter_context(closing(PostgresDatabase(database_url, **how)))


@pytest.fixture
def other(postgres: Postgres) -> Iterator[Database]:
    """Another empty database."""
    with postgres.database() as url, closing(PostgresDatabase(url)) as made:
        yield made

"""An empty database of PostgreSQL."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from trunkline.storage.database import Database
from trunkline.storage.postgres import PostgresDatabase


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An empty database."""
    with closing(PostgresDatabase(database_url)) as made:
        yield made

"""The engines of the shared ledger that are servers."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.ledgers import Engine, SqlEngine
from tests.servers import Valkey as Server
from trunkline.storage.ledger import SqlLeases
from trunkline.storage.postgres import PostgresDatabase
from trunkline.storage.valkey import Valkey
from trunkline.storage.valkey_leases import ValkeyLeases


@pytest.fixture(params=["postgres", "valkey"])
def engine(request: pytest.FixtureRequest, database_url: str) -> Iterator[Engine]:
    """An engine with nothing in it."""
    database = PostgresDatabase(database_url)
    leases = SqlLeases(database)
    if request.param == "valkey":
        server: Server = request.getfixturevalue("patient_valkey")
        leases = ValkeyLeases(database, Valkey(server.url))
    with closing(leases):
        yield SqlEngine(database, leases)

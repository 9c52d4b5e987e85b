"""One PostgreSQL and one Valkey per test process, started when a test first asks for it.

A test may stop one: it runs again for the next test.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.servers import Postgres, Valkey


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """Run the PostgreSQL of this process."""
    from tests import servers  # its drivers are loaded only by those who need them

    with servers.postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture
def postgres(postgres_server: Postgres) -> Postgres:
    """Return a PostgreSQL that runs."""
    postgres_server.start()
    return postgres_server


@pytest.fixture
def database_url(postgres: Postgres) -> Iterator[str]:
    """Return the URL of an empty database that no other test sees."""
    with postgres.database() as url:
        yield url


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """Run the Valkey of this process."""
    from tests import servers

    with servers.valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def valkey(valkey_server: Valkey) -> Valkey:
    """Return a Valkey that runs and is empty."""
    valkey_server.start()
    valkey_server.flush()
    return valkey_server


@pytest.fixture
def patient_valkey(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> Valkey:
    """The same; however busy the machine is, it is not taken for silent."""
    from trunkline.storage import valkey as client

    monkeypatch.setattr(client, "_TIMEOUT_S", 30)
    return valkey

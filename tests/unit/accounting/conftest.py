"""Engines of the shared ledger that need no server; tests/integration/accounting has the rest."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.ledgers import Engine, InProcessEngine, SqlEngine
from trunkline.storage.sqlite import SqliteDatabase


@pytest.fixture(params=["in_process", "sqlite"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An engine with nothing in it."""
    if request.param == "in_process":
        yield InProcessEngine()
        return
    with closing(SqliteDatabase(tmp_path / "ledger.db")) as database:
        yield SqlEngine(database)

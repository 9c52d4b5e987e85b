"""The same, on PostgreSQL, and what only that one does."""

from tests.databases import Open
from tests.unit.storage.test_migrations import *
from tests.unit.storage.test_migrations import Apply, ask, step, version


def test_a_migration_may_take_long(place: Open, release: Apply) -> None:
    """PostgreSQL ends no statement of it, however long; but it waits for no table that long."""
    version(place())
    limits = "current_setting('statement_timeout') AS a, current_setting('lock_timeout') AS b"
    release(step(f"CREATE TABLE said AS SELECT {limits}"))
    assert ask(place(), "SELECT a, b FROM said") == [("0", "10s")]

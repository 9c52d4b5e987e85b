"""PostgreSQL breaks while it ends."""

from contextlib import closing

import psycopg
import pytest

from trunkline.accounting.leases import Unsure
from trunkline.errors import RecordError
from trunkline.storage.database import Session
from trunkline.storage.postgres import PostgresDatabase


def test_postgresql_says_when_it_is_unsure(database_url: str) -> None:
    """Where it broke at the COMMIT; what broke before that is not done."""

    def cut(db: Session, *then: str) -> None:
        (pid,) = db.execute("SELECT pg_backend_pid()").fetchone()
        with psycopg.connect(database_url) as admin:
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        for statement in then:
            db.execute(statement)

    with closing(PostgresDatabase(database_url)) as database:
        with pytest.raises(Unsure), database.session(write=True) as db:
            cut(db)
        with pytest.raises(RecordError) as caught, database.session(write=True) as db:
            cut(db, "SELECT 1")
        assert not isinstance(caught.value, Unsure)

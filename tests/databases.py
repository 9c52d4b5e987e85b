"""What tests of databases share, whatever the engine is."""

import re
from collections.abc import Callable

from trunkline.storage.database import Database
from trunkline.storage.schema import tables

Open = Callable[..., Database]


def empty(database: Database) -> None:
    """Remove all rows, but not what version the tables have."""
    with database.session(write=True) as db:
        for table in re.findall(r"CREATE TABLE (\w+)", tables(database.words)):
            kept = " WHERE key NOT LIKE 'schema%'" if table == "meta" else ""
            db.execute(f"DELETE FROM {table}{kept}")

"""Every field of a record has its column."""

from __future__ import annotations

import sqlite3

import pytest

from trunkline.storage.records import PAYER
from trunkline.storage.schema import TABLES
from trunkline.types.answer import Usage
from trunkline.types.record import Begun, Called, Ended


@pytest.mark.parametrize(
    ("table", "fields"),
    [
        (
            "attempts",
            {*Begun.__struct_fields__, *Ended.__struct_fields__, *Usage.__struct_fields__}
            - {"usage", *PAYER},
        ),
        ("calls", {*Called.__struct_fields__, "journal"}),
    ],
)
def test_columns_are_fields(table: str, fields: set[str]) -> None:
    """A field that is added to a record without a column (or the reverse) is noticed here."""
    db = sqlite3.connect(":memory:")
    db.executescript(TABLES)
    columns = {row[1] for row in db.execute(f"PRAGMA table_xinfo({table})")}
    db.close()
    assert columns == fields

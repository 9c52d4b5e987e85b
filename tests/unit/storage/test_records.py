"""Every field of a record has its column."""

from __future__ import annotations

from pathlib import Path

import pytest

from trunkline.storage.records import PAYER
from trunkline.storage.sqlite import SqliteDatabase
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
def test_columns_are_fields(table: str, fields: set[str], tmp_path: Path) -> None:
    """A field that is added to a record without a column (or the reverse) is noticed here."""
    database = SqliteDatabase(tmp_path / "t.db")
    with database.session() as db:
        columns = {row[1] for row in db.execute(f"PRAGMA table_xinfo({table})")}
    database.close()
    assert columns == fields

"""What can be told of a database without changing it."""

from __future__ import annotations

import re

from msgspec import Struct

from trunkline.storage.database import Database
from trunkline.storage.migrations import Standing, mistakes, standing
from trunkline.storage.schema import tables


class Inspection(Struct, frozen=True, kw_only=True):
    """What was found."""

    standing: Standing | None
    """None = our tables are not there yet."""
    rows: dict[str, int]
    """How many each of our tables has."""
    problems: tuple[str, ...]
    """Why it cannot be used, or not as it is; damage."""


def inspect(database: Database) -> Inspection:
    """Look at a database that was opened `as_is`; this reads all of it.

    Raises:
        RecordError: it cannot be read.
    """
    words = database.words
    problems = [*mistakes()]
    with database.session() as db:
        db.execute(words.unhurried)
        found = standing(db, words)
        if found is None:
            return Inspection(standing=None, rows={}, problems=tuple(problems))
        problems += [f"the database {said}" for said in (found.refusal, found.breaks) if said]
        if words.integrity:
            damage = [text for (text,) in db.execute(words.integrity) if text != "ok"]
            if damage:  # rows cannot be counted then
                return Inspection(standing=found, rows={}, problems=(*problems, *damage))
        there = {name for (name,) in db.execute(words.tables)}
        ours = re.findall(r"CREATE TABLE (\w+)", tables(words))
        if not found.pending:
            problems += [f"the table {name} is missing" for name in ours if name not in there]
        rows = {
            name: db.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
            for name in ours
            if name in there
        }
    return Inspection(standing=found, rows=rows, problems=tuple(problems))

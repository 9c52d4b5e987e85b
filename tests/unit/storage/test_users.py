"""Users in the file of the records."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.journal_records import begun, called, ended
from trunkline.errors import RecordError
from trunkline.storage.database import Database
from trunkline.storage.sqlite import SqliteDatabase
from trunkline.storage.store import Store
from trunkline.storage.users import User, UserTable


def user(user_id: str = "u", **fields: Any) -> User:
    """Make a user."""
    fields = {"allowance_nusd": 5, "period": "month", "created_ns": 7, **fields}
    return User(id=user_id, **fields)


def test_a_user_comes_back_as_they_were_entered(database: Database) -> None:
    """Whoever is not there is None; names and ids are what they are."""
    users = UserTable(database)
    assert users.find("u") is None
    odd = user("'; DROP TABLE users; --", name="Ü\n", email="NULL")
    assert users.enter(odd) == odd
    assert users.enter(user("v")) == user("v")
    assert users.find(odd.id) == odd


def test_the_first_entry_stays(database: Database) -> None:
    """Entering an id again returns what is known of it."""
    users = UserTable(database)
    users.enter(user(name="Ada"))
    assert users.enter(user(name="Eve", allowance_nusd=10**18)) == user(name="Ada")


def test_another_allowance(database: Database) -> None:
    """It is kept; for nobody it is None."""
    users = UserTable(database)
    assert users.allow("u", 9) is None
    users.enter(user(name="Ada"))
    assert users.allow("u", 9) == user(name="Ada", allowance_nusd=9)
    assert users.find("u") == user(name="Ada", allowance_nusd=9)


def test_users_and_records_stand_beside_each_other(database: Database) -> None:
    """Both are there when the database is opened again."""
    Store(database).apply("owner.000000.log", 1, [begun(), ended(), called()])
    UserTable(database).enter(user())
    database.close()
    assert UserTable(database).find("u") == user()
    assert len(Store(database).calls()) == 1


def test_two_enter_one_user(database: Database) -> None:
    """Each sees the same user, whoever came first."""
    together = threading.Barrier(2)

    def enter(name: str) -> User:
        together.wait()
        return UserTable(database).enter(user(name=name))

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(enter, "ab")
    assert first == second


def test_a_broken_file_is_said(tmp_path: Path) -> None:
    """The error names it and what to do."""
    path = tmp_path / "trunkline.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE users (id TEXT)")
        db.commit()
    with (
        closing(SqliteDatabase(path)) as database,
        pytest.raises(RecordError, match=r"trunkline\.db"),
    ):
        UserTable(database).find("u")

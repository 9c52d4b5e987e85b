"""Users in the file of the records."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.journal_records import begun, called, ended
from trunkline.errors import RecordError
from trunkline.storage.sqlite import SqliteStore
from trunkline.storage.users import User, UserTable


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    """An empty store."""
    made = SqliteStore(tmp_path / "trunkline.db")
    yield made
    made.close()


def user(user_id: str = "u", **fields: Any) -> User:
    """Make a user."""
    fields = {"allowance_nusd": 5, "period": "month", "created_ns": 7, **fields}
    return User(id=user_id, **fields)


def test_a_user_comes_back_as_they_were_entered(store: SqliteStore) -> None:
    """Whoever is not there is None; names and ids are what they are."""
    users = UserTable(store)
    assert users.find("u") is None
    odd = user("'; DROP TABLE users; --", name="Ü\n", email="NULL")
    assert users.enter(odd) == odd
    assert users.enter(user("v")) == user("v")
    assert users.find(odd.id) == odd


def test_the_first_entry_stays(store: SqliteStore) -> None:
    """Entering an id again returns what is known of it."""
    users = UserTable(store)
    users.enter(user(name="Ada"))
    assert users.enter(user(name="Eve", allowance_nusd=10**18)) == user(name="Ada")


def test_another_allowance(store: SqliteStore) -> None:
    """It is kept; for nobody it is None."""
    users = UserTable(store)
    assert users.allow("u", 9) is None
    users.enter(user(name="Ada"))
    assert users.allow("u", 9) == user(name="Ada", allowance_nusd=9)
    assert users.find("u") == user(name="Ada", allowance_nusd=9)


def test_records_made_before_there_were_users_are_kept(store: SqliteStore, tmp_path: Path) -> None:
    """The table comes into a file that is there already, and stays when it is opened again."""
    store.apply("owner.000000.log", 1, [begun(), ended(), called()])
    UserTable(store).enter(user())
    store.close()
    again = SqliteStore(tmp_path / "trunkline.db")
    assert UserTable(again).find("u") == user()
    assert len(again.calls()) == 1
    again.close()


def test_two_processes_enter_one_user(store: SqliteStore, tmp_path: Path) -> None:
    """Each sees the same user, whoever came first."""
    other = SqliteStore(tmp_path / "trunkline.db")
    seen: list[User] = []
    together = threading.Barrier(2)

    def enter(table: UserTable, name: str) -> None:
        together.wait()
        seen.append(table.enter(user(name=name)))

    threads = [
        threading.Thread(target=enter, args=(UserTable(each), name))
        for each, name in ((store, "a"), (other, "b"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert seen[0] == seen[1]


def test_a_broken_file_is_said(tmp_path: Path) -> None:
    """The error names it and what to do."""
    path = tmp_path / "trunkline.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE users (id TEXT)")
        db.commit()
    store = SqliteStore(path)
    with pytest.raises(RecordError, match=r"trunkline\.db"):
        UserTable(store).find("u")
    store.close()

"""What a hook never took: kept to be looked at, and told again when somebody says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.journal_records import begun, called, ended
from trunkline.storage.outbox import Dead, Left, Outbox
from trunkline.storage.store import Store

FILE = "owner.000000.log"


@pytest.fixture
def outbox(store: Store, tmp_path: Path) -> Outbox:
    """An outbox with an event that two hooks, one of them gone by now, never took."""
    made = Outbox(store.database, tmp_path)
    made.subscribe(["a", "https://b/"], now_ns=0)
    store.apply(FILE, 1, [begun(), ended(), called()])
    for name in ("a", "https://b/"):
        [posted] = made.due(name, 0, 1)
        made.settle(name, [], [Left(posted.event, "it answered 500", None)])
    made.only("http", [])
    return made


def test_what_is_dead(outbox: Outbox) -> None:
    """Which hook, which attempt, and why."""
    first = Dead("a", "c1", 1, "openai/gpt-4o", 1_000, 1, "it answered 500")
    assert outbox.dead(10) == [first, first._replace(hook="https://b/")]
    assert outbox.dead(1) == [first]


@pytest.mark.parametrize(("name", "count"), [("a", 1), (None, 1), ("https://b/", 0), ("c", 0)])
def test_told_again(outbox: Outbox, name: str | None, count: int) -> None:
    """From the beginning; a hook that nobody tells any more keeps what it has."""
    assert outbox.requeue(name) == count
    assert [posted.tries for posted in outbox.due("a", 0, 10)] == [0] * count
    assert outbox.due("https://b/", 0, 10) == []
    assert outbox.requeue(name) == 0

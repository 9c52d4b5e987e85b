"""The steward's hooks: those of its configuration, from ingestion to what the metrics say."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journal_records import begun, called, ended
from tests.serving import eventually
from trunkline.client import hooks
from trunkline.config import Config, from_mapping
from trunkline.gateway.hooks import Telling
from trunkline.storage.outbox import Outbox
from trunkline.storage.sqlite import SqliteDatabase
from trunkline.storage.store import Store
from trunkline.testing import FakeUpstream, Status

SECRET = "a-secret-of-16-and-more"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    made = Store(SqliteDatabase(tmp_path / "trunkline.db"))
    yield made
    made.close()


@pytest.fixture
def telling(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Telling]:
    """The hooks of a steward in a hurry."""
    monkeypatch.setattr(hooks, "_PACE_S", 0.01)
    made = Telling(Outbox(store.database, tmp_path))
    yield made
    made.stop()


def config(*urls: str) -> Config:
    """Return a configuration with webhooks."""
    webhooks = [{"url": url, "secret": SECRET, "allow_private": True} for url in urls]
    return from_mapping({"llm_service": {"webhooks": webhooks}})


def end(store: Store, name: str) -> None:
    """Ingest a call."""
    store.apply("owner.000000.log", 1, [begun(name), ended(name), called(name)])


def counts(telling: Telling) -> list[int | float]:
    """Return how many events wait, and how many are dead."""
    return [gauge.value for gauge in telling.gauges()]


async def test_from_ingestion_to_the_receiver(telling: Telling, store: Store) -> None:
    """What is ingested is told; what is refused for good is counted."""
    with FakeUpstream.in_thread(lambda request: Status(200)) as up:
        up.script(Status(410))
        telling.prepare(config(up.url))
        end(store, "c1")
        assert counts(telling) == [0, 0]
        telling.wake()
        await eventually(lambda: counts(telling) == [0, 1])
        end(store, "c2")
        telling.wake()
        await eventually(lambda: len(up.requests) == 2)


async def test_another_configuration(telling: Telling, store: Store) -> None:
    """A webhook that is gone is forgotten with what waits for it; a new one is told."""
    with FakeUpstream.in_thread(lambda request: Status(200)) as up:
        telling.prepare(config("http://127.0.0.1:9/gone"))
        end(store, "c1")
        telling.prepare(config(up.url))
        end(store, "c2")
        telling.wake()
        await eventually(lambda: up.requests)
        assert up.requests[0].headers["trunkline-event-id"] == "c2:1"
        await eventually(lambda: counts(telling) == [0, 0])
        telling.prepare(config())
        end(store, "c3")
        assert Outbox(store.database, Path()).counts() == {}


def test_nothing_is_loaded_without_hooks() -> None:
    """The steward stays small: neither the client nor aiohttp, as long as nobody is to be told."""
    program = (
        "import sys; from pathlib import Path; import trunkline.gateway.steward;"
        "from trunkline.config import from_mapping; from trunkline.gateway.hooks import Telling;"
        "from trunkline.storage.outbox import Outbox;"
        "from trunkline.storage.sqlite import SqliteDatabase;"
        "telling = Telling(Outbox(SqliteDatabase(Path('t.db')), Path()));"
        "telling.prepare(from_mapping({})); telling.wake(); telling.stop();"
        "print(*({'aiohttp', 'trunkline.client'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "\n"

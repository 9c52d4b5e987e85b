"""A configuration read anew: what takes effect, what waits for a restart, what is refused."""

from pathlib import Path

import pytest

from trunkline.config import Config, load
from trunkline.config.model import Storage
from trunkline.gateway.reread import reread
from trunkline.gateway.serve import Said

PATH = Path("trunkline.yaml")


def written(server: str = "{}", more: str = "") -> None:
    """Write the file."""
    PATH.write_text(f"llm_service: {{server: {server}{more}}}")


@pytest.fixture
def present() -> Config:
    """What is served now."""
    written()
    return load()


def test_nothing_changed(present: Config) -> None:
    """It is said, for somebody may have asked."""
    assert reread(Said(), present) == (present, ["the configuration has not changed"])


def test_what_takes_effect(present: Config) -> None:
    """And what the new one warns of is said."""
    written("{max_body_mb: 1}", ", providers: {demo: {}, groq: {api_key: '${NOT_SET}'}}")
    served, lines = reread(Said(), present)
    assert served.server.max_body_mb == 1
    assert lines[0] == "the configuration was read anew"
    assert "provider 'groq' is disabled: NOT_SET is not set" in lines[1]


def test_what_needs_a_restart(present: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays as it is, in one line; what else changed takes effect."""
    monkeypatch.setenv("TRUNKLINE_DATA", "/elsewhere")
    written("{host: '::1', port: 1, workers: 2, hosts: [box]}")
    served, lines = reread(Said(), present)
    assert served.server.hosts == ("box",)
    assert (served.server.host, served.server.port) == ("127.0.0.1", 4000)
    assert (served.server.workers, served.data_dir) == (1, present.data_dir)
    assert lines[1:] == [
        "restart the gateway for "
        + ", ".join(("server.host", "server.port", "server.workers", "TRUNKLINE_DATA"))
        + " to take effect"
    ]


def test_another_database_needs_a_restart(present: Config) -> None:
    """The other settings of the storage take effect."""
    urls = "database_url: 'postgresql://u:p@h/d', redis_url: 'redis://:p@h'"
    written(more=f", storage: {{{urls}, keep_days: 3}}")
    served, lines = reread(Said(), present)
    assert served.storage == Storage(keep_days=3)
    assert lines[1:] == [
        "restart the gateway for storage.database_url, storage.redis_url to take effect"
    ]
    assert "p@h" not in str(lines)


def test_what_the_command_line_said_still_wins(present: Config) -> None:
    """So an edit of it changes nothing and needs no restart."""
    said = Said(config=str(PATH), port=0)
    fitting = said.fit(present)
    written("{port: 7}")
    assert reread(said, fitting) == (fitting, ["the configuration has not changed"])

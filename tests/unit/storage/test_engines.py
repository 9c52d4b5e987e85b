"""Which engine keeps the shared accounts."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from trunkline.config import from_mapping
from trunkline.storage.engines import open_leases
from trunkline.storage.ledger import SqlLeases


@pytest.mark.parametrize("shared", [False, True])
def test_valkey_is_asked_where_it_is_configured(shared: bool, tmp_path: Path) -> None:
    """Else the database alone keeps them; none is opened before it is needed."""
    storage = {
        "database_url": "postgresql://u:p@127.0.0.1:1/d",
        "redis_url": "redis://:p@127.0.0.1:1/0",
    }
    said = {"llm_service": {"storage": storage}} if shared else {}
    with contextlib.closing(
        open_leases(from_mapping(said, {"TRUNKLINE_DATA": str(tmp_path)}))
    ) as leases:
        assert isinstance(leases, SqlLeases)
        assert type(leases).__name__ == ("ValkeyLeases" if shared else "SqlLeases")
    assert not any(tmp_path.iterdir())

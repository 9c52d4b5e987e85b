"""Ingestion by a process of its own."""

from pathlib import Path

import pytest

from trunkline import Trunkline
from trunkline.config import from_mapping
from trunkline.errors import RecordError
from trunkline.types import Principal


async def test_a_data_folder_that_cannot_be_used(tmp_path: Path) -> None:
    """The error says what was being done and where; what is in the journal waits for the next."""
    folder = tmp_path / "data"
    async with Trunkline(from_mapping({}, {"TRUNKLINE_DATA": str(folder)})) as line:
        line.charge(Principal(user_id="u"), 7)
        lock = folder / "ingest.lock"
        lock.unlink(missing_ok=True)
        lock.mkdir()
        with pytest.raises(RecordError, match=r"cannot bring the journal in .*data") as caught:
            line.flush()
        assert "ingest.lock" in str(caught.value)
        lock.rmdir()
        line.flush()
        assert line.store.settled("user:u", 0) == 7

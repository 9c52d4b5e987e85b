"""A frame that was written whole and holds no record we know must not hold up the others."""

from pathlib import Path

import msgspec
import pytest

from tests.journal_records import begun, called, ended
from trunkline.journal import read
from trunkline.journal.frames import Gap, frame, owner_of, seed_of
from trunkline.types.record import Record

NAME = "20261120T120000-1-0011223344556677.000000.log"
SEED = seed_of(owner_of(Path(NAME)))
RECORDS: list[Record] = [begun(), ended(), called()]
FRAMES = [frame(msgspec.msgpack.encode(record), SEED) for record in RECORDS]


@pytest.mark.parametrize(
    "unreadable", [{"type": "z"}, {"type": "e", "call_id": 42}, 42], ids=["tag", "type", "no map"]
)
@pytest.mark.parametrize("alive", [True, False])
def test_an_unreadable_frame_is_passed_over(
    tmp_path: Path, unreadable: object, alive: bool
) -> None:
    """The records behind it come out; once its owner is gone it is counted as a gap."""
    odd = frame(msgspec.msgpack.encode(unreadable), SEED)
    path = tmp_path / NAME
    path.write_bytes(FRAMES[0] + odd + FRAMES[1] + FRAMES[2])
    gaps: list[Gap] = []
    found = list(read(path, gaps=None if alive else gaps))
    assert [record for record, _ in found] == RECORDS
    assert found[-1][1] == path.stat().st_size
    start = len(FRAMES[0])
    assert gaps == ([] if alive else [Gap(start, start + len(odd), torn=False)])

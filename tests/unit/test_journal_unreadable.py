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
ENCODED = [msgspec.msgpack.encode(record) for record in RECORDS]
ODD = {
    "tag": msgspec.msgpack.encode(["z", "c1"]),
    "type": msgspec.msgpack.encode(["e", 42]),
    "time": msgspec.msgpack.encode(["b", "c1", 1, 2**64 - 1, "a/m", "m"]),
    "no list": msgspec.msgpack.encode(42),
    "no text": ENCODED[1].replace(b"c1", b"\xff\xfe"),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
@pytest.mark.parametrize("alive", [True, False])
def test_an_unreadable_record_is_passed_over(tmp_path: Path, odd: bytes, alive: bool) -> None:
    """Those beside it and behind it come out; once its owner is gone its frame is a gap."""
    frames = [frame([ENCODED[0], odd, ENCODED[1]], SEED), frame([odd], SEED)]
    path = tmp_path / NAME
    path.write_bytes(b"".join([*frames, frame([ENCODED[2]], SEED)]))
    gaps: list[Gap] = []
    found = list(read(path, gaps=None if alive else gaps))
    assert [record for records, _ in found for record in records] == RECORDS
    assert found[-1][1] == path.stat().st_size
    first, second = map(len, frames)
    told = [Gap(0, first, torn=False), Gap(first, first + second, torn=False)]
    assert gaps == ([] if alive else told)


@pytest.mark.parametrize(
    "odd",
    [
        b"\xc1",
        ENCODED[1] + b"\0",
        ENCODED[1].replace(b"\x9d", b"\x9e") + b"\x91" * 50_000 + b"\x90",
    ],
    ids=["no value", "more than said", "depth"],
)
def test_a_frame_that_cannot_be_taken_apart_is_a_gap(tmp_path: Path, odd: bytes) -> None:
    """It is lost as a whole; those around it come out."""
    good, bad = frame([ENCODED[0]], SEED), frame([odd], SEED)
    path = tmp_path / NAME
    path.write_bytes(good + bad + good)
    gaps: list[Gap] = []
    assert [records for records, _ in read(path, gaps=gaps)] == [[RECORDS[0]], [], [RECORDS[0]]]
    assert gaps == [Gap(len(good), len(good) + len(bad), torn=False)]


def test_a_newer_version_may_add_fields(tmp_path: Path) -> None:
    """Fields behind those we know are ignored, and those an older version lacks have defaults."""
    fields = msgspec.msgpack.decode(ENCODED[0])
    path = tmp_path / NAME
    more, fewer = (msgspec.msgpack.encode(some) for some in ([*fields, "new"], fields[:7]))
    path.write_bytes(frame([more, fewer], SEED))
    assert [records for records, _ in read(path)] == [[begun(), begun()]]

"""Reading: whatever became of a file, only records that were written come out."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.journal_records import begun, called, ended
from trunkline.journal import read
from trunkline.journal.frames import (
    MAX_RECORD_BYTES,
    MOST_RECORDS,
    Gap,
    frame,
    owner_of,
    seed_of,
)
from trunkline.types.record import Record

NAME = "20261120T120000-1-0011223344556677.000000.log"
SEED = seed_of(owner_of(Path(NAME)))
RECORDS: list[Record] = [begun(), ended(), called(), begun("c2", tags=("\0\0\0\1",)), ended("c2")]
FRAMES = [frame([msgspec.msgpack.encode(record)], SEED) for record in RECORDS]
WHOLE = b"".join(FRAMES)


def kept(data: bytes, folder: Path, name: str = NAME) -> tuple[list[Record], list[Gap]]:
    """Return what a reader of a dead owner's file gets."""
    path = folder / name
    path.write_bytes(data)
    gaps: list[Gap] = []
    return [record for frame, _ in read(path, gaps=gaps) for record in frame], gaps


def is_subsequence(some: Sequence[Record], of: Sequence[Record]) -> bool:
    """Say whether `some` comes out of `of` by leaving records out."""
    rest = iter(of)
    return all(record in rest for record in some)


def test_every_offset_is_a_place_to_go_on_from(tmp_path: Path) -> None:
    """Reading from the offset after a frame yields exactly the frames behind it."""
    path = tmp_path / NAME
    path.write_bytes(WHOLE)
    everything = list(read(path))
    assert [record for (record,), _ in everything] == RECORDS
    assert everything[-1][1] == len(WHOLE)
    for i, (_, offset) in enumerate(everything):
        assert list(read(path, offset)) == everything[i + 1 :]


@pytest.mark.parametrize("torn_bytes", [1, 7, 8, 20])
def test_a_torn_tail_ends_the_file(tmp_path: Path, torn_bytes: int) -> None:
    """A write that was cut short is no damage: the records before it are all there is."""
    records, gaps = kept(WHOLE + FRAMES[0][:torn_bytes], tmp_path)
    assert records == RECORDS
    assert gaps == [Gap(len(WHOLE), len(WHOLE) + torn_bytes, torn=True)]


def test_zeros_at_the_end_are_a_write_that_never_arrived(tmp_path: Path) -> None:
    """After a power failure a file may end in zeros; they are neither records nor damage."""
    records, gaps = kept(WHOLE + bytes(4096), tmp_path)
    assert records == RECORDS
    assert [gap.torn for gap in gaps] == [True]


def test_a_living_owners_reader_stops_at_what_is_no_record(tmp_path: Path) -> None:
    """Without `gaps` nothing behind a bad frame is read, for it may be a write under way."""
    path = tmp_path / NAME
    path.write_bytes(FRAMES[0] + b"\xff" * 30 + FRAMES[1])
    assert list(read(path)) == [([RECORDS[0]], len(FRAMES[0]))]


def test_a_dead_owners_reader_goes_on_behind_damage(tmp_path: Path) -> None:
    """One destroyed record costs one record, and is told."""
    data = FRAMES[0] + bytes(len(FRAMES[1])) + WHOLE[len(FRAMES[0]) + len(FRAMES[1]) :]
    records, gaps = kept(data, tmp_path)
    assert records == [RECORDS[0], *RECORDS[2:]]
    assert gaps == [Gap(len(FRAMES[0]), len(FRAMES[0]) + len(FRAMES[1]), torn=False)]


def test_a_damaged_last_record_is_damage(tmp_path: Path) -> None:
    """A last frame that is all there but does not match its CRC was not cut short."""
    _, gaps = kept(WHOLE[:-1] + bytes([WHOLE[-1] ^ 1]), tmp_path)
    assert [gap.torn for gap in gaps] == [False]


def test_a_frame_of_another_file_is_no_record(tmp_path: Path) -> None:
    """Bytes that another owner's file left on the disk, or a forger put in a text, do not pass."""
    records, gaps = kept(WHOLE, tmp_path, name=NAME.replace("0011", "9911"))
    assert records == []
    assert gaps == [Gap(0, len(WHOLE), torn=False)]


def test_a_record_of_an_unknown_kind_is_a_gap(tmp_path: Path) -> None:
    """What a newer version wrote is passed over and told, never guessed at."""
    stranger = frame([msgspec.msgpack.encode(["z", "c9"])], SEED)
    records, gaps = kept(FRAMES[0] + stranger + FRAMES[1], tmp_path)
    assert records == RECORDS[:2]
    assert gaps == [Gap(len(FRAMES[0]), len(FRAMES[0]) + len(stranger), torn=False)]


def test_a_length_beyond_the_cap_is_never_followed(tmp_path: Path) -> None:
    """A frame longer than any we write is no record, even when its CRC matches."""
    payload = msgspec.msgpack.encode(called(error="x" * MAX_RECORD_BYTES * MOST_RECORDS))
    records, _ = kept(frame([payload], SEED) + FRAMES[0], tmp_path)
    assert records == [RECORDS[0]]


@given(length=st.integers(0, len(WHOLE)))
def test_any_truncation_yields_a_prefix(length: int) -> None:
    """Cut anywhere, the records before the cut come out and nothing else does."""
    with tempfile.TemporaryDirectory() as folder:
        records, gaps = kept(WHOLE[:length], Path(folder))
        whole = sum(length >= len(b"".join(FRAMES[: i + 1])) for i in range(len(FRAMES)))
        assert records == RECORDS[:whole]
        assert all(gap.torn for gap in gaps)
        assert [record for frame, _ in read(Path(folder, NAME)) for record in frame] == records


@given(at=st.integers(0, len(WHOLE) - 1), byte=st.integers(0, 255))
def test_any_damaged_byte_costs_its_own_record_only(at: int, byte: int) -> None:
    """Change any byte: no record is invented, and all but the one it hit are read."""
    data = bytearray(WHOLE)
    data[at] = byte
    with tempfile.TemporaryDirectory() as folder:
        records, gaps = kept(bytes(data), Path(folder))
        ends = [len(b"".join(FRAMES[: i + 1])) for i in range(len(FRAMES))]
        hit = next(i for i, end in enumerate(ends) if at < end)
        whole = bytes(data) == WHOLE
        assert records == (RECORDS if whole else RECORDS[:hit] + RECORDS[hit + 1 :])
        assert len(gaps) == (0 if whole else 1)
        living = [record for frame, _ in read(Path(folder, NAME)) for record in frame]
        assert living == (RECORDS if whole else RECORDS[:hit])


@given(data=st.binary(max_size=400), cut=st.integers(0, len(WHOLE)))
def test_any_garbage_yields_only_what_was_written(data: bytes, cut: int) -> None:
    """Garbage spliced in anywhere neither raises nor adds a record."""
    with tempfile.TemporaryDirectory() as folder:
        records, _ = kept(WHOLE[:cut] + data + WHOLE[cut:], Path(folder))
        assert is_subsequence(records, RECORDS)
        assert len(records) >= len(RECORDS) - 1

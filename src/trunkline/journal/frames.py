"""What a journal file looks like: frames, one for each write, and nothing else.

    u32 length | u32 CRC-32 | payload        (big-endian; payload: MessagePack, a list of records)

The CRC is of the payload and starts from `seed XOR length`; the seed is the CRC-32 of the owner in
the file's name. So neither a length, nor a block that another file left on the disk, nor a frame
that somebody put into a text of ours (its owner has random digits) passes as a record.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from trunkline.types.record import Record

MAX_RECORD_BYTES = 65_536
MOST_RECORDS = 4
"""In one frame; the end of a call has two. Below 16, whose count takes one byte."""
_MAX_PAYLOAD_BYTES = 1 + MOST_RECORDS * MAX_RECORD_BYTES
_MEND_BYTES = 800
_MEND_ITEMS = 32
_INT64_MAX = 2**63 - 1

_HEADER = struct.Struct(">II")
_HEADER_BYTES = _HEADER.size
_COUNTS = [bytes([0x90 | count]) for count in range(MOST_RECORDS + 1)]
"""How a list begins.
Source: https://github.com/msgpack/msgpack/blob/master/spec.md (2026-11-20)."""
_decode_all = msgspec.msgpack.Decoder(list[Record]).decode
_decode_raw = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_decode_one = msgspec.msgpack.Decoder(Record).decode
_UNDECODABLE = (ValueError, RecursionError)


class Gap(NamedTuple):
    """Bytes that hold no record."""

    start: int
    end: int
    torn: bool
    """True = a write that was cut short at the end of the file, False = damage."""


def owner_of(path: Path) -> str:
    """Return whose file this is."""
    return path.name.partition(".")[0]


def seed_of(owner: str) -> int:
    """Return what the CRCs in the files of `owner` start from."""
    return zlib.crc32(owner.encode())


def frame(records: Sequence[bytes], seed: int) -> bytes:
    """Return `records` (encoded, at most `MOST_RECORDS`) as they stand in the file."""
    payload = _COUNTS[len(records)] + b"".join(records)
    length = len(payload)
    return _HEADER.pack(length, zlib.crc32(payload, seed ^ length)) + payload


def mend(record: Record) -> Record:
    """Return `record` with what cannot be written made writable, and short enough.

    Lone surrogates are spelled out, numbers beyond 64 bits cut to the largest, texts and lists
    shortened: a record is never lost for what is in it.
    """
    return msgspec.structs.replace(
        record,
        **{name: _mend(value) for name, value in msgspec.structs.asdict(record).items()},
    )


def _mend(value: object) -> object:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace")[:_MEND_BYTES].decode(errors="ignore")
    if isinstance(value, tuple):
        return tuple(_mend(item) for item in value[:_MEND_ITEMS])
    if isinstance(value, msgspec.Struct):
        fields = msgspec.structs.asdict(value)
        return type(value)(**{name: _mend(item) for name, item in fields.items()})
    if isinstance(value, int) and not isinstance(value, bool):
        return max(-_INT64_MAX, min(_INT64_MAX, value))
    return value


def read(
    path: Path, offset: int = 0, *, gaps: list[Gap] | None = None
) -> Iterator[tuple[list[Record], int]]:
    """Yield the records of each frame from `offset` on, with the offset after it.

    Stops at the first bytes that are not a frame: while the owner lives they are a write under
    way. What a whole frame holds that is no record we know is passed over, or everything behind it
    would wait for as long as the owner lives. With `gaps` given (the owner is gone) it goes on at
    the next frame, and lists there what lay between, and the frames it could not read in full. A
    frame that fails its CRC is never decoded, so no record is ever invented.
    """
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read()
    seed = seed_of(owner_of(path))
    at = 0
    while at < len(data):
        payload = _payload_at(data, at, seed)
        if payload is None:
            if gaps is None:
                return
            start = at
            at = _next_frame(data, at + 1, seed)
            gaps.append(Gap(offset + start, offset + at, torn=_is_torn(data[start:], at - start)))
            continue
        start = at
        at += _HEADER_BYTES + len(payload)
        try:
            records = _decode_all(payload)
        except _UNDECODABLE:
            records = _known(payload)
            if gaps is not None:
                gaps.append(Gap(offset + start, offset + at, torn=False))
        yield records, offset + at


def _payload_at(data: bytes, at: int, seed: int) -> bytes | None:
    """Return what the frame at `at` holds, None where there is no whole one."""
    start = at + _HEADER_BYTES
    if start > len(data):
        return None
    length, crc = _HEADER.unpack_from(data, at)
    payload = data[start : start + length]
    if not 0 < len(payload) == length <= _MAX_PAYLOAD_BYTES:
        return None
    return payload if zlib.crc32(payload, seed ^ length) == crc else None


def _known(payload: bytes) -> list[Record]:
    """Return those records of a frame that we know."""
    known = []
    with contextlib.suppress(*_UNDECODABLE):
        for raw in _decode_raw(payload):
            with contextlib.suppress(*_UNDECODABLE):
                known.append(_decode_one(raw))
    return known


def _next_frame(data: bytes, at: int, seed: int) -> int:
    """Return where the next frame begins, or the end of the data.

    Every length is below 2**24, so every frame begins with a zero byte.
    """
    while (at := data.find(b"\0", at)) >= 0:
        if _payload_at(data, at, seed) is not None:
            return at
        at += 1
    return len(data)


def _is_torn(rest: bytes, gap_bytes: int) -> bool:
    """Tell a write that was cut short (or never reached the disk: zeros) from damage."""
    if gap_bytes < len(rest):
        return False
    if len(rest) < _HEADER_BYTES or not any(rest):
        return True
    length: int = _HEADER.unpack_from(rest)[0]
    return len(rest) - _HEADER_BYTES < length <= _MAX_PAYLOAD_BYTES

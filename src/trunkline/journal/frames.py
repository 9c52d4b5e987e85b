"""What a journal file looks like: frames, one record each, and nothing else.

    u32 length | u32 CRC-32 | payload                (big-endian; payload: MessagePack, tagged)

The CRC is of the payload and starts from `seed XOR length`; the seed is the CRC-32 of the owner in
the file's name. So neither a length, nor a block that another file left on the disk, nor a frame
that somebody put into a text of ours (its owner has random digits) passes as a record.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from trunkline.types.record import Record

MAX_PAYLOAD_BYTES = 65_536
_MEND_BYTES = 800
_MEND_ITEMS = 32
_INT64_MAX = 2**63 - 1

_HEADER = struct.Struct(">II")
_decode = msgspec.msgpack.Decoder(Record).decode


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


def frame(payload: bytes, seed: int) -> bytes:
    """Return `payload` as it stands in the file."""
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
) -> Iterator[tuple[Record, int]]:
    """Yield each record from `offset` on with the offset after it.

    Stops at the first bytes that are not a frame: while the owner lives they are a write under
    way. A whole frame that is no record is passed over, or everything behind it would wait for as
    long as the owner lives. With `gaps` given (the owner is gone) it goes on at the next record,
    and lists there what lay between. A frame that fails its CRC is never decoded, so no record is
    ever invented.
    """
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read()
    seed = seed_of(owner_of(path))
    at = 0
    while at < len(data):
        found = _record_at(data, at, seed)
        if found is None:
            if gaps is None:
                return
            start = at
            at = _next_record(data, at + 1, seed)
            gaps.append(Gap(offset + start, offset + at, torn=_is_torn(data[start:], at - start)))
            continue
        record, end = found
        if record is not None:
            yield record, offset + end
        elif gaps is not None:
            gaps.append(Gap(offset + at, offset + end, torn=False))
        at = end


def _record_at(data: bytes, at: int, seed: int) -> tuple[Record | None, int] | None:
    """Return the record at `at` and the offset after it, or None where there is none.

    A frame that was written whole but holds no record we know is no record (None), with an offset.
    """
    if at + _HEADER.size > len(data):
        return None
    length, crc = _HEADER.unpack_from(data, at)
    at += _HEADER.size
    payload = data[at : at + length]
    if not len(payload) == length <= MAX_PAYLOAD_BYTES or not length:
        return None
    if zlib.crc32(payload, seed ^ length) != crc:
        return None
    try:
        return _decode(payload), at + length
    except msgspec.DecodeError:
        return None, at + length


def _next_record(data: bytes, at: int, seed: int) -> int:
    """Return where the next record begins, or the end of the data.

    Every length is below 2**24, so every frame begins with a zero byte.
    """
    while (at := data.find(b"\0", at)) >= 0:
        if _record_at(data, at, seed) is not None:
            return at
        at += 1
    return len(data)


def _is_torn(rest: bytes, gap_bytes: int) -> bool:
    """Tell a write that was cut short (or never reached the disk: zeros) from damage."""
    if gap_bytes < len(rest):
        return False
    if len(rest) < _HEADER.size or not any(rest):
        return True
    length: int = _HEADER.unpack_from(rest)[0]
    return len(rest) - _HEADER.size < length <= MAX_PAYLOAD_BYTES

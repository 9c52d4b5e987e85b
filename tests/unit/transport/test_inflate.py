"""Compressed bodies, whole, in pieces, huge and broken."""

import gzip
import zlib

import pytest

from trunkline.errors import BadAnswer, Truncated
from trunkline.transport.inflate import PIECE_BYTES, Inflater

TEXT = b"one two three " * 100


def bare(data: bytes) -> bytes:
    """Compress without any wrapping, as some servers understand deflate."""
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(data) + stream.flush()


def undo(coding: str, *pieces: bytes) -> bytes:
    """Return all that comes out."""
    inflater = Inflater(coding)
    text = b""
    for piece in pieces:
        inflater.put(piece)
        while out := inflater.take():
            text += out
    inflater.finish()
    return text


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(TEXT, mtime=0)),
        ("x-gzip", gzip.compress(TEXT, mtime=0)),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", bare(TEXT)),
        ("gzip", gzip.compress(TEXT[:500], mtime=0) + gzip.compress(TEXT[500:], mtime=0)),
    ],
)
def test_a_body_in_one_piece_and_byte_by_byte(coding: str, body: bytes) -> None:
    """Wherever it is cut, and when gzip comes in members."""
    assert undo(coding, body) == TEXT
    assert undo(coding, *(body[n : n + 1] for n in range(len(body)))) == TEXT


def test_what_was_flushed_comes_out_at_once() -> None:
    """An event of a compressed stream does not wait for the next."""
    stream = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    inflater = Inflater("gzip")
    for event in (b"data: a\n\n", b"data: b\n\n"):
        inflater.put(stream.compress(event) + stream.flush(zlib.Z_SYNC_FLUSH))
        assert inflater.take() == event
        assert inflater.take() == b""


@pytest.mark.parametrize("size", [PIECE_BYTES, PIECE_BYTES * 4, PIECE_BYTES * 4 + 1])
def test_a_small_body_that_stands_for_a_large_one(size: int) -> None:
    """Comes in pieces of bounded size, to the last byte."""
    inflater = Inflater("gzip")
    inflater.put(gzip.compress(b"x" * size, mtime=0))
    sizes = []
    while piece := inflater.take():
        sizes.append(len(piece))
    inflater.finish()
    assert max(sizes) <= PIECE_BYTES
    assert sum(sizes) == size


@pytest.mark.parametrize(
    "body", [b"no gzip", gzip.compress(TEXT, mtime=0) + b"more", b"\x1f\x8b" + b"\xff" * 9]
)
def test_what_is_not_what_it_says_is_a_bad_answer(body: bytes) -> None:
    """Also when garbage follows what was good."""
    with pytest.raises(BadAnswer, match="it is no gzip"):
        undo("gzip", body)


@pytest.mark.parametrize("kept", [1, 10, -8, -1])
def test_a_body_that_stops_in_the_middle_is_truncated(kept: int) -> None:
    """Though its HTTP was whole; also when only the checksum is missing."""
    with pytest.raises(Truncated):
        undo("gzip", gzip.compress(TEXT, mtime=0)[:kept])


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip"])
def test_another_coding_fails_only_when_there_is_a_body(coding: str) -> None:
    """The status of an answer without one still says what happened."""
    assert undo(coding) == b""
    with pytest.raises(BadAnswer, match=f"encoded as '{coding}'"):
        undo(coding, b"x")

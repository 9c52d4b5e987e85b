"""Cutting a byte stream into events."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.errors import BadAnswer
from trunkline.transport.sse import SseSplitter

ENDS = [b"\n", b"\r\n", b"\r"]
WORDS = [b"data: x", b"data:y", b": ping", b"event: a", "data: \u2028\u0085 é 漢".encode(), b""]


def split(*chunks: bytes) -> tuple[list[bytes], bytes]:
    """Feed the chunks and return all blocks and the rest."""
    splitter = SseSplitter()
    blocks = [block for chunk in chunks for block in splitter.feed(chunk)]
    return blocks, splitter.rest()


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut `data` at the places `cuts`."""
    edges = [0, *sorted({min(cut, len(data)) for cut in cuts}), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@pytest.mark.parametrize("end", ENDS)
def test_events_end_at_a_blank_line_of_any_kind(end: bytes) -> None:
    """LF, CRLF and CR all end lines; a block keeps its own framing."""
    one, two = b"event: a" + end + b"data: 1" + end + end, b"data: 2" + end + end
    blocks, rest = split(one + two + b"data: 3")
    assert blocks == [one, two]
    assert rest == b"data: 3"


def test_line_ends_of_two_kinds_may_meet() -> None:
    """A blank line may be made of different line ends."""
    assert split(b"a\n\r\nb\r\n\nc\r\rd")[0] == [b"a\n\r\n", b"b\r\n\n", b"c\r\r"]


def test_a_single_line_end_ends_nothing() -> None:
    """CRLF is one line end, also when it comes in two reads."""
    assert split(b"data: a\r", b"\ndata: b\r", b"\n") == ([], b"data: a\r\ndata: b\r\n")


def test_a_blank_line_may_straddle_reads() -> None:
    """Every cut of a CRLF blank line gives the same block."""
    for cut in range(1, 13):
        data = b"data: x\r\n\r\ny"
        assert split(data[:cut], data[cut:]) == ([b"data: x\r\n\r\n"], b"y")


def test_unicode_line_separators_are_data() -> None:
    """U+2028, U+2029, U+0085, form feed and vertical tab stay inside the event."""
    block = "data: a\u2028\u2029\u0085\x0b\x0cb\n\n".encode()
    assert split(block) == ([block], b"")


def test_one_byte_is_not_an_event() -> None:
    """A lone byte is held, not handed out as a block."""
    assert split(b"d", b"ata: x\n\n") == ([b"data: x\n\n"], b"")


@given(
    parts=st.lists(st.sampled_from([*ENDS, *WORDS])),
    cuts=st.lists(st.integers(0, 120)),
)
def test_nothing_is_lost_however_it_is_cut(parts: list[bytes], cuts: list[int]) -> None:
    """Blocks and rest joined are the input, and the blocks do not depend on the reads."""
    data = b"".join(parts)
    blocks, rest = split(*pieces(data, cuts))
    assert b"".join(blocks) + rest == data
    whole_blocks, whole_rest = split(data)
    assert (blocks, rest) == (whole_blocks, whole_rest)
    assert all(block.endswith((b"\n", b"\r")) for block in blocks)


def test_an_endless_event_is_refused() -> None:
    """An event beyond the cap is a bad answer, not a full memory."""
    splitter = SseSplitter(max_bytes=1000)
    splitter.feed(b"data: " + b"x" * 990)
    with pytest.raises(BadAnswer, match="larger than 1000 bytes"):
        splitter.feed(b"x" * 10)


def test_many_events_in_one_read_and_one_event_in_many_reads_are_quick() -> None:
    """Neither shape costs quadratic time."""
    started_s = time.perf_counter()
    blocks, _ = split(b"data: x\n\n" * 100_000)
    assert len(blocks) == 100_000
    blocks, _ = split(*([b"x" * 100] * 80_000), b"\n\n")
    assert len(blocks) == 1
    assert time.perf_counter() - started_s < 2

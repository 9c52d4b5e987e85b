"""AWS event streams: cut anywhere, every checksum kept, nothing taken that was changed."""

import struct
from itertools import pairwise
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.dialects.bedrock.messages import opened
from trunkline.errors import BadAnswer, Truncated
from trunkline.testing import converse_messages
from trunkline.testing.converse import framed
from trunkline.transport.eventstream import MessageSplitter
from trunkline.transport.framing import is_stream

names = st.text(min_size=1, max_size=20)
headers = st.dictionaries(names, st.text(max_size=40), max_size=4)
messages = st.lists(st.tuples(headers, st.binary(max_size=200)), min_size=1, max_size=6)


def all_of(body: bytes) -> list[bytes]:
    """Cut a whole body."""
    splitter = MessageSplitter()
    return splitter.feed(body) + [rest for rest in [splitter.rest()] if rest]


@settings(max_examples=200)
@given(messages, st.lists(st.integers(0, 2000), max_size=20))
def test_messages_come_out_as_they_went_in(
    said: list[tuple[dict[str, str], bytes]], cuts: list[int]
) -> None:
    """Whatever the pieces, ours and botocore's reading find the same headers and payloads."""
    raws = [framed(*one) for one in said]
    body = b"".join(raws)
    places = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    splitter = MessageSplitter()
    found = [m for a, b in pairwise(places) for m in splitter.feed(body[a:b])]
    assert found == raws == all_of(body)
    assert splitter.rest() == b""
    assert [opened(raw) for raw in found] == said
    theirs = EventStreamBuffer()
    theirs.add_data(body)
    assert [(event.headers, event.payload) for event in theirs] == said


@settings(max_examples=200)
@given(st.data())
def test_no_changed_byte_goes_unseen(data: st.DataObject) -> None:
    """A message with one bit flipped is refused, or never becomes complete."""
    raw = bytearray(converse_messages()[1])
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(BadAnswer):
        all_of(bytes(raw))


def test_a_message_cut_short_is_no_message() -> None:
    """The stream may end between two messages and nowhere else."""
    splitter = MessageSplitter()
    first, second, *_ = converse_messages()
    assert splitter.feed(first + second[:-1]) == [first]
    with pytest.raises(Truncated):
        splitter.rest()


@pytest.mark.parametrize("sizes", [(5000, 0), (15, 0), (100, 90), (2**32 - 1, 0)])
def test_impossible_sizes_are_refused_at_once(sizes: tuple[int, int]) -> None:
    """Nothing is waited for, or kept, that can be no message."""
    prelude = struct.pack(">II", *sizes)
    splitter = MessageSplitter(max_bytes=4096)
    with pytest.raises(BadAnswer, match="bytes"):
        splitter.feed(prelude + struct.pack(">I", crc32(prelude)))


def test_headers_of_every_kind_are_passed_over() -> None:
    """Values that are no text are skipped by their size; the text behind them is found."""
    values = [b"\0", b"\1", b"\2x", b"\3xx", b"\4xxxx", b"\5" + b"x" * 8, b"\6\0\3xyz"]
    values += [b"\x08" + b"x" * 8, b"\x09" + b"x" * 16, b"\7\0\2ok"]
    head = b"".join(b"\1%c%b" % (97 + n, value) for n, value in enumerate(values))
    start = struct.pack(">II", 16 + len(head), len(head))
    assert opened(start + b"crc." + head + b"crc.") == ({"j": "ok"}, b"")


@pytest.mark.parametrize("head", [b"\1a\x0b", b"\1a\7\0\x09x", b"\5a", b"\1\xff\7\0\0"])
def test_broken_headers_are_named(head: bytes) -> None:
    """An unknown kind, a value that is too long, a cut name, a name that is no text."""
    start = struct.pack(">II", 16 + len(head), len(head))
    with pytest.raises(BadAnswer, match="broken headers"):
        opened(start + b"crc." + head + b"crc.")


def test_a_stream_is_told_from_a_body() -> None:
    """A message begins with a zero, an error under a 200 with a brace."""
    assert is_stream("eventstream", converse_messages()[0], "application/vnd.amazon.eventstream")
    assert not is_stream("eventstream", b'{"message": "no"}', "application/vnd.amazon.eventstream")

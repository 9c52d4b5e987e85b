"""Units of a stream: the same whatever the pieces they come in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.errors import BadAnswer
from trunkline.transport.framing import LineSplitter, is_stream


@given(st.lists(st.text(st.characters(codec="utf-8")), max_size=4), st.data())
def test_lines_are_the_same_however_they_are_cut(words: list[str], data: st.DataObject) -> None:
    """Cut anywhere, the lines and the rest joined give the input but for blank lines."""
    body = "\n".join(words).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=4)))
    splitter, lines = LineSplitter(), []
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        lines += splitter.feed(body[start:end])
    lines.append(splitter.rest())
    at_once = LineSplitter()
    assert [line for line in lines if line.strip()] == [
        line for line in [*at_once.feed(body), at_once.rest()] if line.strip()
    ]


def test_a_line_without_end_is_refused() -> None:
    """A line larger than the bound is no answer."""
    with pytest.raises(BadAnswer, match="larger than 4 bytes"):
        LineSplitter(max_bytes=4).feed(b"12345")


@pytest.mark.parametrize(
    ("framing", "first", "kind", "stream"),
    [
        ("sse", b"data: {}", "application/json", True),
        ("sse", b'{"a": 1}', "text/event-stream", False),
        ("ndjson", b'{"done": true}', "application/json", True),
        ("ndjson", b"<html>", "application/x-ndjson", False),
    ],
)
def test_the_first_byte_tells(framing: str, first: bytes, kind: str, stream: bool) -> None:
    """What a body is, its first byte says, not its content type."""
    assert is_stream(framing, first, kind) is stream  # type: ignore[arg-type]

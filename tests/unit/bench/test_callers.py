import pytest

from bench import upstream
from bench.rig import messages, subjects
from bench.rig.callers import Load, spend, unchunked


def test_a_chunked_body_is_put_together_byte_for_byte() -> None:
    """Line ends within a chunk belong to it."""
    assert unchunked(b"HEAD\r\n\r\n3\r\na\r\n\r\n2\r\nbc\r\n0\r\n\r\n", 8) == b"a\r\nbc"


@pytest.mark.parametrize(
    ("body", "right"),
    [
        (b"".join(upstream.UNASKED), True),
        (b"".join(upstream.UNASKED).replace(b"word ", upstream.STAMP % 5), True),
        (b"".join(upstream.EVENTS), False),
        (b"".join(upstream.UNASKED[:-1]), False),
        (b"".join(upstream.UNASKED).replace(b"word ", b"wort ", 1), False),
    ],
)
def test_a_stream_is_right_only_when_every_byte_is(body: bytes, right: bool) -> None:
    """Stamps stand for the word; nothing may be added or missing."""
    assert messages.is_streamed(body) is right


def test_every_answer_of_a_load_is_counted_and_checked() -> None:
    """So many per connection; what the check does not take is an error, with an example."""
    with subjects.provider() as hop:
        load = Load(messages.chat(hop.port), messages.is_whole, connections=2, each=3)
        spent = spend(hop, load)
        assert (spent.done, spent.errors) == (6, 0)
        assert spent.us > 0
        load.check = messages.is_streamed
        spent = spend(hop, load)
        assert (spent.done, spent.errors) == (0, 6)
        assert "word" in spent.example

import pytest

from bench import upstream
from bench.rig import messages, subjects
from bench.rig.callers import Load, spend, unchunked
from bench.rig.steady import Steady, wait


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


@pytest.mark.slow
def test_a_steady_load_tells_how_long_each_chunk_was_on_its_way() -> None:
    """Three streams of 60 stamped chunks: three first ones, and a time for each."""
    with subjects.provider() as hop:
        message = messages.chat(hop.port, "bench:stamped", stream=True)
        waits = wait(hop.port, Steady(message, messages.is_streamed, per_s=30, for_s=0.1))
    assert (len(waits.whole_ms), waits.errors) == (3, 0)
    assert (len(waits.first_ms), len(waits.chunk_ms)) == (3, 3 * upstream.CHUNKS)
    assert min(waits.whole_ms) > 1000 > max(waits.first_ms)

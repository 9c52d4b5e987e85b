"""The load of the bench, as long as it lasts."""

import pytest

from bench import upstream
from bench.rig import messages, subjects
from bench.rig.steady import Steady, wait


@pytest.mark.slow
def test_a_steady_load_tells_how_long_each_chunk_was_on_its_way() -> None:
    """Three streams of 60 stamped chunks: three first ones, and a time for each."""
    with subjects.provider() as hop:
        message = messages.chat(hop.port, "bench:stamped", stream=True)
        waits = wait(hop.port, Steady(message, messages.is_streamed, per_s=30, for_s=0.1))
    assert (len(waits.whole_ms), waits.errors) == (3, 0)
    assert (len(waits.first_ms), len(waits.chunk_ms)) == (3, 3 * upstream.CHUNKS)
    assert min(waits.whole_ms) > 1000 > max(waits.first_ms)

"""How fast a deployment is taken to be."""

import pytest

from trunkline.routing.pace import FADE_S, Pace


def streamed(pace: Pace, now_s: float, first_s: float, rest_s: float = 2.0) -> None:
    """Have a stream of 100 tokens end at `now_s`."""
    pace.hear(now_s - rest_s, first_s)
    pace.learn(now_s, first_s, rest_s, 100, stream=True)


def test_the_first_answer_says_all_there_is_to_know() -> None:
    """Its first token, and the time for each of its tokens times those that are wanted."""
    pace = Pace()
    assert pace.samples == 0
    streamed(pace, 10.0, first_s=0.5)
    assert pace.samples == 1
    assert pace.expected_s(0, 10.0) == pytest.approx(0.5)
    assert pace.expected_s(300, 10.0) == pytest.approx(0.5 + 300 * 0.02)


def test_a_peak_counts_at_once_and_is_forgotten_slowly() -> None:
    """Half of a value above the average, a tenth of one below it."""
    pace = Pace()
    for now_s, first_s in ((2.0, 1.0), (2.0, 3.0)):
        pace.hear(now_s, first_s)
    assert pace.expected_s(0, 2.0) == pytest.approx(2.0)
    pace.hear(2.0, 1.0)
    assert pace.expected_s(0, 2.0) == pytest.approx(1.9)


def test_what_was_long_ago_counts_for_less() -> None:
    """A new value takes the place of an old one."""
    pace = Pace()
    pace.hear(0.0, 10.0)
    pace.hear(10 * FADE_S, 1.0)
    assert pace.expected_s(0, 10 * FADE_S) == pytest.approx(1.0, rel=0.01)


def test_who_was_slow_is_taken_to_be_faster_by_and_by() -> None:
    """Else nobody would find out; not while attempts are under way that will tell."""
    pace = Pace()
    pace.hear(0.0, 10.0)
    assert pace.expected_s(0, FADE_S) == pytest.approx(10 / 2.718, rel=0.01)
    assert pace.expected_s(0, FADE_S, fading=False) == pytest.approx(10)


def test_a_whole_answer_is_parted_by_its_tokens() -> None:
    """Nobody saw its first token: it is taken to have cost as much as twenty others."""
    pace = Pace()
    pace.learn(5.0, 2.4, 0.0, 100, stream=False)
    assert pace.samples == 1
    assert pace.expected_s(100, 5.0) == pytest.approx(2.4)
    assert pace.expected_s(0, 5.0) == pytest.approx(0.4)


def test_short_streams_say_nothing_of_the_time_between_tokens() -> None:
    """Two tokens in one packet are no speed."""
    pace = Pace()
    pace.hear(1.0, 0.5)
    pace.learn(1.0, 0.5, 3.0, 2, stream=True)
    assert pace.expected_s(1000, 1.0) == pytest.approx(0.5)


def test_failures_make_it_look_slower() -> None:
    """As they cost the caller another try; answers make up for them, and time does."""
    pace = Pace()
    streamed(pace, 1.0, first_s=0.5, rest_s=0.0)
    well_s = pace.expected_s(0, 1.0)
    for _ in range(3):
        pace.fail(1.0)
    failing_s = pace.expected_s(0, 1.0)
    assert failing_s > 2 * well_s
    assert pace.expected_s(0, 1.0 + FADE_S) < failing_s / 2
    for _ in range(50):
        streamed(pace, 1.0, first_s=0.5, rest_s=0.0)
    assert pace.expected_s(0, 1.0) == pytest.approx(well_s, rel=0.1)


def test_only_failures_are_not_fast() -> None:
    """Who never answered has no pace, and is known to fail."""
    pace = Pace()
    pace.fail(1.0)
    assert pace.samples == 0
    assert pace.failing > 0


@pytest.mark.parametrize("stream", [True, False])
def test_when_an_answer_is_late(stream: bool) -> None:
    """Later than 95 of 100; of streams and of others apart; not before twenty were seen."""
    pace = Pace()
    for number in range(2000):
        assert pace.late_s(stream=stream) is None or number >= 20
        begun_s = 1.0 + (number * 37 % 100) / 100
        if stream:
            pace.hear(float(number), begun_s)
        else:
            pace.learn(float(number), begun_s, 0.0, 10, stream=False)
    late_s = pace.late_s(stream=stream)
    assert late_s == pytest.approx(1.95, rel=0.1)
    assert pace.late_s(stream=not stream) is None

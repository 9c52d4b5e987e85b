"""A deployment that shows signs of overload gets fewer calls at once, then more again."""

from trunkline.routing.pressure import CALM_S, Pressure


def test_a_sign_takes_three_tenths_of_what_is_under_way() -> None:
    """Once for all that were sent before it."""
    pressure = Pressure(busy=100, now_s=10.0)
    assert pressure.limit == 70
    for _ in range(50):
        pressure.squeeze(busy=90, begun_s=9.0, now_s=10.5)
    assert pressure.limit == 70
    pressure.squeeze(busy=60, begun_s=10.2, now_s=11.0)
    assert pressure.limit == 42


def test_it_never_goes_below_one() -> None:
    """A deployment that gets nothing cannot show that it is well."""
    pressure = Pressure(busy=1, now_s=0.0)
    for second in range(1, 10):
        pressure.squeeze(busy=1, begun_s=float(second), now_s=float(second))
    assert pressure.limit == 1


def test_answers_give_back_a_tenth_in_each_round() -> None:
    """And one at least, so that small ones grow."""
    large, small = Pressure(busy=100, now_s=0.0), Pressure(busy=1, now_s=0.0)
    for _ in range(70):
        large.ease(1.0)
    assert 76.5 < large.limit < 77.5
    small.ease(1.0)
    assert small.limit == 2


def test_it_ends_when_there_was_no_sign_for_a_while() -> None:
    """Then nothing is counted any more."""
    pressure = Pressure(busy=10, now_s=0.0)
    assert not pressure.ease(CALM_S - 1)
    assert pressure.ease(CALM_S)

import pytest

from bench.rig.table import Figure, number, percentile


def test_the_verdict_is_on_the_median_of_the_rounds_ratios() -> None:
    """One bad round decides nothing, and the medians of the sides are not divided."""
    figure = Figure("CPU", "us", 3, ours=[20, 90, 30], theirs=[10, 10, 10])
    assert figure.values() == [2, 3, 9]
    assert figure.verdict() == "pass"
    assert figure.line() == "| CPU, us | 30.0 | 10.0 | **3.00 x** (2.00 - 9.00) | <= 3 x | pass |"


@pytest.mark.parametrize(
    ("figure", "verdict"),
    [
        (Figure("f", "us", 2.9, [30], [10]), "MISSED"),
        (Figure("f", "us", 40, [10], [400], "times less"), "pass"),
        (Figure("f", "us", 41, [10], [400], "times less"), "MISSED"),
        (Figure("f", "ms", 0.5, [1.5], [1.0], "added"), "pass"),
        (Figure("f", "MB", 80, [81], kind="plain"), "MISSED"),
        (Figure("f", "us", None, [30], [10]), "-"),
    ],
)
def test_each_kind_of_figure_is_held_against_its_target(figure: Figure, verdict: str) -> None:
    """Ratios, savings, differences and plain numbers; without a target there is no verdict."""
    assert figure.verdict() == verdict


def test_a_figure_with_errors_never_passes() -> None:
    """A gateway that answers wrongly is not fast."""
    assert Figure("f", "us", 9, [1], [1], errors=2).verdict() == "FAILED: 2 errors"


def test_a_percentile_is_one_of_the_values() -> None:
    """Half of them lie below the median, 99 of 100 below p99."""
    values = [float(i) for i in range(100, 0, -1)]
    assert (percentile(values, 0.5), percentile(values, 0.99)) == (51, 100)
    assert percentile([7.0], 0.99) == 7


def test_a_number_has_three_figures_that_count() -> None:
    """Also below nought."""
    assert [number(n) for n in (0.123, 12.345, 1234.5, -12.345)] == [
        "0.12",
        "12.3",
        "1234",
        "-12.3",
    ]

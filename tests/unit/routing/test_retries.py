"""Retries are a share of what is asked, so that an outage multiplies nothing."""

from trunkline.routing.retries import RetryBudget, RetryBudgets


def taken(budget: RetryBudget, now_s: float) -> int:
    """Take all there are."""
    count = 0
    while budget.take(now_s):
        count += 1
    return count


def test_few_calls_are_retried_as_configured() -> None:
    """Ten within ten seconds, whatever was asked before."""
    budget = RetryBudget("p", 100.0)
    assert taken(budget, 100.0) == 10
    assert budget.refused == 1


def test_a_fifth_of_the_calls_may_be_retried() -> None:
    """Beside those ten."""
    budget = RetryBudget("p", 100.0)
    budget.fresh += 1000
    assert 205 <= taken(budget, 100.1) <= 210


def test_an_outage_does_not_multiply_the_load() -> None:
    """A hundred calls a second that all fail make not more than about a fifth more of them."""
    budget, retries = RetryBudget("p", 0.0), 0
    for tick in range(6000):
        budget.fresh += 1
        retries += budget.take(tick / 100) + budget.take(tick / 100)
    assert 0.15 * 6000 < retries < 0.25 * 6000


def test_what_is_long_ago_does_not_count() -> None:
    """An hour of good answers is no credit for thousands of retries."""
    budget = RetryBudget("p", 0.0)
    budget.fresh += 36_000
    assert taken(budget, 3600.0) < 10 + 0.2 * 110
    assert taken(budget, 3700.0) in {9, 10}


def test_each_provider_has_its_own() -> None:
    """And the same again when it is asked for again."""
    budgets = RetryBudgets()
    budget = budgets.of("p", lambda: 0.0)
    assert budgets.of("p", lambda: 0.0) is budget
    assert budgets.of("q", lambda: 0.0) is not budget
    taken(budget, 0.0)
    assert budgets.refused == 1

"""Which account a rule has."""

from itertools import permutations

from tests.ledgers import budget
from trunkline.accounting.account import Account
from trunkline.accounting.matching import match
from trunkline.config import BudgetRule
from trunkline.config.model import Allowance, MadeRule


def names(*rules: BudgetRule) -> list[tuple[str, str]]:
    """Return the scope and name of each rule's account."""
    return [(account.rule.scope, account.period) for account in match(rules, ()).ruled]


def test_an_account_is_called_by_where_its_rule_is_kept() -> None:
    """Not by what else there is: a process that knows fewer rules comes to the same."""
    mine = {"scope": "user:u", "amount_nusd": 100, "period": "total"}
    rules = [BudgetRule(**mine), MadeRule(**mine), Allowance(**mine)]  # type: ignore[arg-type]
    expected = ["total", "total:made", "total:allowance"]
    assert names(*rules) == [("user:u", name) for name in expected]
    for rule, name in zip(rules, expected, strict=True):
        assert names(rule) == [("user:u", name)]


def test_rules_alike_are_told_apart_by_what_they_say() -> None:
    """In whatever order they stand; the accounts stand in that order."""
    rules = [budget(amount_nusd=70, mode="soft"), budget(amount_nusd=100), budget(amount_nusd=200)]
    numbered = dict(zip((70, 100, 200), ("total", "total:2", "total:3"), strict=True))
    for order in permutations(rules):
        assert names(*order) == [("global", numbered[rule.amount_nusd]) for rule in order]


def test_accounts_that_are_there() -> None:
    """They are kept; those whose rule changed and those without one are named, nothing is done."""
    one, other, gone = budget(), budget("user:u"), budget("user:v")
    present = [Account(rule) for rule in (one, other, gone)]
    changed = budget("user:u", 50)
    found = match([budget("user:w"), changed, budget()], present)
    assert found.ruled[1:] == (present[1], present[0])
    assert found.changed == [(present[1], changed)]
    assert found.left == [present[2]]
    assert present[1].rule is other


def test_one_that_was_retired_has_to_follow() -> None:
    """Although its rule says what it said before."""
    account = Account(budget(mode="soft", unknown_price="allow"))
    account.retire()
    assert match([account.rule], [account]).changed == [(account, account.rule)]

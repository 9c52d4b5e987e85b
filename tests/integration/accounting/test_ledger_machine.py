"""Any order of events, where a server keeps the accounts."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests import examples
from tests.ledgers import Engine
from tests.unit.accounting.test_ledger_machine import RULES, Machine
from trunkline.config import BudgetRule


@RULES
@pytest.mark.parametrize(
    "take", [examples.few, pytest.param(examples.some, marks=pytest.mark.torture)]
)
def test_any_order_of_events(
    engine: Engine, rules: tuple[BudgetRule, ...], take: Callable[[], settings]
) -> None:
    """Limits hold after every step; in the end all that was spent is settled, and nothing held."""
    run_state_machine_as_test(cast(Any, functools.partial(Machine, engine, rules)), settings=take())

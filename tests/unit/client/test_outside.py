"""Usage that went past the line."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from trunkline import Trunkline, errors
from trunkline.config import from_mapping
from trunkline.types import Cost, Principal


def made(tmp_path: Path, *budgets: dict[str, Any]) -> Trunkline:
    """Build a line."""
    data = {"TRUNKLINE_DATA": str(tmp_path / "data")}
    return Trunkline(from_mapping({"llm_service": {"budgets": [*budgets]}}, data))


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Trunkline]:
    """A line with budgets of a dollar."""
    month = {"amount": 1, "period": "month"}
    async with made(
        tmp_path, {"scope": "global", **month}, {"scope": "tenant:t", **month, "mode": "strict"}
    ) as line:
        yield line


async def test_it_is_on_every_budget_and_on_record(line: Trunkline) -> None:
    """Exactly, with who pays, whether there is room or not; nothing stays held."""
    line.charge(Principal(user_id="u", tenant_id="t"), 3_000_000_001)
    line.charge(Principal(user_id="v"), 5)
    line.flush()
    totals = [(account.settled_nusd, account.held_nusd) for account in line.ledger.accounts()]
    assert totals == [(3_000_000_006, 0), (3_000_000_001, 0)]
    assert [account.overrun_nusd for account in line.ledger.accounts()] == [0, 0]
    assert line.store.settled("global", 0) == 3_000_000_006
    first, second = sorted(line.store.calls(), key=lambda row: row.call.user_id or "")
    assert (first.call.user_id, first.call.tenant_id) == ("u", "t")
    assert (first.call.kind, first.call.outcome) == ("outside", "complete")
    assert first.attempts[0].cost == Cost(3_000_000_001)
    assert second.call.cost_nusd == 5
    assert first.call.call_id != second.call.call_id


async def test_what_cannot_be_recorded_is_not_charged(
    line: Trunkline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error arrives, and the same charge made again is the only one."""
    who = Principal(user_id="u")

    def full(*args: Any, **kwargs: Any) -> None:
        raise errors.RecordError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(line._parts.journal, "append", full)
        with pytest.raises(errors.RecordError):
            line.charge(who, 7)
    assert [account.settled_nusd for account in line.ledger.accounts()] == [0, 0]
    line.charge(who, 7)
    line.flush()
    assert line.ledger.accounts()[0].settled_nusd == line.store.settled("user:u", 0) == 7


@pytest.mark.parametrize("cost_nusd", [-1, True, 0.5, "7", None, 2**43 + 1])
async def test_a_cost_that_is_none(line: Trunkline, cost_nusd: Any) -> None:
    """Negative, no whole number, or more than a record can hold: refused, and nothing is noted."""
    with pytest.raises(errors.InputError, match=r"cost_nusd: found .*; write") as caught:
        line.charge(Principal(user_id="u"), cost_nusd)
    assert caught.value.param == "cost_nusd"
    line.flush()
    assert [account.settled_nusd for account in line.ledger.accounts()] == [0, 0]
    assert line.store.calls() == []
    line.charge(Principal(user_id="u"), 2**43)
    line.flush()
    assert line.store.settled("user:u", 0) == 2**43


@pytest.mark.parametrize("name", ["u" * 257, 7])
async def test_who_cannot_be_recorded(line: Trunkline, name: Any) -> None:
    """As of a call: nobody pays under a name that no index takes."""
    with pytest.raises(errors.InputError) as caught:
        line.charge(Principal(user_id=name), 5)
    assert caught.value.param == "user_id"
    line.flush()
    assert line.store.calls() == []


def test_a_death_right_after_it_loses_nothing(tmp_path: Path) -> None:
    """`kill -9` as soon as it returns: the next process has the charge, once."""
    program = """
import os, signal
from trunkline import Trunkline
from trunkline.types import Principal
line = Trunkline.from_config({"llm_service": {}})
line.charge(Principal(user_id="u"), 7)
os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = {**os.environ, "TRUNKLINE_DATA": str(tmp_path / "data")}
    died = subprocess.run([sys.executable, "-c", program], check=False, env=environment, timeout=60)
    assert died.returncode == -signal.SIGKILL
    line = made(tmp_path)
    line.flush()
    assert line.store.settled("user:u", 0) == 7
    line.flush()
    assert line.store.settled("global", 0) == 7

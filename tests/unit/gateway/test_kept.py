"""What is kept for workers to come."""

import os
import stat
from pathlib import Path

import pytest

from trunkline.config.model import Allowance, MadeRule
from trunkline.gateway import kept
from trunkline.gateway.kept import Kept, keep, recall
from trunkline.storage.snapshot import Digest, Snapshot, StoredKey

KEY = StoredKey(
    id="key_1", name="k", digests=(Digest(b"\x00\xff", 5),), role="viewer", user_id="u",
    team_id=None, tenant_id="acme", tier=None, models=("m",), may_act_for=("*",),
    required_tags=(), expires_ns=None,
)  # fmt: skip
FULL = Snapshot(
    version=3,
    keys=(KEY,),
    budgets=(MadeRule(scope="global", amount_nusd=2**60, period="day", alert_at=(0.5,)),),
    allowances=(Allowance(scope="user:u", amount_nusd=1, period="month", rolling=True),),
)


def test_it_comes_back(tmp_path: Path) -> None:
    """As it was, the kinds of rules included, and for its owner only; the last one counts."""
    keep(
        tmp_path,
        Kept(database="a", snapshot=Snapshot(version=2, keys=(), budgets=(), allowances=())),
    )
    keep(tmp_path, Kept(database="a", snapshot=FULL))
    found = recall(tmp_path, "a")
    assert found == FULL
    assert [rule.origin for rule in found.rules] == ["made", "allowance"]
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [None, b"", b"\x00" * 99, b"\x82\xa8database\xa1a"])
def test_nothing_that_can_be_read(tmp_path: Path, content: bytes | None) -> None:
    """It is as if there were none."""
    if content is not None:
        (tmp_path / "known.bin").write_bytes(content)
    assert recall(tmp_path, "a") is None


def test_that_of_another_database(tmp_path: Path) -> None:
    """It says nothing of this one."""
    keep(tmp_path, Kept(database="a", snapshot=FULL))
    assert recall(tmp_path, "b") is None


def test_what_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was there before stays, and nothing else is left behind."""

    def full(fd: int) -> None:
        raise OSError("the disk is full")

    keep(tmp_path, Kept(database="a", snapshot=FULL))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="full"):
        keep(tmp_path, Kept(database="b", snapshot=FULL))
    assert recall(tmp_path, "a") == FULL
    assert [path.name for path in tmp_path.iterdir()] == [kept._FILE]

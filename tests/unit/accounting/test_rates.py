"""Leaking buckets in one process: exact, all or nothing."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.buckets import BucketsMachine, now, taken
from trunkline.accounting import rates
from trunkline.accounting.rates import Buckets, Draw, InProcessBuckets


class InProcess(BucketsMachine):
    """Buckets of one process."""

    def open(self, now_ns: Callable[[], int]) -> Buckets:
        """Return new buckets."""
        return InProcessBuckets(now_ns)


TestInProcess = InProcess.TestCase
TestInProcess.settings = settings(max_examples=50)


@given(limit=st.integers(1, 10**9))
def test_a_full_bucket_has_a_minutes_worth(limit: int) -> None:
    """Whatever the limit is, so many single units pass at once, and the next one waits."""
    buckets = InProcessBuckets(lambda: 5)
    assert taken(now(buckets.take([Draw("b", limit, limit - 1)])))
    assert taken(now(buckets.take([Draw("b", limit, 1)])))
    [level] = now(buckets.take([Draw("b", limit, 1)]))
    assert abs(level.wait_ns - 60 * 10**9 / limit) <= 2


def test_another_limit_leaves_the_level_as_a_share() -> None:
    """A reloaded configuration changes the pace, it does not fill the bucket."""
    buckets = InProcessBuckets(lambda: 0)
    now(buckets.take([Draw("b", 1, 1)]))
    [level] = now(buckets.take([Draw("b", 30, 1)]))
    assert level.wait_ns == 2 * 10**9


def test_full_buckets_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that come once do not pile up; one that is in use stays."""
    monkeypatch.setattr(rates, "_MOST_KEPT", 10)
    at_s = 0
    buckets = InProcessBuckets(lambda: at_s * 10**9)
    now(buckets.take([Draw("kept", 1, 100)]))
    for at_s in range(0, 20 * 61, 61):
        now(buckets.take([Draw(f"user:{at_s}", 1, 1)]))
    assert len(buckets._cells) <= 12
    assert not taken(now(buckets.take([Draw("kept", 1, 1)])))

"""An attempt whose hold grew begins anew in the journal: the last hold is the one that counts."""

from __future__ import annotations

import pytest

from tests.journal_records import begun, ended
from trunkline.accounting.leases import Want
from trunkline.accounting.period import Window
from trunkline.journal.ingest import recover
from trunkline.storage.ledger import SqlLeases
from trunkline.storage.store import Store

FILE = "owner.000000.log"
EVER = Window(0, 0, 2**62, None)
BATCHES = pytest.mark.parametrize("together", [True, False], ids=["one batch", "two"])


def write(store: Store, *, together: bool) -> None:
    """Bring in both records of the beginning."""
    both = [begun(hold_nusd=500), begun(hold_nusd=900)]
    for offset, batch in enumerate([both] if together else [both[:1], both[1:]]):
        store.apply(FILE, offset + 1, batch)


@BATCHES
def test_a_dead_process(store: Store, *, together: bool) -> None:
    """What it had begun is settled at what it held last."""
    write(store, together=together)
    [(found, cost)] = store.loose_ends("owner")
    assert (found.hold_nusd, cost) == (900, None)
    end, _ = recover([(found, cost)])
    assert end.cost_nusd == 900  # type: ignore[union-attr]


@BATCHES
def test_an_overrun(store: Store, *, together: bool) -> None:
    """Is what the attempt cost beyond its last hold."""
    leases = SqlLeases(store.database)
    leases.grant("owner", [Want("global", "total", EVER, 10_000, 500, 500, 0, since_ns=0)])
    write(store, together=together)
    store.apply(FILE, 9, [ended(cost_nusd=950)])
    assert leases.look("global", "total", EVER).overrun_nusd == 50

"""Move the journal into a store, and end what dead processes left open.

Any number of processes may try; the one that gets `<data>/ingest.lock` does it. Everything here may
be cut short at any point and done again: the store takes the same record twice without a change.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from trunkline.journal.frames import Gap, owner_of, read
from trunkline.types.call import Attempt, Cost, Trail
from trunkline.types.record import PROCESS_DIED, Begun, Called, Ended, Record

_BATCH = 2000
_log = logging.getLogger("trunkline.journal")


class RowStore(Protocol):
    """Where records end up. Files are known by their names."""

    def offset(self, file: str) -> int:
        """Return up to where `file` was applied; 0 for an unknown one."""

    def apply(self, file: str, offset: int, records: Sequence[Record]) -> None:
        """Write rows and offset in one transaction.

        Order and repetition of records do not matter. An end whose code is `PROCESS_DIED` is
        taken only where no other has come; any other end replaces it.
        """

    def loose_ends(self, owner: str) -> list[tuple[Begun, Cost | None]]:
        """Return attempts, with their cost if they ended, from files of `owner`.

        Those that have no end, and all of a call that has no `Called`.
        """

    def release(self, owner: str) -> None:
        """Note that `owner` is dead and all its records are here: it spends nothing any more."""

    def forget(self, file: str) -> None:
        """Drop the offset; when this returns, all rows are safe from a power failure."""


class IngestReport(Struct, kw_only=True):
    """What one ingestion did."""

    busy: bool = False
    """Somebody else is at it; nothing was done."""
    records: int = 0
    recovered: int = 0
    """Attempts of dead processes that were ended at their hold."""
    deleted: int = 0
    """Files that are fully in the store."""
    damaged: list[str] = []
    """Files with bytes that are no records; kept under this name for a look."""
    lost_bytes: int = 0
    """That are no record: damage, and writes that were cut short by a death."""


def ingest(data_dir: Path, store: RowStore) -> IngestReport:
    """Bring `store` up to date with the files in `<data_dir>/journal`, once.

    Raises:
        RecordError: the store cannot be written; nothing is lost, try again later.
        OSError: the data folder cannot be read.
    """
    report = IngestReport()
    journal = Path(data_dir) / "journal"
    if not journal.is_dir():
        return report
    with _locked(Path(data_dir) / "ingest.lock", os.O_CREAT | os.O_RDWR) as mine:
        if not mine:
            return IngestReport(busy=True)
        for owner in sorted({owner_of(path) for path in journal.glob("*.log")}):
            _ingest_owner(journal, owner, store, report)
    return report


def _files(journal: Path, owner: str) -> list[Path]:
    return sorted(path for path in journal.glob("*.log") if owner_of(path) == owner)


def _ingest_owner(journal: Path, owner: str, store: RowStore, report: IngestReport) -> None:
    paths = _files(journal, owner)
    with contextlib.ExitStack() as locks:
        released = [p for p in paths if locks.enter_context(_locked(p, os.O_RDONLY))]
        # An owner opens its next file before it lets go of the last, so a look after the locks
        # were taken sees it.
        dead = released == _files(journal, owner)
        gaps = {path: _apply(path, store, report, released=path in released) for path in paths}
        if dead and (ends := recover(store.loose_ends(owner))):
            report.recovered += sum(isinstance(record, Ended) for record in ends)
            last = paths[-1].name
            store.apply(last, store.offset(last), ends)
        if dead:
            store.release(owner)
        for path in released:
            store.forget(path.name)
            _remove(path, gaps[path], report)


def _apply(path: Path, store: RowStore, report: IngestReport, *, released: bool) -> list[Gap]:
    gaps: list[Gap] = []
    batch: list[Record] = []
    offset = store.offset(path.name)
    for records, after in read(path, offset, gaps=gaps if released else None):
        offset = after
        batch += records
        if len(batch) >= _BATCH:
            store.apply(path.name, offset, batch)
            report.records += len(batch)
            batch = []
    if batch:
        store.apply(path.name, offset, batch)
        report.records += len(batch)
    return gaps


def _remove(path: Path, gaps: list[Gap], report: IngestReport) -> None:
    lost_bytes = sum(gap.end - gap.start for gap in gaps)
    report.lost_bytes += lost_bytes
    if all(gap.torn for gap in gaps):
        path.unlink()
        report.deleted += 1
        return
    kept = path.rename(path.with_suffix(".damaged"))
    report.damaged.append(kept.name)
    _log.error(
        "journal damaged: %d bytes in %d places of %s are no records; the rest was ingested",
        lost_bytes,
        len(gaps),
        kept,
    )


def recover(loose: Sequence[tuple[Begun, Cost | None]]) -> list[Record]:
    """End what a dead process left open: each attempt at its hold, each call as abandoned."""
    ends: list[Record] = []
    calls: dict[str, list[tuple[Begun, Cost]]] = {}
    for begun, known in loose:
        cost = known or _hold(begun)
        calls.setdefault(begun.call_id, []).append((begun, cost))
        if known is None:
            end = Ended(
                call_id=begun.call_id,
                n=begun.n,
                outcome="abandoned",
                cost_nusd=cost.nusd,
                cost_state=cost.state,
                error_code=PROCESS_DIED,
            )
            ends.append(end)
    return ends + [_abandoned(attempts) for attempts in calls.values()]


def _hold(begun: Begun) -> Cost:
    return Cost(begun.hold_nusd, "unknown" if begun.hold_nusd is None else "estimated")


def _abandoned(attempts: list[tuple[Begun, Cost]]) -> Called:
    first, last = attempts[0][0], attempts[-1][0]
    trail = Trail(
        started_ns=first.started_ns,
        started_s=0.0,
        attempts=[
            Attempt(n=b.n, deployment=b.deployment, started_ns=b.started_ns, cost=cost)
            for b, cost in attempts
        ],
    )
    return Called(
        call_id=first.call_id,
        kind="unknown",
        started_ns=first.started_ns,
        model=first.model,
        outcome="abandoned",
        attempts=len(attempts),
        deployment=last.deployment,
        error_code=PROCESS_DIED,
        cost_nusd=trail.cost.nusd,
        cost_state=trail.cost.state,
        key_id=first.key_id,
        user_id=first.user_id,
        team_id=first.team_id,
        tenant_id=first.tenant_id,
        tags=first.tags,
        run=first.run,
        tracked=first.tracked,
    )


@contextlib.contextmanager
def _locked(path: Path, flags: int) -> Iterator[bool]:
    """Hold the lock on `path`, or say False where another has it."""
    fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        try:
            yield True
        finally:
            # Unlocked by name: a child forked meanwhile has a copy of the descriptor.
            fcntl.flock(fd, fcntl.LOCK_UN)
    finally:
        os.close(fd)

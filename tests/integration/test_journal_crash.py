"""The journal under deaths, forks, full disks and company, in real processes."""

from __future__ import annotations

import contextlib
import fcntl
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trunkline.journal import Journal, ingest, read
from trunkline.storage.rows import CallFilter
from trunkline.storage.sqlite import SqliteDatabase
from trunkline.storage.store import Store
from trunkline.types.call import Cost
from trunkline.types.record import Record

ROOT = Path(__file__).parents[2]
PRELUDE = """
import os, signal, sys, threading
from pathlib import Path
from tests.journal_records import begun, called, ended
from trunkline.clock import SystemClock
from trunkline.errors import RecordError
from trunkline.journal import Journal, ingest
from trunkline.storage.sqlite import SqliteDatabase
from trunkline.storage.store import Store

data = Path(sys.argv[1])
journal = Journal(data / "journal", clock=SystemClock(), limit_bytes=int(sys.argv[2]))
def call(name):
    journal.append(begun(name), flush=True)
    journal.append(ended(name), flush=False)
    journal.append(called(name), flush=True)
def say(word):
    print(word, flush=True)
def die():
    os.kill(os.getpid(), signal.SIGKILL)
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a process that runs a script after the prelude; all are gone after the test."""
    with contextlib.ExitStack() as running:

        def popen(script: str, limit_bytes: int = 1 << 24) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-W", "error", "-c", PRELUDE + script, tmp_path, str(limit_bytes)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
            running.enter_context(process)
            running.callback(process.kill)
            return process

        yield popen


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """The store of the data folder."""
    made = Store(SqliteDatabase(tmp_path / "trunkline.db"))
    yield made
    made.close()


def files(tmp_path: Path) -> list[Path]:
    """Return the journal files."""
    return sorted((tmp_path / "journal").iterdir())


def written(tmp_path: Path) -> list[Record]:
    """Return what stands in them."""
    return [record for path in files(tmp_path) for frame, _ in read(path) for record in frame]


def is_locked(path: Path) -> bool:
    """Say whether somebody holds the lock on `path`."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def heard(process: subprocess.Popen[str]) -> str:
    """Wait for the next word of a process."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def answer(process: subprocess.Popen[str]) -> None:
    """Let a process go on that waits at `sys.stdin.readline()`."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_what_was_flushed_survives_kill_9(tmp_path: Path, store: Store, start: Start) -> None:
    """A kill right after append returned loses nothing; the open attempt costs its hold."""
    process = start('call("done"); journal.append(begun("open"), flush=True); die()')
    assert process.wait() == -signal.SIGKILL
    report = ingest(tmp_path, store)
    assert (report.records, report.recovered, report.lost_bytes) == (4, 1, 0)
    assert files(tmp_path) == []
    (opened,) = store.calls(where=CallFilter(call_id="open"))
    assert (opened.call.outcome, opened.call.error_code) == ("abandoned", "process_died")
    assert opened.attempts[0].cost == Cost(500, "estimated")
    assert store.settled("global", 0) == 620


def test_a_living_process_is_not_recovered(tmp_path: Path, store: Store, start: Start) -> None:
    """While it lives its attempts are under way, even when it is slow; its death ends them."""
    process = start('journal.append(begun("slow"), flush=True); say("ok"); sys.stdin.readline()')
    assert heard(process) == "ok"
    assert ingest(tmp_path, store).recovered == 0
    assert store.calls() == []
    process.kill()
    process.wait()
    assert ingest(tmp_path, store).recovered == 1


def test_two_write_while_another_ingests(tmp_path: Path, store: Store, start: Start) -> None:
    """Under rotation, syncs and constant ingestion each call arrives once and none is abandoned."""
    script = """
for i in range(1500):
    call(f"{os.getpid()}-{i}")
    if i % 20 == 0:
        journal.sync()
journal.close()
"""
    writers = [start(script, 10_000), start(script, 10_000)]
    (tmp_path / "journal").mkdir(exist_ok=True)
    recovered = deleted = 0
    while any(writer.poll() is None for writer in writers):
        report = ingest(tmp_path, store)
        recovered += report.recovered
        deleted += report.deleted
    assert [writer.wait() for writer in writers] == [0, 0]
    recovered += ingest(tmp_path, store).recovered
    assert recovered == 0
    assert deleted > 0
    assert files(tmp_path) == []
    (row,) = store.usage("model")
    assert (row.requests, row.total_tokens, row.cost_nusd) == (3000, 45_000, 360_000)


def test_two_ingesters_share_the_work(tmp_path: Path, store: Store, start: Start) -> None:
    """Processes that ingest at the same time never disturb each other or double a row."""
    for _ in range(3):
        assert start('for i in range(300): call(f"{os.getpid()}-{i}")', 5_000).wait() == 0
    script = """
store = Store(SqliteDatabase(data / "trunkline.db"))
say("ok"); sys.stdin.readline()
while ingest(data, store).busy: pass
store.close()
"""
    ingesters = [start(script), start(script), start(script)]
    assert [heard(each) for each in ingesters] == ["ok"] * 3
    for each in ingesters:
        answer(each)
    assert [each.wait() for each in ingesters] == [0, 0, 0]
    assert files(tmp_path) == []
    (row,) = store.usage("model")
    assert (row.requests, row.cost_nusd) == (900, 900 * 120)


def test_a_forked_child_writes_its_own_file(tmp_path: Path, start: Start) -> None:
    """The child takes over neither the file nor what waited to be written; both close cleanly."""
    script = """
journal.append(begun("parent"), flush=True)
journal.append(ended("parent"), flush=False)
pid = os.fork()
if not pid:
    call("child"); journal.close(); os._exit(0)
os.waitpid(pid, 0)
journal.append(called("parent"), flush=True)
journal.close()
"""
    assert start(script).wait() == 0
    by_file = [
        [(type(r).__name__, r.call_id) for frame, _ in read(path) for r in frame]
        for path in files(tmp_path)
    ]
    kinds = ("Begun", "Ended", "Called")
    assert sorted(by_file) == [[(kind, who) for kind in kinds] for who in ("child", "parent")]


def test_a_child_does_not_keep_its_dead_parents_lock(
    tmp_path: Path, store: Store, start: Start
) -> None:
    """A killed parent is seen to be dead although its child lives on, also beside a full file."""
    script = """
for i in range(5): journal.append(begun(f"c{i}"), flush=True)
if not os.fork():
    say("ok"); sys.stdin.readline(); os._exit(0)
die()
"""
    process = start(script, limit_bytes=100)
    assert heard(process) == "ok"
    assert process.wait() == -signal.SIGKILL
    assert len(files(tmp_path)) > 1
    assert not any(is_locked(path) for path in files(tmp_path))
    assert ingest(tmp_path, store).recovered == 5
    answer(process)


def test_forks_amid_appending_threads(tmp_path: Path, start: Start) -> None:
    """Children forked while other threads append hang nowhere, and repeat and tear nothing."""
    script = """
import warnings; warnings.simplefilter("ignore", DeprecationWarning)
stop = threading.Event()
def work(number):
    i = 0
    while not stop.is_set():
        call(f"{number}-{i}"); i += 1
        if i % 10 == 0: journal.sync()
threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
for thread in threads: thread.start()
for fork in range(40):
    pid = os.fork()
    if not pid:
        call(f"child-{fork}"); journal.sync(); os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
stop.set()
for thread in threads: thread.join()
journal.close()
"""
    assert start(script, limit_bytes=20_000).wait() == 0
    records = [(type(record).__name__, record.call_id) for record in written(tmp_path)]
    assert len(records) == len(set(records))
    children = [record for record in records if record[1].startswith("child-")]
    assert len(children) == 3 * 40
    for path in files(tmp_path):
        assert [offset for _, offset in read(path)][-1] == path.stat().st_size


def test_a_forked_child_opens_its_own_database(tmp_path: Path, store: Store, start: Start) -> None:
    """A store that was in use before the fork works on both sides, on two connections."""
    script = """
store = Store(SqliteDatabase(data / "trunkline.db"))
store.apply("a", 1, [begun("a"), ended("a")])
pid = os.fork()
if not pid:
    assert store.database._db is None
    store.apply("b", 1, [begun("b"), ended("b")]); store.close(); os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
store.apply("c", 1, [begun("c"), ended("c")])
store.close()
"""
    assert start(script).wait() == 0
    assert store.settled("global", 0) == 3 * 120


def test_a_full_disk_refuses_and_recovers(tmp_path: Path, start: Start) -> None:
    """At the limit a begin is refused in words; with room again everything that happened is there.

    RLIMIT_FSIZE stands for the disk: the kernel writes what fits and then fails.
    """
    script = """
import resource
journal.append(begun("a"), flush=True)
size = next(data.glob("journal/*")).stat().st_size
for room in range(1, 200, 7):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, resource.RLIM_INFINITY))
    try:
        journal.append(begun("refused", tags=("x" * 200,)), flush=True)
    except RecordError as error:
        assert "File too large" in str(error), error
    else:
        raise AssertionError(room)
journal.append(ended("a"), flush=False)
try:
    journal.append(called("a", error="x" * 300), flush=True)
except RecordError:
    say("refused")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.append(begun("b"), flush=True)
die()
"""
    process = start(script)
    assert heard(process) == "refused"
    assert process.wait() == -signal.SIGKILL
    assert len(files(tmp_path)) == 1
    records = [(type(record).__name__, record.call_id) for record in written(tmp_path)]
    assert records == [("Begun", "a"), ("Ended", "a"), ("Called", "a"), ("Begun", "b")]


def test_journals_can_be_imported_without_the_database() -> None:
    """A process that only writes does not load the driver."""
    script = "import sys, trunkline.journal; assert 'sqlite3' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
    assert Journal.__module__ == "trunkline.journal.writer"

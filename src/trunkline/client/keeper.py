"""The thread that does what must not sit on the hot path: fsync, log rendering, ingestion.

It sleeps until `touch()` says that something was written, then runs each job once its pace has
passed, and goes back to sleep when nothing more was touched. A patient job does not compete with
the calls for the processor: it waits for a lull. It is a daemon: what it did not get
to is done by `Trunkline.flush`, at exit, or by the next process that ingests.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import NamedTuple

logger = logging.getLogger("trunkline.keeper")


class Job(NamedTuple):
    """What to do, and when."""

    pace_s: float
    """The shortest time between two runs."""
    work: Callable[[], object]
    patience_s: float = 0.0
    """How much longer it waits for a moment in which nothing is touched."""


_keepers: weakref.WeakSet[Keeper] = weakref.WeakSet()


class Keeper:
    """Runs `jobs` in their pace while there is work."""

    def __init__(self, jobs: tuple[Job, ...]) -> None:
        self._jobs = jobs
        self._starting = threading.Lock()
        self._awake = threading.Event()
        self._thread: threading.Thread | None = None
        self.stopped = False
        _keepers.add(self)

    def touch(self) -> None:
        """Say that there is work; costs next to nothing when the keeper is awake already."""
        if not self._awake.is_set():
            self._awake.set()
        if self._thread is None and not self.stopped:
            self._start()

    def stop(self, most_s: float = 5.0) -> None:
        """Let the thread end; waits at most so long for a job under way."""
        self.stopped = True
        self._awake.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=most_s)

    def renew(self) -> None:
        """Forget the parent's thread; for a child after fork."""
        self._starting = threading.Lock()
        self._awake = threading.Event()
        self._thread = None

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                # The thread must not keep a dropped client alive: it knows the jobs, not us.
                awake = self._awake
                thread = threading.Thread(
                    target=_run,
                    args=(self._jobs, awake, weakref.ref(self, lambda _: awake.set())),
                    name="trunkline-keeper",
                    daemon=True,
                )
                with contextlib.suppress(RuntimeError):  # at exit no thread can be started
                    thread.start()
                    self._thread = thread


def _run(jobs: tuple[Job, ...], awake: threading.Event, keeper: weakref.ref[Keeper]) -> None:
    fastest_s = min(job.pace_s for job in jobs)
    due = dict.fromkeys(range(len(jobs)), time.monotonic())
    pending: set[int] = set()
    troubles = dict.fromkeys(due, "")
    while True:
        if not pending:
            awake.wait()
        if _ended(keeper):
            return
        busy = awake.is_set()
        if busy:
            awake.clear()
            pending = set(due)
        time.sleep(fastest_s)
        now_s, busy = time.monotonic(), busy or awake.is_set()
        for number in sorted(pending):
            job = jobs[number]
            if now_s >= due[number] + (job.patience_s if busy else 0.0):
                due[number] = now_s + job.pace_s
                pending.discard(number)
                troubles[number] = _tried(job, troubles[number])


def _tried(job: Job, trouble: str) -> str:
    """Run a job; return what went wrong, which is said once and not at each run."""
    try:
        job.work()
    except Exception as error:
        if repr(error) != trouble:
            logger.exception("background work failed")
        return repr(error)
    return ""


def _ended(keeper: weakref.ref[Keeper]) -> bool:
    found = keeper()
    return found is None or found.stopped


def _renew_all() -> None:
    for keeper in list(_keepers):
        keeper.renew()


os.register_at_fork(after_in_child=_renew_all)

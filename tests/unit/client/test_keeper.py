"""The background thread works when there is work, sleeps when not, and outlives nobody."""

import gc
import logging
import os
import threading
import time
from collections.abc import Callable, Collection

import pytest

from trunkline.client.keeper import Job, Keeper

PACE_S = 0.002


class Work:
    """A job that counts its runs and says that it ran."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.runs = 0
        self.ran = threading.Semaphore(0)
        self.then = then

    def __call__(self) -> None:
        """Run once."""
        self.runs += 1
        self.ran.release()
        self.then()

    def wait(self) -> None:
        """Wait for the next run."""
        assert self.ran.acquire(timeout=5)


def keepers(before: Collection[threading.Thread] = ()) -> list[threading.Thread]:
    """Return the threads of all keepers that were not there before; some of other tests may end."""
    threads = [each for each in threading.enumerate() if each.name == "trunkline-keeper"]
    return [thread for thread in threads if thread not in before]


def gone(thread: threading.Thread) -> bool:
    """Wait for a thread to end."""
    thread.join(5)
    return not thread.is_alive()


def test_nothing_runs_before_there_is_work() -> None:
    """A keeper that was never touched has no thread."""
    before = keepers()
    work = Work()
    keeper = Keeper((Job(PACE_S, work),))
    assert not keepers(before)
    keeper.stop()
    assert work.runs == 0


def test_jobs_run_after_a_touch_and_then_no_more() -> None:
    """Each touch makes each job run; without one the thread sleeps."""
    fast, slow = Work(), Work()
    keeper = Keeper((Job(PACE_S, fast), Job(PACE_S * 5, slow)))
    for _ in range(2):
        keeper.touch()
        fast.wait()
        slow.wait()
    runs = fast.runs, slow.runs
    time.sleep(PACE_S * 10)
    assert (fast.runs, slow.runs) == runs
    keeper.stop()


def test_a_patient_job_waits_for_a_lull() -> None:
    """Touched all the time, it does not run; left alone, it does; its patience has an end."""
    fast, patient = Work(), Work()
    keeper = Keeper((Job(PACE_S, fast), Job(PACE_S, patient, patience_s=60.0)))
    fast.then = keeper.touch
    keeper.touch()
    for _ in range(10):
        fast.wait()
    assert patient.runs == 0
    fast.then = lambda: None
    patient.wait()
    keeper.stop()
    short = Keeper((Job(PACE_S, fast), Job(PACE_S, patient, patience_s=PACE_S * 3)))
    fast.then = short.touch
    short.touch()
    patient.wait()
    short.stop()


def test_a_job_keeps_its_pace() -> None:
    """Touched all the time, a slow job still runs seldom."""
    fast, slow = Work(), Work()
    keeper = Keeper((Job(PACE_S, fast), Job(60.0, slow)))
    for _ in range(10):
        keeper.touch()
        fast.wait()
    assert slow.runs == 1
    keeper.stop()


def test_work_that_comes_while_a_job_runs_is_not_forgotten() -> None:
    """A touch in the middle of a job means another run after it."""
    keeper: Keeper
    work = Work(lambda: keeper.touch() if work.runs == 1 else None)
    keeper = Keeper((Job(PACE_S, work),))
    keeper.touch()
    work.wait()
    work.wait()
    assert work.runs == 2
    keeper.stop()


def test_a_failing_job_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """It is tried again at the next touch; what went wrong is logged once, until it is well."""
    caplog.set_level(logging.ERROR, logger="trunkline")
    troubles = ["disk full", "disk full", "no rights", "", "no rights"]

    def fail() -> None:
        if trouble := troubles[bad.runs - 1]:
            raise OSError(trouble)

    bad, good = Work(fail), Work()
    keeper = Keeper((Job(PACE_S, bad), Job(PACE_S, good)))
    for _ in troubles:
        keeper.touch()
        bad.wait()
        good.wait()
    keeper.stop()
    assert (bad.runs, good.runs) == (5, 5)
    assert [record.getMessage() for record in caplog.records] == ["background work failed"] * 3
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == [
        "disk full",
        "no rights",
        "no rights",
    ]


def test_touching_from_many_threads_makes_one_thread() -> None:
    """However many calls begin at once."""
    before = keepers()
    work = Work()
    keeper = Keeper((Job(PACE_S, work),))
    barrier = threading.Barrier(8)

    def touch() -> None:
        barrier.wait()
        keeper.touch()

    threads = [threading.Thread(target=touch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    work.wait()
    assert len(keepers(before)) == 1
    keeper.stop()


def test_stop_ends_the_thread_and_touch_does_not_bring_it_back() -> None:
    """Also from a job, which cannot wait for itself."""
    before = keepers()
    work = Work()
    keeper = Keeper((Job(PACE_S, work),))
    keeper.touch()
    work.wait()
    keeper.stop()
    assert not keepers(before)
    keeper.touch()
    assert not keepers(before)

    last = Work()
    ending = Keeper((Job(PACE_S, last),))
    last.then = ending.stop
    ending.touch()
    last.wait()
    assert all(gone(thread) for thread in keepers(before))


def test_the_thread_of_a_dropped_keeper_ends() -> None:
    """A sleeping thread keeps nothing alive and does not sleep for ever."""
    before = keepers()
    work = Work()
    keeper = Keeper((Job(PACE_S, work),))
    keeper.touch()
    work.wait()
    (thread,) = (thread for thread in keepers(before))
    time.sleep(PACE_S * 5)  # so that it waits for the next touch
    del keeper
    gc.collect()
    assert gone(thread)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("awake", [False, True])
def test_a_forked_child_gets_a_thread_of_its_own(awake: bool) -> None:
    """The parent's thread is not there; the first touch in the child starts one."""
    work = Work()
    keeper = Keeper((Job(PACE_S, work),))
    keeper.touch()
    work.wait()
    time.sleep(PACE_S * 5)
    if awake:
        keeper._awake.set()
    if (child := os.fork()) == 0:
        work.ran = threading.Semaphore(0)
        keeper.touch()
        os._exit(0 if work.ran.acquire(timeout=5) else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0
    keeper.stop()


def test_a_thread_that_cannot_be_started_breaks_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """As at the exit of the interpreter; a later touch tries again."""
    work = Work()
    keeper = Keeper((Job(PACE_S, work),))

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        keeper.touch()
    keeper.touch()
    work.wait()
    keeper.stop()

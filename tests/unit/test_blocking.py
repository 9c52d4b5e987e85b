import asyncio
import contextvars
import inspect
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from textwrap import dedent

import pytest

from trunkline import blocking, llm_service
from trunkline.blocking import Portal

Who = contextvars.ContextVar("Who", default="nobody")


@pytest.fixture
def portal() -> Iterator[Portal]:
    """Give a portal of the test's own."""
    made = Portal()
    yield made
    made.close()


async def add(a: int, b: int = 0) -> int:
    """Add, after a turn of the loop."""
    await asyncio.sleep(0)
    return a + b


def run(script: str) -> str:
    """Run a script in an interpreter where every warning is an error; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", dedent(script)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


def test_a_coroutine_gives_its_result(portal: Portal) -> None:
    """Arguments go in by position and by name, the result comes out; one loop serves all calls."""
    assert portal.call(add, 1, b=2) == 3

    async def loop() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    assert portal.call(loop) is portal.call(loop)


@pytest.mark.parametrize(
    "error", [ValueError("x"), StopAsyncIteration(), KeyboardInterrupt(), SystemExit(3)]
)
def test_an_exception_travels_unchanged(portal: Portal, error: BaseException) -> None:
    """The very object arrives, whatever kind it is, and the portal goes on working."""

    async def fail() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        portal.call(fail)
    assert raised.value is error
    assert portal.call(add, 1) == 1


def test_a_call_sees_the_callers_context(portal: Portal) -> None:
    """Context variables travel with the call, and what it sets stays with it."""

    async def who() -> str:
        seen = Who.get()
        Who.set("somebody else")
        return seen

    token = Who.set("me")
    assert portal.call(who) == "me"
    assert Who.get() == "me"
    Who.reset(token)


def test_many_threads_share_a_portal(portal: Portal) -> None:
    """Calls of many threads run side by side on the one loop."""
    all_in = asyncio.Barrier(8)

    async def meet(n: int) -> int:
        await all_in.wait()
        return n

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda n: portal.call(meet, n), range(8))) == list(range(8))


async def test_it_works_beside_a_running_loop(portal: Portal) -> None:
    """As in a notebook, whose own loop runs in the calling thread."""
    assert portal.call(add, 2) == 2


def test_a_call_from_inside_is_refused(portal: Portal) -> None:
    """It could only wait for itself; the message says what to do instead."""

    async def again() -> int:
        return portal.call(add, 1)

    with pytest.raises(RuntimeError, match="await the async function instead"):
        portal.call(again)


def test_items_come_one_by_one(portal: Portal) -> None:
    """The generator runs in one task and never further than to the item asked for."""
    made: list[int] = []
    tasks = set()

    async def count(most: int) -> AsyncGenerator[int, None]:
        for n in range(most):
            made.append(n)
            tasks.add(asyncio.current_task())
            yield n

    for n in portal.iterate(count, 4):
        portal.call(add, 1)
        assert made == list(range(n + 1))
    assert made == [0, 1, 2, 3]
    assert len(tasks) == 1


def test_an_error_in_the_middle_comes_after_the_items(portal: Portal) -> None:
    """Everything that was yielded is seen first."""
    error = ValueError("x")

    async def fail() -> AsyncGenerator[int, None]:
        yield 1
        raise error

    items = portal.iterate(fail)
    assert next(items) == 1
    with pytest.raises(ValueError, match="x") as raised:
        next(items)
    assert raised.value is error


def test_leaving_early_closes_the_generator(portal: Portal) -> None:
    """Its clean-up has run when the loop was left, and an iterator never begun starts nothing."""
    events: list[str] = []

    async def endless() -> AsyncGenerator[int, None]:
        events.append("begun")
        try:
            while True:
                yield 1
        finally:
            await asyncio.sleep(0)
            events.append("closed")

    items = portal.iterate(endless)
    assert events == []
    next(items)
    items.close()  # type: ignore[attr-defined]
    assert events == ["begun", "closed"]


def test_closing_cancels_what_runs_and_a_later_call_starts_anew(portal: Portal) -> None:
    """Whoever waits gets the cancellation; the thread is gone; the next call has a new one."""
    begun = threading.Event()

    async def endless() -> None:
        begun.set()
        await asyncio.Event().wait()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(portal.call, endless)
        begun.wait()
        before = threading.active_count()
        portal.close()
        with pytest.raises(asyncio.CancelledError):
            waiting.result()
        assert threading.active_count() == before - 1
    portal.close()
    assert portal.call(add, 1) == 1


def test_a_job_cancelled_before_its_first_step_ends(portal: Portal) -> None:
    """Nobody waits for ever for a coroutine that never began."""
    thread = blocking._LoopThread()
    hold = threading.Event()
    thread.loop.call_soon_threadsafe(hold.wait)
    job = blocking._Job(thread, lambda: add(1))
    threading.Timer(0.05, hold.set).start()
    job.cancel()
    thread.loop.call_soon_threadsafe(thread.stop.set)
    with pytest.raises(asyncio.CancelledError):
        job.result()
    thread.join()


@pytest.mark.parametrize("face", ["call", "iterate"])
def test_ctrl_c_cancels_and_cleans_up(face: str) -> None:
    """The caller gets KeyboardInterrupt only after the coroutine's own clean-up."""
    out = run(
        f"""
        import asyncio, signal, threading
        from trunkline.blocking import Portal

        portal, events = Portal(), []

        async def endless(wait=True):
            main = threading.main_thread().ident
            asyncio.get_running_loop().call_later(0.05, signal.pthread_kill, main, signal.SIGINT)
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.05)
                events.append("cleaned up")

        async def items():
            await endless()
            yield 1

        try:
            portal.call(endless) if {face!r} == "call" else next(portal.iterate(items))
        except KeyboardInterrupt:
            print("interrupted,", *events)
        """
    )
    assert out == "interrupted, cleaned up\n"


def test_a_forked_child_has_a_portal_of_its_own() -> None:
    """Parent and child both go on, an iterator open at the fork harms neither."""
    out = run(
        """
        import os, sys, warnings
        from trunkline.blocking import Portal

        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons frown on any fork here

        portal = Portal()

        async def pid():
            return os.getpid()

        async def count():
            yield 1
            yield 2

        items = portal.iterate(count)
        next(items), portal.call(pid)
        if (child := os.fork()) == 0:
            items.close()
            print("child", portal.call(pid) == os.getpid())
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        print("parent", portal.call(pid) == os.getpid(), next(items))
        """
    )
    assert out == "child True\nparent True 2\n"


def test_the_interpreter_ends_quietly() -> None:
    """Work left open is cancelled and cleaned up at exit, without a warning."""
    out = run(
        """
        import asyncio
        from trunkline.blocking import PORTAL

        async def endless():
            try:
                while True:
                    yield 1
            finally:
                await asyncio.sleep(0)
                print("closed")

        items = PORTAL.iterate(endless)
        next(items)
        """
    )
    assert out == "closed\n"


def test_the_faces_of_the_library_work_without_await() -> None:
    """Ask the embedded demo provider, whole, streamed and by group, with no event loop in sight."""
    out = run(
        """
        import os, tempfile
        with tempfile.TemporaryDirectory() as folder:
            os.environ = {**os.environ, "TRUNKLINE_DATA": folder, "TRUNKLINE_CONFIG": ""}
            from trunkline.blocking import call_llm, complete, stream_llm
            messages = [{"role": "user", "content": "/demo echo one two"}]
            print(call_llm("demo", "m", messages, {}))
            for chunk in stream_llm("demo", "m", messages, {}):
                print(chunk.choices[0].delta.content or "", end="|")
            print(complete("m", messages, "t-1").content)
        """
    )
    assert out == "('one two', None)\none| two||one two\n"


@pytest.mark.parametrize("name", ["call_llm", "stream_llm", "complete"])
def test_the_faces_take_what_the_async_ones_take(name: str) -> None:
    """Names, order, kinds, defaults and annotations are the same."""
    plain = inspect.signature(getattr(blocking, name)).parameters
    assert plain == inspect.signature(getattr(llm_service, name)).parameters

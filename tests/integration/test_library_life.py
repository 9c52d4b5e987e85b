"""The core in the caller's process: loops, threads, forks, and the end of the interpreter."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from trunkline import Trunkline, errors
from trunkline.llm_service.ask import NOBODY, ask, chat
from trunkline.storage.sqlite import SqliteDatabase
from trunkline.storage.store import Store
from trunkline.testing import FakeUpstream

HELLO = [{"role": "user", "content": "Hello!"}]


def line_at(up: FakeUpstream) -> Trunkline:
    """Build a line that talks to `up`."""
    provider = {"api_key": "sk-test-123456", "base_url": f"{up.url}/v1", "retries": 0}
    settings: dict[str, Any] = {"default_provider": "openai", "providers": {"openai": provider}}
    return Trunkline.from_config({"llm_service": settings})


async def once(line: Trunkline) -> str:
    """Make one call."""
    message, _ = await ask(line, chat(HELLO, "gpt-4o"), NOBODY)
    return message.text


def run_program(program: str, url: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a fresh interpreter where every warning is an error."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        check=False,
        env={**os.environ, "OPENAI_API_KEY": "sk-123456", "OPENAI_BASE_URL": url, **more},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_one_line_under_repeated_asyncio_run() -> None:
    """Every `asyncio.run` gets its own pool; nothing is left open and nothing warns."""
    with FakeUpstream.in_thread() as up:
        line = line_at(up)
        for _ in range(20):
            assert asyncio.run(once(line)) == "Hello."
        line.flush()
        assert sum(row.requests for row in line.store.usage("model", None)) == 20
        asyncio.run(up.wait_idle(closed=True))


async def test_closing_leaves_the_loop_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for the disk, or for another process that ingests, waits in a thread."""
    async with FakeUpstream() as up:
        line = line_at(up)
        flushed_by: list[threading.Thread] = []
        monkeypatch.setattr(line, "flush", lambda: flushed_by.append(threading.current_thread()))
        await line.close()
        assert threading.main_thread() not in flushed_by
        assert len(flushed_by) == 1


def test_one_line_in_many_threads() -> None:
    """Threads with loops of their own share one line; every call has its row."""
    with FakeUpstream.in_thread() as up:
        line = line_at(up)
        failures: list[BaseException] = []

        async def some() -> None:
            await asyncio.gather(*(once(line) for _ in range(10)))

        def work() -> None:
            try:
                for _ in range(3):
                    asyncio.run(some())
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        line.flush()
        assert sum(row.requests for row in line.store.usage("model", None)) == 240


def test_a_child_after_fork_works_and_has_its_own_journal(tmp_path: Path) -> None:
    """Parent and child both go on calling after a fork; both find all rows."""
    with FakeUpstream.in_thread() as up:
        program = (
            "import asyncio, os, sys\n"
            "from trunkline import Trunkline, call_llm\n"
            "from trunkline.llm_service import default_line\n"
            "ask = lambda: call_llm('openai', 'gpt-4o', [{'role': 'user', 'content': 'hi'}], {})\n"
            "asyncio.run(ask())\n"
            "child = os.fork()\n"
            "asyncio.run(ask())\n"
            "asyncio.run(ask())\n"
            "if child == 0:\n"
            "    sys.exit(0)\n"
            "_, status = os.waitpid(child, 0)\n"
            "line = default_line()\n"
            "line.flush()\n"
            "print(status, sum(row.requests for row in line.store.usage('model', None)))\n"
        )
        done = run_program(program, f"{up.url}/v1")
    assert (done.stdout.strip(), done.stderr) == ("0 5", "")


@pytest.mark.parametrize("ending", ["", "sys.exit(3)", "raise RuntimeError('unrelated')"])
def test_the_end_of_the_interpreter_flushes(ending: str, tmp_path: Path) -> None:
    """However a program ends, its rows are in the store and it says nothing about us."""
    with FakeUpstream.in_thread() as up:
        program = (
            "import asyncio, sys\n"
            "from trunkline import call_llm\n"
            "ask = lambda: call_llm('openai', 'gpt-4o', [{'role': 'user', 'content': 'hi'}], {})\n"
            f"asyncio.run(ask())\n{ending}\n"
        )
        done = run_program(program, f"{up.url}/v1")
    if "Runtime" in ending:
        assert done.stderr.endswith("RuntimeError: unrelated\n")
        assert "trunkline" not in done.stderr
    else:
        assert done.stderr == ""
    store = Store(SqliteDatabase(Path(os.environ["TRUNKLINE_DATA"]) / "trunkline.db"))
    assert sum(row.requests for row in store.usage("model", None)) == 1
    store.close()


def test_a_killed_process_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    """SIGKILL right after the answer was printed: the next process finds the row."""
    with FakeUpstream.in_thread() as up:
        program = (
            "import asyncio, os, signal\n"
            "from trunkline import call_llm\n"
            "ask = lambda: call_llm('openai', 'gpt-4o', [{'role': 'user', 'content': 'hi'}], {})\n"
            "print(asyncio.run(ask())[0], flush=True)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        done = run_program(program, f"{up.url}/v1")
        assert (done.returncode, done.stdout) == (-9, "Hello.\n")
        line = line_at(up)
        line.flush()
        [row] = line.store.calls(10)
    assert (row.call.outcome, row.call.prompt_tokens) == ("complete", 10)


def test_an_unwritable_data_folder_is_a_clear_error(tmp_path: Path) -> None:
    """Nothing is sent; the error names the folder and what to set instead."""
    blocked = tmp_path / "a-file"
    blocked.write_text("in the way")
    with FakeUpstream.in_thread() as up:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRUNKLINE_DATA", str(blocked))
            line = line_at(up)
        with pytest.raises(errors.RecordError, match=r"a-file.*TRUNKLINE_DATA"):
            asyncio.run(once(line))
        assert up.requests == []


def test_a_dropped_line_is_collected_with_its_thread(tmp_path: Path) -> None:
    """A line that nobody refers to any more ends its keeper thread and flushes."""
    gc.collect()  # else a line of an earlier test may end, and log, in the middle of this one
    with FakeUpstream.in_thread() as up:
        before = set(threading.enumerate())
        line = line_at(up)
        asyncio.run(once(line))
        [keeper] = (t for t in set(threading.enumerate()) - before if "keeper" in t.name)
        del line
        keeper.join(timeout=5)
        assert not keeper.is_alive()
    store = Store(SqliteDatabase(Path(os.environ["TRUNKLINE_DATA"]) / "trunkline.db"))
    assert sum(row.requests for row in store.usage("model", None)) == 1
    store.close()

"""`trunkline serve` as the processes it is, and callers that never rest."""

import asyncio
import contextlib
import inspect
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp

COMMAND = [sys.executable, "-c", "from trunkline.cli import main; main()"]
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
CIRCUIT = "trunkline: LLM circuit "
"""How lines on stderr begin that tell of a circuit which opened or closed."""


class Process:
    """A gateway of its own, warnings as errors."""

    def __init__(self, *args: str, **environment: str) -> None:
        self.popen = subprocess.Popen(
            [*COMMAND, "serve", *args],
            env={**os.environ, "PYTHONWARNINGS": "error", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.popen.stdout is not None
        self.said = [self.popen.stdout.readline() for _ in range(3)]
        self.url = self.said[0].removeprefix("listening on ").strip()
        self._errors: list[str] = []
        self._heard = 0
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        assert self.popen.stderr is not None
        self._errors.extend(self.popen.stderr)

    @property
    def new_key(self) -> str:
        """The key that was shown."""
        return self.said[1].rpartition(": ")[2].strip()

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; return the exit code and what was said on stderr."""
        self.popen.send_signal(number)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        """Wait for the end of it and its children; return the exit code and the rest of stderr."""
        code = self.popen.wait(timeout=60)
        self._listener.join(timeout=60)
        assert not self._listener.is_alive(), "a child is left"
        for stream in (self.popen.stdout, self.popen.stderr):
            assert stream is not None
            stream.close()
        return code, "".join(self._errors[self._heard :])

    def children(self) -> dict[int, str]:
        """Return the process ids of its children, and which module each one runs."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                parent = folder.joinpath("stat").read_text().rpartition(")")[2].split()[1]
                if int(parent) == self.popen.pid:
                    command = folder.joinpath("cmdline").read_text().split("\0")
                    found[int(folder.name)] = command[3].rpartition(".")[2]
        return found

    def pid(self, module: str) -> int:
        """Return the process id of one child."""
        return next(pid for pid, runs in self.children().items() if runs == module)

    async def heard(self, text: str) -> str:
        """Wait for the next line on stderr but those of circuits; it has to hold `text`."""
        line = CIRCUIT
        while line.startswith(CIRCUIT):
            await eventually(lambda: len(self._errors) > self._heard)
            line = self._errors[self._heard]
            self._heard += 1
        assert text in line
        return line


@contextlib.contextmanager
def starting() -> Iterator[Any]:
    """Start gateways; none outlives the block."""
    processes: list[Process] = []

    def start(*args: str, **environment: str) -> Process:
        processes.append(Process(*(args or ("--port", "0")), **environment))
        return processes[-1]

    try:
        yield start
    finally:
        for process in processes:
            process.popen.kill()
            process.wait()


def once(*args: str) -> tuple[int, str, str]:
    """Run a command to its end."""
    done = subprocess.run(
        [*COMMAND, *args], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout, done.stderr


def body(content: str, **more: Any) -> dict[str, Any]:
    """Return a request."""
    return {"model": "demo", "messages": [{"role": "user", "content": content}], **more}


def alive(pid: int) -> bool:
    """Tell whether there is such a process, dead ones that nobody buried aside."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def rss_mb(*pids: int) -> float:
    """Return the resident memory of processes, added up."""
    pages = (int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return sum(pages) * PAGE_BYTES / 1_000_000


async def eventually(true: Any, most_s: float = 20.0) -> None:
    """Wait until `true()`, which may be a coroutine."""
    until_s = time.monotonic() + most_s
    while True:
        found = true()
        if await found if inspect.isawaitable(found) else found:
            return
        assert time.monotonic() < until_s, "it never became true"
        await asyncio.sleep(0.01)


class Load:
    """Callers that ask again and again, whole and streamed, on new and on kept connections."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self.headers = {"authorization": f"Bearer {key}"}
        self.answered: list[str] = []
        """The call ids of answers that came to their end."""
        self.refused = 0
        self.broken = 0
        """Connections that were cut."""
        self.stopping = False

    async def one(self, session: aiohttp.ClientSession, *, stream: bool) -> None:
        """Ask once; note how it went."""
        request = body("/demo tokens 20", stream=stream)
        try:
            async with session.post(f"{self.url}/chat/completions", json=request) as answer:
                said = await answer.read()
        except aiohttp.ClientConnectorError:
            self.refused += 1
        except (aiohttp.ClientError, ConnectionError):
            self.broken += 1
        else:
            assert answer.status == 200, said
            assert said.endswith(b"[DONE]\n\n" if stream else b"}")
            self.answered.append(answer.headers["x-trunkline-call-id"])

    async def caller(self, number: int) -> None:
        """Ask until it is enough."""
        connector = aiohttp.TCPConnector(force_close=number % 3 == 0)
        async with aiohttp.ClientSession(headers=self.headers, connector=connector) as session:
            while not self.stopping:
                await self.one(session, stream=number % 2 == 0)

    async def more(self, count: int = 100) -> None:
        """Wait for so many more answers."""
        wanted = len(self.answered) + count
        await eventually(lambda: len(self.answered) >= wanted)

    @contextlib.asynccontextmanager
    async def running(self, callers: int = 12) -> AsyncIterator[None]:
        """Ask while the block runs."""
        async with asyncio.TaskGroup() as group:
            for number in range(callers):
                group.create_task(self.caller(number))
            try:
                yield
            finally:
                self.stopping = True


def recorded() -> dict[str, tuple[str, int]]:
    """Return for each call that is on record its outcome and its number of attempts."""
    code, out, err = once("calls", "--limit", "10000", "--json")
    assert (code, err) == (0, "")
    return {
        row["call"]["call_id"]: (row["call"]["outcome"], len(row["attempts"]))
        for row in json.loads(out)["data"]
    }

"""Start a process tree on one core, ask what it has cost, end all of it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

START_S = 60.0
END_S = 40.0
SUBJECT_CORE, LOAD_CORE = 0, 1


@dataclasses.dataclass(frozen=True)
class Hop:
    """Something on a port that answers, and the process whose tree does it."""

    pid: int
    port: int
    name: str = ""

    def cpu_ns(self) -> dict[tuple[int, int], int]:
        """Return nanoseconds on a core so far, user and system, of each thread of the tree."""
        spent = {}
        for pid in tree(self.pid):
            for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    spent[pid, int(file.parent.name)] = int(file.read_text().split()[0])
        return spent

    def rss_mb(self) -> float:
        """Return the resident memory of the tree; what its processes share counts for each."""
        kib = 0
        for pid in tree(self.pid):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
                kib += int(found[1]) if found else 0
        return kib / 1024


class Cpu:
    """Microseconds the tree of a hop has spent since this was made."""

    def __init__(self, hop: Hop) -> None:
        self._hop = hop
        self._before = hop.cpu_ns()

    def us(self) -> float:
        after = self._hop.cpu_ns()
        return sum(ns - self._before.get(task, 0) for task, ns in after.items()) / 1000


def tree(root: int) -> list[int]:
    """Return `root` and all that descend from it."""
    children: dict[int, list[int]] = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            children.setdefault(parent(file.read_text()), []).append(int(file.parent.name))
    found = [root]
    for pid in found:  # grows while it is walked
        found += children.get(pid, [])
    return found


def parent(stat: str) -> int:
    """Return the parent's id from the text of /proc/PID/stat; the name in it may hold anything."""
    return int(stat.rpartition(")")[2].split()[1])


@contextlib.contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Run on one core, and whatever is started meanwhile; None or a single core: as it is."""
    before = os.sched_getaffinity(0)
    if core is not None and len(before) > 1:
        os.sched_setaffinity(0, {sorted(before)[core]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def started(
    command: Sequence[str], env: Mapping[str, str] | None = None, *, core: int | None = SUBJECT_CORE
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program in a session of its own; nothing of its tree is left afterwards."""
    with on_core(core):
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.stdin is not None:
            process.stdin.close()
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            print(f"bench: {command[0]} did not end in {END_S:.0f} s", file=sys.stderr)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def told_port(process: subprocess.Popen[bytes], pattern: bytes = rb"^(\d+)$") -> int:
    """Return the port that a program prints; what it prints later is read and dropped.

    Raises:
        SystemExit: it ended before, or said nothing for a minute.
    """
    assert process.stdout is not None
    alarm = threading.Timer(START_S, process.kill)
    alarm.start()
    said = b""
    for line in process.stdout:
        said += line
        if found := re.search(pattern, line.strip()):
            alarm.cancel()
            drain(process)
            return int(found[1])
    alarm.cancel()
    raise SystemExit(f"bench: {process.args!r} told no port: {said.decode(errors='replace')}")


def gone(pid: int) -> None:
    """Wait until a child has ended; whoever started it reaps it."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def drain(process: subprocess.Popen[bytes]) -> None:
    """Read and drop what a program prints, or it would stand still one day."""
    assert process.stdout is not None
    threading.Thread(target=process.stdout.read, daemon=True).start()


def wait_until(what: str, ready: Callable[[], bool]) -> None:
    """Wait for a function to give something true.

    Raises:
        SystemExit: not within a minute.
    """
    until_s = time.monotonic() + START_S
    while not ready():
        if time.monotonic() > until_s:
            raise SystemExit(f"bench: waited a minute for {what}")
        time.sleep(0.02)

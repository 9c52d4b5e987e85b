"""What a whole request costs that can be counted: instructions in user space, and system calls.

Both are the same on a busy machine: (count of 500 requests - count of 100) / 400, one after the
other, over the process tree of `trunkline serve`. Instructions need valgrind, system calls strace;
where one is not installed, it says so.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import tempfile
from pathlib import Path

from bench import upstream
from bench.rig import messages, subjects
from bench.rig.processes import gone, tree

FEW, MANY = 100, 500


def main() -> None:
    with subjects.provider() as provider:
        for program, what, counted in (
            ("valgrind", "thousand instructions", thousand_instructions),
            ("strace", "system calls", system_calls),
        ):
            if shutil.which(program) is None:
                print(f"{what}: {program} is not installed")
                continue
            few, many = counted(provider.port, FEW), counted(provider.port, MANY)
            print(f"{what} per whole request: {(many - few) / (MANY - FEW):.1f}", flush=True)


def thousand_instructions(port: int, requests: int) -> float:
    tool = (
        "valgrind",
        "--log-file=/dev/null",
        "--tool=cachegrind",
        "--cache-sim=no",
        "--trace-children=yes",
    )
    with tempfile.TemporaryDirectory() as folder:
        run(port, requests, (*tool, f"--cachegrind-out-file={folder}/%p"))
        found = [file.read_text() for file in Path(folder).iterdir()]
    return sum(int(text.rpartition("summary:")[2]) for text in found) / 1000


def system_calls(port: int, requests: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "calls")
        run(port, requests, ("strace", "-f", "-c", "-U", "calls,name", "-o", str(file)))
        found = re.search(r"^ *(\d+) total$", file.read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def run(port: int, requests: int, under: tuple[str, ...]) -> None:
    """Ask a gateway that is watched, and let it end by itself, so that the watcher tells."""
    with subjects.trunkline(port, under=under) as hop:
        message = messages.chat(hop.port)
        with socket.create_connection(("127.0.0.1", hop.port), timeout=60) as caller:
            for _ in range(requests):
                caller.sendall(message)
                answer = b""
                while not answer.endswith(upstream.WHOLE):
                    piece = caller.recv(65536)
                    if not piece:
                        raise SystemExit(f"bench: not an answer: {answer!r}")
                    answer += piece
        serving = tree(hop.pid)[1 if under[0] == "strace" else 0]
        os.kill(serving, signal.SIGTERM)
        gone(hop.pid)

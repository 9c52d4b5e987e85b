"""What the gateway costs per request, as a multiple of a blind relay in the same run.

CPU microseconds (user + system) of the subject's process tree per completed request, from
/proc/PID/task/*/schedstat; 32 connections with keep-alive against an upstream that answers at
once. Subject and reference take turns; the verdict is the median of the rounds' ratios. Every
answer is checked. With `--write` the table goes to bench/results/.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from bench import upstream

KEY = "tl-admin-for-the-bench"
CONNECTIONS = 32
ROUNDS = 5
ROUND_S = 2.0
ASKED = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x" * 230}]}


def request(port: int, *, stream: bool) -> bytes:
    said = json.dumps({**ASKED, "stream": True} if stream else ASKED, separators=(",", ":"))
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n"
        f"authorization: Bearer {KEY}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(said)}\r\n\r\n{said}"
    ).encode()


async def connection(port: int, message: bytes, until_s: float, *, stream: bool) -> int:
    """Ask again and again; every answer has to be a whole one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    done = 0
    while time.monotonic() < until_s:
        writer.write(message)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"not an answer: {head!r}")
        if stream:
            body = await reader.readuntil(b"\r\n0\r\n\r\n")
            assert b"[DONE]" in body
        else:
            length = re.search(rb"(?i)content-length: (\d+)", head)
            assert length is not None
            assert await reader.readexactly(int(length[1])) == upstream.WHOLE
        done += 1
    writer.close()
    return done


async def load(port: int, *, stream: bool) -> int:
    until_s = time.monotonic() + ROUND_S
    message = request(port, stream=stream)
    calls = (connection(port, message, until_s, stream=stream) for _ in range(CONNECTIONS))
    return sum(await asyncio.gather(*calls))


def cpu_us(pid: int) -> float:
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1000


def per_request_us(pid: int, port: int, *, stream: bool) -> float:
    before = cpu_us(pid)
    done = asyncio.run(load(port, stream=stream))
    return (cpu_us(pid) - before) / done


@contextlib.contextmanager
def process(*command: str, env: dict[str, str] | None = None) -> Iterator[tuple[int, int]]:
    """Start a program that prints its port first; gives (pid, port)."""
    with subprocess.Popen(
        [sys.executable, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **(env or {})},
    ) as running:
        assert running.stdout is not None
        found = re.search(rb"(\d+)(?:/v1)?\n", running.stdout.readline())
        assert found is not None
        try:
            yield running.pid, int(found[1])
        finally:
            running.terminate()
            running.communicate()


def measure(url: str, folder: str) -> list[str]:
    gateway = {
        "TRUNKLINE_ADMIN_KEY": KEY,
        "TRUNKLINE_DATA": folder,
        "OPENAI_API_KEY": "sk-1234567890",
        "OPENAI_BASE_URL": f"{url}/v1",
        "LLM_PROVIDER": "openai",
    }
    serve = ("-c", "from trunkline.cli import main; main()", "serve", "--port", "0")
    port = str(urlsplit(url).port)
    lines = ["| figure | gateway us | relay us | ratio (spread) |", "|---|---|---|---|"]
    with process("-m", "bench.relay", port) as relay, process(*serve, env=gateway) as subject:
        for name, stream in (("whole request", False), ("stream of 64 chunks", True)):
            rounds = [
                (per_request_us(*subject, stream=stream), per_request_us(*relay, stream=stream))
                for _ in range(ROUNDS)
            ]
            ours, theirs = (statistics.median(side) for side in zip(*rounds, strict=True))
            ratios = sorted(a / b for a, b in rounds)
            spread = f"{statistics.median(ratios):.1f} ({ratios[0]:.1f} - {ratios[-1]:.1f})"
            lines.append(f"| {name} | {ours:.0f} | {theirs:.0f} | {spread} |")
    return lines


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, upstream.running() as url:
        lines = measure(url, folder)
    print("\n".join(lines))
    if "--write" in sys.argv:
        results = Path(__file__).with_name("results")
        results.mkdir(exist_ok=True)
        machine = (
            f"{os.cpu_count()} cores, {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
        )
        text = f"# The gateway against a blind relay\n\n{machine}\n\n" + "\n".join(lines) + "\n"
        (results / "gateway.md").write_text(text)

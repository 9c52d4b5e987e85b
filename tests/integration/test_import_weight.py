"""What `import trunkline`, and a first call, cost a program: time, and what they load."""

import json
import os
import statistics
import subprocess
import sys

import pytest

from trunkline.testing import FakeUpstream

ROUNDS = 7
LIGHT = {"trunkline", "msgspec", "typing_extensions"}
"""Ours, msgspec, and what msgspec takes where it is installed."""
HEAVY = {
    *("alembic", "click", "genai_prices", "httpx", "litellm", "numpy", "openai", "pydantic"),
    *("requests", "sqlalchemy", "starlette", "uvicorn", "xllamacpp", "yaml"),
}
IMPORT = """
import json, sys, time
before, wall_s, cpu_s = set(sys.modules), time.perf_counter(), time.process_time()
{what}
wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
packages = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(json.dumps([wall_s, cpu_s, sorted(packages)]))
"""
CALL = """
import asyncio, json, sys
from trunkline import {face}
async def ask():
    hello = [{{"role": "user", "content": "Hello!"}}]
    {body}
asyncio.run(ask())
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""
FACES = {
    "call_llm": 'await call_llm("openai", "gpt-4o", hello, {})',
    "stream_llm": '[chunk async for chunk in stream_llm("openai", "gpt-4o", hello, {})]',
    "complete": 'await complete("gpt-4o", hello, "acme")',
}


def run(program: str, **environment: str) -> str:
    """Run a program in a fresh interpreter and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        check=False,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def loads(what: str) -> tuple[float, float, set[str]]:
    """Return wall and CPU seconds of an import, and the packages that it loads."""
    wall_s, cpu_s, packages = json.loads(run(IMPORT.format(what=what)))
    return wall_s, cpu_s, set(packages)


@pytest.mark.parametrize(
    "what", ["import trunkline", "from trunkline import *", "import trunkline.cli"]
)
def test_only_the_standard_library_and_msgspec(what: str) -> None:
    """No third-party package but msgspec; the command line may load click."""
    _, _, packages = loads(what)
    assert "trunkline" in packages
    assert packages - sys.stdlib_module_names <= LIGHT | ({"click"} if "cli" in what else set())


@pytest.mark.parametrize(
    ("what", "most_s"), [("import trunkline", 0.1), ("from trunkline import call_llm", 0.3)]
)
def test_importing_is_quick(what: str, most_s: float) -> None:
    """Less than 100 ms; a face, which needs the whole core, takes a little longer.

    Measured twice over: the median of the CPU time, which other work on the machine hardly moves,
    and the best of the wall times.
    """
    loads(what)  # compiles, when it is the first
    walls_s, cpus_s, _ = zip(*(loads(what) for _ in range(ROUNDS)), strict=True)
    assert statistics.median(cpus_s) < most_s
    assert min(walls_s) < most_s


@pytest.mark.slow
@pytest.mark.parametrize("face", FACES)
def test_a_call_loads_nothing_heavy(face: str) -> None:
    """Configured by the environment alone, a call over HTTP needs none of the heavy libraries."""
    with FakeUpstream.in_thread() as up:
        program = CALL.format(face=face, body=FACES[face])
        printed = run(program, OPENAI_API_KEY="sk-123456", OPENAI_BASE_URL=f"{up.url}/v1")
        assert len(up.requests) == 1
    packages = set(json.loads(printed))
    assert "httptools" in packages
    assert not packages & (HEAVY | {"aiohttp"})


def test_a_call_of_the_demo_backend_loads_no_http_client() -> None:
    """What answers in this process needs no HTTP client either."""
    body = 'await call_llm("demo", "demo", hello, {})'
    packages = set(json.loads(run(CALL.format(face="call_llm", body=body))))
    assert not packages & (HEAVY | {"aiohttp", "httptools"})

"""A library's life: run after run, threads, forks and exits, without a warning."""

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trunkline.testing import FakeUpstream, Sse, chat_chunks

ROOT = Path(__file__).parents[2]
CERT = Path(__file__).parent / "tls" / "cert.pem"

PRELUDE = """
import asyncio, gc, os, sys, threading
from tests.wire import ask, read
from trunkline.clock import SystemClock
from trunkline.transport import Transport

URL = sys.argv[1]
transport = Transport(SystemClock())

async def call():
    for stream in (False, True):
        reply = await transport.send(ask(URL, stream=stream))
        assert await read(reply) == "Hello."

"""


@pytest.fixture(params=["http", "https"])
def up(request: pytest.FixtureRequest) -> Iterator[FakeUpstream]:
    """A provider on a loop of its own, in the clear and over TLS."""
    tls = None
    if request.param == "https":
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(CERT, CERT.with_name("key.pem"))
    with FakeUpstream.in_thread(tls=tls) as upstream:
        yield upstream


UVLOOP = """
import uvloop
asyncio.events.new_event_loop = asyncio.new_event_loop = uvloop.new_event_loop
"""


@pytest.fixture(params=["", UVLOOP], ids=["asyncio", "uvloop"])
def loops(request: pytest.FixtureRequest) -> str:
    """The head of a script, which says what loops it has.

    Not for loops that are closed without a shutdown: uvloop itself warns of those.
    """
    return str(request.param)


def run(script: str, up: FakeUpstream) -> None:
    """Run a script in a process where every warning shows, and expect it to say nothing."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", PRELUDE + script, up.url],
        cwd=ROOT,
        env=os.environ | {"SSL_CERT_FILE": str(CERT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    # Development mode says when a step of the loop was slow, and the first import is.
    said = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]
    assert (done.returncode, said) == (0, [])


def test_run_after_run(up: FakeUpstream, loops: str) -> None:
    """Each `asyncio.run` has connections of its own and closes them."""
    run(loops + "for _ in range(4): asyncio.run(call()); gc.collect()", up)
    assert up.connections_made == 4
    assert up.open_connections == 0


def test_a_loop_closed_without_a_shutdown(up: FakeUpstream) -> None:
    """Its idle connections are given up when the next loop comes."""
    run(
        """
for _ in range(3):
    loop = asyncio.new_event_loop()
    loop.run_until_complete(call())
    loop.close()
del loop
asyncio.run(call())
gc.collect()
""",
        up,
    )
    assert up.connections_made == 4


def test_a_reply_that_outlives_its_loop(up: FakeUpstream) -> None:
    """Closing it later is quiet and lets the connection go."""
    up.script(Sse(chat_chunks("a b c d")).hang_after(700))
    run(
        """
async def leave():
    return await transport.send(ask(URL, stream=True))
loop = asyncio.new_event_loop()
reply = loop.run_until_complete(leave())
loop.close()
asyncio.run(reply.aclose())
asyncio.run(call())
del reply, loop
gc.collect()
""",
        up,
    )


def test_a_reply_that_is_dropped(up: FakeUpstream, loops: str) -> None:
    """Its connection goes with it."""
    up.script(Sse(chat_chunks("a b c d")).hang_after(700))
    run(
        loops
        + """
async def drop():
    reply = await transport.send(ask(URL, stream=True))
    reply.on_close(lambda reply: None)
    import warnings
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del reply
        gc.collect()
    assert "dropped without being closed" in str(caught[0].message), caught
    await asyncio.sleep(0.01)
    await call()
asyncio.run(drop())
gc.collect()
""",
        up,
    )
    assert up.open_connections == 0


def test_loops_in_threads(up: FakeUpstream, loops: str) -> None:
    """One transport serves them all at once."""
    run(
        loops
        + """
failed = []
async def many():
    await asyncio.gather(*(call() for _ in range(10)))
def work():
    try:
        asyncio.run(many())
    except BaseException as error:
        failed.append(error)
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not failed, failed
""",
        up,
    )
    assert up.open_connections == 0
    assert len(up.requests) == 160


@pytest.mark.parametrize("loop", ["asyncio.run(call())", "loop.run_until_complete(call())"])
def test_a_fork(up: FakeUpstream, loop: str, loops: str) -> None:
    """The child has connections of its own; the parent's still work afterwards."""
    run(
        loops
        + f"""
loop = asyncio.new_event_loop()
loop.run_until_complete(call())
child = os.fork()
if not child:
    {loop.replace("loop.run", "asyncio.new_event_loop().run")}
    gc.collect()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
loop.run_until_complete(call())
loop.run_until_complete(transport.close())
loop.close()
""",
        up,
    )
    assert up.connections_made == 2


def test_nothing_heavy_is_imported_before_the_first_call() -> None:
    """`import trunkline.transport` loads no HTTP library."""
    script = (
        "import sys, trunkline.transport\n"
        "assert not {'aiohttp', 'httptools', 'yarl'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


@pytest.mark.parametrize("behind_a_proxy", [False, True])
def test_aiohttp_is_loaded_for_what_is_behind_a_proxy(
    up: FakeUpstream, monkeypatch: pytest.MonkeyPatch, *, behind_a_proxy: bool
) -> None:
    """A call that goes straight needs neither it nor what it brings."""
    if behind_a_proxy:
        monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    run(
        f"""
from trunkline.errors import ConnectFailed
try:
    asyncio.run(call())
except ConnectFailed:
    assert {behind_a_proxy}
heavy = {{"aiohttp", "yarl", "multidict", "urllib.request", "http.client"}} & set(sys.modules)
assert bool(heavy) == {behind_a_proxy}, heavy
""",
        up,
    )

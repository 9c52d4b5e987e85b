"""The gateway's processes: whoever dies, no caller is turned away and no answer goes unrecorded."""

import asyncio
import fcntl
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.serving import (
    COMMAND,
    Load,
    Process,
    alive,
    body,
    eventually,
    once,
    recorded,
    rss_mb,
    starting,
)
from trunkline.config import from_mapping
from trunkline.config.handover import encode
from trunkline.gateway.link import message

pytestmark = pytest.mark.slow

SLOW = "/demo tokens 20\n/demo slow 0.05"
ADMIN = "an-admin-key-for-tests"
HEAVY = {"alembic", "click", "genai_prices", "pydantic", "sqlalchemy", "starlette", "yaml"}
CONFIGURED = """
llm_service:
  providers: {{demo: {{models: [{models}]}}}}
  keys: [{keys}]
"""


@pytest.fixture
def started() -> Iterator[Any]:
    """Start gateways; none outlives the test."""
    with starting() as start:
        yield start


def configure(*models: str, keys: str = "") -> Path:
    """Write a configuration."""
    path = Path("trunkline.yaml")
    path.write_text(CONFIGURED.format(models=", ".join(models), keys=keys))
    return path


def status() -> dict[str, Any]:
    """Return what `trunkline status` says."""
    code, out, err = once("status", "--json")
    assert (code, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    return found


def check_complete(load: Load) -> None:
    """Every answer that came to its end has its call, with its attempt, on record."""
    rows = recorded()
    assert len(load.answered) > 100
    assert {rows.get(call_id) for call_id in load.answered} == {("complete", 1)}


async def test_a_worker_is_killed(started: Any) -> None:
    """Nobody is refused: who comes meanwhile waits for the next one; what was told is on record."""
    process = started("--port", "0", "--workers", "2")
    load = Load(process.url, process.new_key)
    async with load.running():
        for _ in range(2):
            await load.more()
            killed = process.pid("worker")
            os.kill(killed, signal.SIGKILL)
            heard = await process.heard("ended")
            assert heard == (
                f"trunkline: worker (process {killed}) ended by SIGKILL; another one is started\n"
            )
            await load.more()
    assert load.refused == 0
    assert load.broken <= 2 * 12
    assert sorted(process.children().values()) == ["steward", "worker", "worker"]
    assert process.end() == (0, "")
    check_complete(load)


async def test_the_steward_is_killed(started: Any) -> None:
    """No call notices; the next one brings what was written meanwhile into the store."""
    process = started()
    load = Load(process.url, process.new_key)
    async with load.running():
        await load.more()
        killed = process.pid("steward")
        os.kill(killed, signal.SIGKILL)
        await load.more(300)
        await process.heard("steward")
        await eventually(lambda: killed not in process.children() and process.pid("steward"))
        await load.more()
    assert (load.refused, load.broken) == (0, 0)
    await eventually(lambda: status().get("gateway", {}).get("workers"))
    check_complete(load)
    assert process.end() == (0, "")


async def test_the_supervisor_is_killed(started: Any) -> None:
    """The others let open answers finish and end by themselves; the next gateway starts at once."""
    process = started()
    children = process.children()
    load = Load(process.url, process.new_key)
    async with aiohttp.ClientSession(headers=load.headers) as session:
        asked = body(SLOW, stream=True)
        async with session.post(f"{process.url}/chat/completions", json=asked) as answer:
            await answer.content.readline()
            process.popen.kill()
            process.popen.wait()
            again = started()
            assert (await answer.read()).endswith(b"[DONE]\n\n")
    await eventually(lambda: not any(map(alive, children)))
    assert status()["gateway"]["pid"] == again.popen.pid
    assert list(recorded().values()) == [("complete", 1)]


async def test_told_to_stop_under_load(started: Any) -> None:
    """Open answers finish, every row is there, nothing is said and nobody is left."""
    process = started("--port", "0", "--workers", "2")
    children = process.children()
    load = Load(process.url, process.new_key)
    async with load.running():
        await load.more(200)
        process.popen.send_signal(signal.SIGTERM)
        load.stopping = True
    assert await asyncio.to_thread(process.end) == (0, "")
    assert not any(map(alive, children))
    check_complete(load)


async def test_a_second_interrupt_does_not_wait(started: Any) -> None:
    """An open answer is cut, and all processes are gone."""
    process = started()
    children = process.children()
    headers = {"authorization": f"Bearer {process.new_key}"}
    asked = body("/demo tokens 100\n/demo slow 1", stream=True)
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{process.url}/chat/completions", json=asked) as answer,
    ):
        await answer.content.readline()
        process.popen.send_signal(signal.SIGINT)
        await eventually(lambda: not listens(process))
        assert process.end(signal.SIGINT) == (130, "")
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await answer.read()
    assert not any(map(alive, children))


def test_its_terminal_is_closed() -> None:
    """The gateway ends with it, although SIGHUP by itself means to read the configuration anew."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=own_terminal,  # noqa: PLW1509 - no other thread runs
    )
    os.close(theirs)
    seen = b""
    while b"try: curl" not in seen:
        seen += os.read(ours, 1000)
    process.send_signal(signal.SIGHUP)
    while b"has not changed" not in seen:
        seen += os.read(ours, 1000)
    os.close(ours)
    assert process.wait(timeout=20) == 0


def own_terminal() -> None:
    """Make standard input the terminal whose end this process hears of."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def listens(process: Process) -> bool:
    """Tell whether new callers are taken."""
    port = int(process.url.split(":")[2].partition("/")[0])
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


async def test_workers_share_a_port(started: Any) -> None:
    """All of them answer; `status` and `/metrics` speak for all; the whole stays small."""
    process = started("--port", "0", "--workers", "2")
    headers = {"authorization": f"Bearer {process.new_key}"}
    root = process.url.removesuffix("/v1")
    async with aiohttp.ClientSession(
        headers=headers, connector=aiohttp.TCPConnector(force_close=True)
    ) as session:
        ask = f"{process.url}/chat/completions"
        streams = [await session.post(ask, json=body(SLOW, stream=True)) for _ in range(20)]
        await eventually(
            lambda: all(worker["open_requests"] > 1 for worker in status()["gateway"]["workers"])
        )
        for stream in streams:
            assert (await stream.read()).endswith(b"[DONE]\n\n")
        metrics, total = "", 'calls_total{deployment="demo/demo",outcome="complete",code=""} 20\n'
        async with asyncio.timeout(5):  # the steward looks each second
            while total not in metrics:
                await asyncio.sleep(0.1)
                async with session.get(f"{root}/metrics") as answer:
                    assert answer.content_type == "text/plain"
                    metrics = await answer.text()
    print(metrics[:500])
    assert "\ntrunkline_workers 2\n" in metrics
    told = status()
    assert told["providers"] == {"demo": True}
    assert told["gateway"]["url"] == root
    assert told["gateway"]["pid"] == process.popen.pid
    workers = told["gateway"]["workers"]
    pids = [pid for pid, runs in process.children().items() if runs == "worker"]
    assert [(worker["pid"], worker["restarts"]) for worker in workers] == [
        (pid, 0) for pid in sorted(pids)
    ]
    shown = once("status")[1]
    assert f"gateway {process.url}, process {process.popen.pid}, up since 20" in shown
    assert process.end() == (0, "")
    assert "gateway" not in json.loads(once("status", "--json")[1])


def test_idle_it_is_small(started: Any) -> None:
    """The three processes together take less than 80 MB, shared pages counted thrice."""
    process = started()
    assert rss_mb(process.popen.pid, *process.children()) < 80


async def test_the_configuration_is_read_anew(started: Any) -> None:
    """A good edit takes effect and cuts no stream; a bad one changes nothing, not even for the
    worker that is started next; what needs a restart is told."""
    path = configure("one")
    process = started("--port", "0", TRUNKLINE_ADMIN_KEY=ADMIN)
    async with aiohttp.ClientSession(headers={"authorization": f"Bearer {ADMIN}"}) as session:

        async def models(key: str = ADMIN) -> list[str]:
            headers = {"authorization": f"Bearer {key}"}
            async with session.get(f"{process.url}/models", headers=headers) as answer:
                return [each["id"] for each in (await answer.json()).get("data", [])]

        asked = body(SLOW, stream=True) | {"model": "one"}
        async with session.post(f"{process.url}/chat/completions", json=asked) as stream:
            await stream.content.readline()
            configure("two", keys="{name: ci, key: a-key-for-the-ci}")
            await process.heard("read anew")  # it noticed by itself
            while (now := await models()) != ["two"]:
                assert now == ["one"]
                await asyncio.sleep(0.01)
            assert await models("a-key-for-the-ci") == ["two"]
            assert (await stream.read()).endswith(b"[DONE]\n\n")
        path.write_text("llm_service: {providers: {demo: {modles: []}}}")
        process.popen.send_signal(signal.SIGHUP)
        said = await process.heard("stays as it was")
        assert "unknown key; did you mean 'models'" in said
        os.kill(process.pid("worker"), signal.SIGKILL)
        await process.heard("SIGKILL")
        assert await models() == ["two"]
        path.write_text("llm_service: {server: {workers: 2}}")
        process.popen.send_signal(signal.SIGHUP)
        await process.heard("read anew")
        assert "restart the gateway for server.workers" in await process.heard("take effect")
    assert process.end()[0] == 0


def test_a_data_folder_has_one_gateway(started: Any) -> None:
    """The second is refused, and told who is there; after the first's end it may."""
    process = started()
    code, out, err = once("serve", "--port", "0")
    assert (code, out) == (1, "")
    assert f"another gateway, process {process.popen.pid}, serves the data folder" in err
    assert process.end() == (0, "")
    assert started().end() == (0, "")


def test_a_child_that_cannot_start() -> None:
    """The gateway ends with its message, before it says that it listens."""
    Path(os.environ["TRUNKLINE_DATA"], "steward.sock").mkdir(parents=True)
    code, out, err = once("serve", "--port", "0")
    assert (code, out) == (1, "")
    assert "steward.sock" in err
    assert "Traceback" not in err


def test_a_worker_loads_nothing_heavy() -> None:
    """After answers of every kind; run alone, so that it can tell."""
    config = from_mapping({}, {"TRUNKLINE_DATA": os.environ["TRUNKLINE_DATA"]})
    ours, theirs = socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as listener, ours:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        told = {"url": url, "pid": 0, "started_s": 0, "restarts": 0, "listener": listener.fileno()}
        program = (
            "import atexit, sys; atexit.register(lambda: print(*sys.modules));"
            "from trunkline.gateway.worker import main; main()"
        )
        worker = subprocess.Popen(
            [sys.executable, "-c", program, json.dumps(told)],
            stdin=theirs.fileno(),
            stdout=subprocess.PIPE,
            pass_fds=[listener.fileno()],
            env={**os.environ, "TRUNKLINE_ADMIN_KEY": ADMIN, "PYTHONWARNINGS": "error"},
            text=True,
        )
        theirs.close()
        ours.sendall(message(encode(config)))
        assert ours.recv(1)
        asyncio.run(ask_for_all(url))
    out, _ = worker.communicate(timeout=30)
    assert worker.returncode == 0
    loaded = {name.partition(".")[0] for name in out.split()}
    assert "uvloop" in loaded
    assert loaded & HEAVY == set()
    assert "trunkline.gateway.admin" not in out.split()  # that is the steward's business


async def ask_for_all(url: str) -> None:
    """Make calls of each kind, good and bad."""
    async with aiohttp.ClientSession(headers={"x-api-key": ADMIN}) as session:
        for path in ("/v1/chat/completions", "/v1/messages"):
            for more in ({"max_tokens": 9}, {"max_tokens": 9, "stream": True}, {"max_tokens": -1}):
                async with session.post(url + path, json=body("hi", **more)) as answer:
                    await answer.read()
        for path in ("/v1/models", "/ready", "/metrics", "/nowhere", "/v1/keys", "/v1/usage"):
            async with session.get(url + path) as answer:
                await answer.read()

"""`trunkline serve` as a process: first start, signals, crashes, sockets that misbehave."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.serving import COMMAND, Process, body, once, starting
from trunkline import Trunkline
from trunkline.gateway import protocol
from trunkline.gateway import server as serving
from trunkline.gateway.app import Gateway
from trunkline.gateway.keys import KeyRing
from trunkline.gateway.server import Server

pytestmark = pytest.mark.slow

SLOW = "/demo tokens 30\n/demo slow 0.05"


@pytest.fixture
def started() -> Iterator[Any]:
    """Start gateways; none outlives the test."""
    with starting() as start:
        yield start


def run_example(process: Process) -> dict[str, Any]:
    """Run the printed line in a shell, as a reader would."""
    line = process.said[2].removeprefix("try: ").replace("curl ", "curl -sS ", 1)
    done = subprocess.run(["sh", "-c", line], capture_output=True, timeout=30, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_the_first_start(started: Any) -> None:
    """It shows the key once; the printed request works at both starts; Ctrl-C is quiet."""
    first = started()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1", first.url)
    assert first.new_key.startswith("tl-admin-")
    assert "Hello!" in run_example(first)["choices"][0]["message"]["content"]
    assert first.end() == (0, "")
    second = started()
    assert first.new_key not in "".join(second.said)
    assert "admin.key" in second.said[1]
    assert "Hello!" in run_example(second)["choices"][0]["message"]["content"]
    assert second.end(signal.SIGINT) == (130, "")


def test_a_key_from_the_environment(started: Any) -> None:
    """It is not shown, and the printed request takes it from there."""
    key = "a-key-of-my-own-1234"
    process = started("--port", "0", "--host", "0.0.0.0", TRUNKLINE_ADMIN_KEY=key)
    assert key not in "".join(process.said)
    os.environ["TRUNKLINE_ADMIN_KEY"] = key
    try:
        assert run_example(process)["object"] == "chat.completion"
    finally:
        del os.environ["TRUNKLINE_ADMIN_KEY"]
    assert process.end() == (0, "")


async def test_a_stream_outlives_the_order_to_stop(started: Any) -> None:
    """SIGTERM: no new callers, the stream goes on to its end, then all is well."""
    process = started()
    headers = {"authorization": f"Bearer {process.new_key}"}
    request = body(SLOW, stream=True)
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{process.url}/chat/completions", json=request) as answer,
    ):
        await answer.content.readline()
        process.popen.send_signal(signal.SIGTERM)
        rest = await answer.content.read()
    assert rest.endswith(b"data: [DONE]\n\n")
    assert rest.count(b'"content"') > 25
    assert await asyncio.to_thread(process.wait) == (0, "")


async def test_an_acknowledged_answer_has_its_row(started: Any) -> None:
    """Also when the process is killed the moment the answer is there."""
    process = started()
    headers = {"authorization": f"Bearer {process.new_key}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{process.url}/chat/completions", json=body("Hi")) as answer,
    ):
        call_id = answer.headers["x-trunkline-call-id"]
        await answer.read()
        process.popen.kill()
    process.popen.wait()
    code, out, err = await asyncio.to_thread(once, "calls", "--json")
    assert (code, err) == (0, "")
    assert [row["call"]["call_id"] for row in json.loads(out)["data"]] == [call_id]


def test_an_example_names_no_model_that_is_not_there(started: Any) -> None:
    """With nothing but an address, which model to ask for is the reader's to say."""
    address = {"LLM_PROVIDER": "openai_compatible", "LLM_BASE_URL": "http://127.0.0.1:9/v1"}
    process = started("--port", "0", **address)
    assert '"model": "NAME-A-MODEL"' in process.said[2]
    assert process.end() == (0, "")


def test_an_open_door_needs_a_key() -> None:
    """Listening for others without a key that somebody chose is refused; nothing is written."""
    code, out, err = once("serve", "--host", "0.0.0.0", "--port", "0")
    assert (code, out) == (1, "")
    assert "needs TRUNKLINE_ADMIN_KEY" in err
    assert not Path(os.environ["TRUNKLINE_DATA"], "admin.key").exists()


def test_a_port_in_use() -> None:
    """One line that says so; no key is made that nobody would see."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, out, err = once("serve", "--port", str(port))
    assert (code, out) == (1, "")
    assert err.startswith(f"error: cannot listen on 127.0.0.1, port {port}: ")
    assert err.count("\n") == 1
    assert not Path(os.environ["TRUNKLINE_DATA"], "admin.key").exists()


def test_a_host_that_does_not_exist() -> None:
    """One line that says so."""
    environment = {**os.environ, "TRUNKLINE_ADMIN_KEY": "a-key-of-my-own-1234"}
    done = subprocess.run(
        [*COMMAND, "serve", "--host", "nowhere.invalid", "--port", "0"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: cannot listen on nowhere.invalid")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Where the gateway in this process listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch, listener: socket.socket) -> AsyncIterator[Server]:
    """A gateway in this process with short patience."""
    monkeypatch.setattr(protocol, "HEAD_S", 0.3)
    monkeypatch.setattr(protocol, "STALLED_S", 0.3)
    settings = {"default_provider": "demo", "providers": {"demo": {}}}
    line = Trunkline.from_config({"llm_service": settings})
    server = Server(Gateway(line, KeyRing(b"p" * 32, "k" * 20, ())))
    await server.start(listener)
    yield server
    await server.stop()
    await line.close()


@pytest.fixture
def address(server: Server, listener: socket.socket) -> tuple[str, int]:
    """Where it listens."""
    name: tuple[str, int] = listener.getsockname()
    return name


HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"


async def talk(address: tuple[str, int], *pieces: bytes) -> bytes:
    """Send pieces and return all that comes until the gateway hangs up."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        with contextlib.suppress(ConnectionError):
            for data in pieces:
                writer.write(data)
                await writer.drain()
                await asyncio.sleep(0.01)
        async with asyncio.timeout(5):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize(
    "pieces",
    [(), (b"GET /hea",), (HEAD,), (HEAD + b"\r\n", HEAD)],
    ids=["nothing", "a line begun", "no end of the head", "a second request begun"],
)
async def test_a_head_that_does_not_come(
    address: tuple[str, int], pieces: tuple[bytes, ...]
) -> None:
    """The gateway hangs up, on a used connection as on a new one; what was asked was answered."""
    assert (await talk(address, *pieces)).count(b"200 OK") == len(pieces) // 2


async def test_a_head_without_an_end(address: tuple[str, int]) -> None:
    """Refused as JSON; one that just fits is taken."""
    long = [b"x: " + b"a" * 8000 + b"\r\n"] * 200
    answer = await talk(address, HEAD, *long)
    assert answer == b"" or b"larger than 98304 bytes" in answer
    end = b"connection: close\r\n\r\n"
    assert b"200 OK" in await talk(address, HEAD, *long[:7], end)


async def test_what_is_not_http(address: tuple[str, int]) -> None:
    """The answer is JSON in the four keys, and the end."""
    head, _, said = (await talk(address, b"\x16\x03\x01 hello\r\n\r\n")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert f"content-length: {len(said)}".encode() in head
    assert set(json.loads(said)["error"]) == {"message", "type", "code", "param"}


async def test_a_socket_that_wants_to_be_a_websocket(address: tuple[str, int]) -> None:
    """It gets the ordinary answer."""
    upgrade = b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\r\n"
    assert b"200 OK" in await talk(address, HEAD + upgrade)


def asking(content: str) -> bytes:
    """Make the request for a stream of what the demo is told."""
    data = json.dumps(body(content, stream=True)).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {'k' * 20}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


@contextlib.asynccontextmanager
async def not_reading(address: tuple[str, int]) -> AsyncIterator[socket.socket]:
    """Ask for more than the buffers take, and look away."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, address)
        await loop.sock_sendall(client, asking("/demo tokens 90000"))
        await asyncio.sleep(0.2)
        yield client


async def test_a_caller_who_does_not_read(server: Server, address: tuple[str, int]) -> None:
    """The connection is cut once its answer has waited too long."""
    async with not_reading(address) as client:
        async with asyncio.timeout(60):  # until the buffers are full and patience is over
            while server.connections:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.05)
        got = b""
        with contextlib.suppress(ConnectionError):
            while data := await asyncio.get_running_loop().sock_recv(client, 1 << 20):
                got += data
    assert b"200 OK" in got
    assert b"[DONE]" not in got


async def test_a_caller_who_does_not_read_holds_no_stop_up(
    server: Server, address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told to stop, the gateway cuts the connection although something waits to be read."""
    monkeypatch.setattr(protocol, "STALLED_S", 60)
    monkeypatch.setattr(serving, "_CUT_S", 0.2)
    async with not_reading(address):
        while not any(connection.full for connection in server.connections):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await server.stop(drain_s=0.1)
        assert server.connections == set()


async def test_an_answer_that_lasts_too_long(server: Server, address: tuple[str, int]) -> None:
    """Told to stop, the gateway waits for it, then cuts it; nobody is left."""
    reader, writer = await asyncio.open_connection(*address)
    idle, idle_writer = await asyncio.open_connection(*address)
    writer.write(asking("/demo tokens 100\n/demo slow 1"))
    await reader.readuntil(b"data: ")
    stopping = asyncio.create_task(server.stop(drain_s=0.3))
    assert await idle.read() == b""
    assert not stopping.done()
    await asyncio.wait_for(stopping, 10)
    assert (server.connections, server.tasks) == (set(), set())
    assert b"[DONE]" not in await reader.read()
    for end in (writer, idle_writer):
        end.close()

"""TLS and proxies."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.wire import ask, read
from trunkline.clock import SystemClock
from trunkline.errors import ConnectFailed, ConnectionLost
from trunkline.testing import FakeUpstream, Sse, chat_chunks
from trunkline.transport import Transport

CERT = Path(__file__).parent / "tls" / "cert.pem"
KEY = CERT.with_name("key.pem")


@pytest.fixture
async def secure() -> AsyncIterator[FakeUpstream]:
    """A provider over TLS with a certificate that nobody trusts."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERT, KEY)
    async with FakeUpstream(tls=context) as upstream:
        yield upstream


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust that certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERT))


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    """A transport."""
    made = Transport(SystemClock())
    yield made
    await made.close()


class Proxy:
    """A forwarding and tunnelling proxy that keeps the heads it was sent."""

    def __init__(self, refusal: bytes = b"") -> None:
        self.heads: list[str] = []
        self.url = ""
        self._refusal = refusal
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        """Serve."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield self
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._relay(reader, writer)
        finally:
            writer.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head.decode())
        if self._refusal:
            writer.write(self._refusal)
            return
        method, target, _ = head.split(b" ", 2)
        authority = target.split(b"/")[2] if method != b"CONNECT" else target
        host, _, port = authority.decode().partition(":")
        up_reader, up_writer = await asyncio.open_connection(host, int(port))
        if method == b"CONNECT":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            up_writer.write(head.replace(target, b"/" + target.split(b"/", 3)[3], 1))
        await asyncio.gather(_pump(reader, up_writer), _pump(up_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until one side ends, then end the other."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
    finally:
        writer.close()


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_tls_works_and_its_connections_are_kept(
    secure: FakeUpstream, transport: Transport, host: str
) -> None:
    """SSL_CERT_FILE says whom to trust."""
    url = secure.url.replace("127.0.0.1", host)
    for stream in (False, True, False, True):
        assert await read(await transport.send(ask(url, stream=stream))) == "Hello."
    assert secure.connections_made == 1
    await transport.close()
    await secure.wait_idle(closed=True)


@pytest.mark.usefixtures("trusted")
async def test_closing_early_under_tls_waits_for_no_goodbye(
    secure: FakeUpstream, transport: Transport
) -> None:
    """The socket is gone at once, whether or not the provider listens, so it can stop."""
    secure.script(Sse(chat_chunks("a b c d e f")).hang_after(800))
    async with await transport.send(ask(secure.url, stream=True)):
        (handler,) = (await transport._pools.client())._standing  # type: ignore[attr-defined]
        sock = handler.transport.get_extra_info("socket")
    await asyncio.sleep(0)
    assert sock.fileno() == -1
    await secure.wait_idle(closed=True)


@pytest.mark.usefixtures("trusted")
async def test_closing_the_transport_fails_what_is_under_way(
    secure: FakeUpstream, transport: Transport
) -> None:
    """Under TLS the news takes a turn of the loop longer, and still arrives."""
    secure.script(Sse(chat_chunks("a b c d e f")).hang_after(800))
    reply = await transport.send(ask(secure.url, stream=True))
    task = asyncio.create_task(read(reply))
    await asyncio.sleep(0.03)
    await transport.close()
    with pytest.raises(ConnectionLost, match="closed in the middle"):
        await asyncio.wait_for(task, 1)


async def test_a_certificate_nobody_trusts_sends_nothing(
    secure: FakeUpstream, transport: Transport
) -> None:
    """The request never leaves."""
    with pytest.raises(ConnectFailed, match="certificate verify failed") as caught:
        await transport.send(ask(secure.url))
    assert not caught.value.sent
    assert not secure.requests


@pytest.mark.usefixtures("trusted")
async def test_a_certificate_for_another_name_sends_nothing(
    secure: FakeUpstream, transport: Transport
) -> None:
    """Trusting the issuer is not enough."""
    url = secure.url.replace("127.0.0.1", "127.0.0.2")
    with pytest.raises(ConnectFailed):
        await transport.send(ask(url))
    assert not secure.requests


async def test_a_forwarding_proxy_is_used(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is sent the whole URL and its own credentials; the provider still gets its key."""
    async with FakeUpstream() as up, Proxy().running() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", "//user:word@"))
        for _ in range(2):
            assert await read(await transport.send(ask(up.url))) == "Hello."
        (head,) = proxy.heads
        assert head.startswith(f"POST {up.url}/v1/chat/completions HTTP/1.1\r\n")
        assert "proxy-authorization: Basic dXNlcjp3b3Jk" in head
        assert up.requests[0].headers["authorization"].startswith("Bearer sk-")
        await transport.close()


@pytest.mark.usefixtures("trusted")
async def test_https_goes_through_a_tunnel(
    secure: FakeUpstream, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy sees the host and its own credentials, never the key; the tunnel is kept."""
    async with Proxy().running() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//user:word@"))
        for stream in (False, True):
            assert await read(await transport.send(ask(secure.url, stream=stream))) == "Hello."
        (head,) = proxy.heads
        assert head.startswith(f"CONNECT {secure.url.removeprefix('https://')} HTTP/1.1\r\n")
        assert "Proxy-Authorization: Basic dXNlcjp3b3Jk" in head
        assert "sk-test" not in head
        assert "proxy-authorization" not in secure.requests[0].headers
        assert secure.connections_made == 1
        await transport.close()
        await secure.wait_idle(closed=True)


async def test_a_proxy_that_refuses_sends_nothing(
    secure: FakeUpstream, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tunnel was never there."""
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"
    async with Proxy(refusal).running() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(ConnectFailed, match="the proxy answered 407") as caught:
            await transport.send(ask(secure.url))
        assert not caught.value.sent
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    await transport.close()
    with pytest.raises(ConnectFailed, match="cannot connect"):
        await transport.send(ask(secure.url))


async def test_no_proxy_goes_straight(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NO_PROXY is honoured."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with FakeUpstream() as up:
        assert await read(await transport.send(ask(up.url))) == "Hello."
        await transport.close()


async def test_a_netrc_is_not_read(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Credentials come from the configuration alone."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with FakeUpstream() as up:
        await read(await transport.send(ask(up.url)))
        assert up.requests[0].headers["authorization"].startswith("Bearer sk-")
        await transport.close()

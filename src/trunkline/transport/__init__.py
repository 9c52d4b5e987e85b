"""The only code that talks to providers over HTTP.

`Transport.send` is the innermost `Service`: it encodes a call for its target, sends it, and reads
up to the first frame that means something before it returns. So a provider that fails, also in
the first frame under a 200, fails by an exception while another attempt may still be made.

Read on: `port` (what is asked of an HTTP client), `source` (frames of a body), `sse` (framing),
`watch` (time-outs), `credentials` (tokens that end), `pools` (one client per loop), `http1_client`
(kept connections), `http1` (one connection and its exchanges), `aiohttp_client` (what is behind a
proxy), `probes` (how providers are, asked for nothing). `eventstream` frames the streams of AWS,
`sigv4` signs requests to it.
"""

from __future__ import annotations

import asyncio

from trunkline.clock import Clock
from trunkline.dialects import Dialect, load
from trunkline.errors import AuthFailed, BadAnswer, ConnectFailed, ConnectionLost, ProviderError
from trunkline.observability.redact import scrub
from trunkline.reply import Reply
from trunkline.transport.credentials import Credentials
from trunkline.transport.pools import Pools
from trunkline.transport.port import Exchange, HttpClient
from trunkline.transport.source import WireSource, name_blame, read_body
from trunkline.transport.watch import Watch
from trunkline.types import Call, Deployment, Embed, Limits, Outgoing

MAX_ERROR_BYTES = 1024 * 1024


class Transport:
    """Sends calls to their targets over pooled connections; one serves all loops and threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pools = Pools(self._make_client)
        self._credentials = Credentials(clock)

    async def send(self, call: Call) -> Reply:
        """Send `call` to `call.target` and return its answer once it has begun.

        The time-out for the whole answer is not kept here; a layer keeps it.

        Raises:
            ProviderError: the attempt failed; nothing of an answer was shown.
            InputError: the dialect cannot express the call.
            ConfigError: the deployment's URL or headers cannot be sent.
        """
        deployment = call.target
        assert deployment is not None
        if deployment.credential:
            deployment = await self._credentials.applied(deployment)
        dialect = load(deployment.dialect)
        outgoing = self._credentials.signed(dialect.encode(call, deployment), deployment.credential)
        if call.trail is not None:
            call.trail.dropped = outgoing.dropped
        client = await self._pools.client()  # imports the library at first; no provider's fault
        watch = Watch(self._clock, deployment.limits)
        try:
            exchange = await _start(client, outgoing, watch)
            wanted = len(call.body.inputs) if isinstance(call, Embed) else call.body.choices
            source = WireSource(exchange, watch, dialect, deployment, wanted)
            try:
                if not 200 <= exchange.status < 300:
                    self._credentials.compare_clocks(deployment.credential, exchange.headers)
                    raise await _refusal(exchange, watch, dialect)
                head = await source.begin()
            except BaseException:
                source.close()
                raise
        except ProviderError as error:
            name_blame(error, deployment)
            if isinstance(error, AuthFailed):
                self._credentials.forget(deployment.credential, error)
            raise
        return Reply(source, deployment, head=head, headers=exchange.headers)

    async def knock(self, deployment: Deployment) -> int:
        """Ask for the list of models; return the status of the answer, whose body is not read.

        Keeps no time: the caller does.

        Raises:
            ProviderError: there was no answer.
            ConfigError: the URL or a header cannot be sent.
        """
        if deployment.credential:
            deployment = await self._credentials.applied(deployment)
        outgoing = load(deployment.dialect).listing(deployment)
        outgoing = self._credentials.signed(outgoing, deployment.credential)
        client = await self._pools.client()
        exchange = await _start(client, outgoing, Watch(self._clock, Limits()))
        exchange.close()
        return exchange.status

    async def close(self) -> None:
        """Close the connections of the running loop. Other loops close theirs as they end."""
        await self._pools.close()

    def _make_client(self) -> HttpClient:
        from trunkline.transport.http1_client import Http1Client

        return Http1Client(self._clock)


async def _start(client: HttpClient, outgoing: Outgoing, watch: Watch) -> Exchange:
    """Send the request and return its exchange with the head of an answer.

    A kept connection may turn out to have been closed by the server in the meantime. Only if
    it had served before and not one byte of an answer came, the request is sent once more, on
    a new connection: a server that closed while idle never saw it.
    Source: https://www.rfc-editor.org/rfc/rfc9112#section-9.3.1 (2026-11-20)
    """
    try:
        exchange = await client.open(outgoing, connect_timeout_s=watch.connect_timeout_s)
    except asyncio.CancelledError as error:
        error.sent = False  # type: ignore[attr-defined]  # who asks: `errors.was_sent`
        raise
    try:
        await _begin(exchange, watch)
        return exchange
    except (ConnectionLost, ConnectFailed) as error:
        if exchange.heard or not exchange.reused:
            raise
        lost = error
    try:
        exchange = await client.open(
            outgoing, connect_timeout_s=watch.connect_timeout_s, fresh=True
        )
        await _begin(exchange, watch)
    except ProviderError as error:
        error.sent = error.sent or lost.sent
        raise
    return exchange


async def _begin(exchange: Exchange, watch: Watch) -> None:
    watch.follow(exchange)
    try:
        await exchange.start()
    except BaseException:
        watch.stop()
        exchange.close()
        raise


async def _refusal(exchange: Exchange, watch: Watch, dialect: Dialect) -> ProviderError:
    """Return what an answer other than 2xx means."""
    status = exchange.status
    if status < 400:
        where = scrub(exchange.headers.get("location", "nowhere"), 200)
        return BadAnswer(
            f"answered {status} (to {where}); redirects are not followed, check base_url",
            upstream_status=status,
        )
    watch.begin()
    try:
        body = await read_body(exchange, watch, max_bytes=MAX_ERROR_BYTES)
    except ProviderError:
        body = b""  # the status says enough
    return dialect.decode_error(status, exchange.headers, body)

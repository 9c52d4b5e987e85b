"""Ask providers how they are, for nothing: each for the list of its models, or by `health_check`.

What comes of it is for people. It opens and closes no circuit: that a list is there does not say
that calls are answered, and only calls tell that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from msgspec import Struct

from trunkline.clock import Clock
from trunkline.config import Provider
from trunkline.observability.redact import scrub
from trunkline.transport import Transport
from trunkline.transport.checks import HERE, check

MOST_S = 2.0
"""Who does not answer by then is not there."""


class Probe(Struct, frozen=True, kw_only=True):
    """What came of asking one provider."""

    ok: bool
    latency_ms: float
    at_ns: int
    """When it was asked, in nanoseconds since the epoch."""
    why: str
    """In a few words, without credentials."""


async def probe(provider: Provider, transport: Transport, clock: Clock) -> Probe:
    """Ask `provider` how it is, whatever it is; takes at most 2 s."""
    at_ns, begun_s = clock.now_ns(), clock.monotonic_s()
    try:
        async with asyncio.timeout(MOST_S):
            ok, why = await _told(provider, transport)
    except TimeoutError:
        ok, why = False, f"no answer within {MOST_S:.0f} s"
    except Exception as error:  # of names, TLS, certificates: whoever asks wants to know of all
        ok, why = False, scrub(error, 200)
    latency_ms = round((clock.monotonic_s() - begun_s) * 1000, 1)
    return Probe(ok=ok, latency_ms=latency_ms, at_ns=at_ns, why=why)


def probe_all(providers: Iterable[Provider], clock: Clock) -> dict[str, Probe]:
    """Ask all at once, from a thread and loop of their own: callable where a loop runs."""

    async def ask() -> dict[str, Probe]:
        transport = Transport(clock)
        try:
            asked = list(providers)
            told = await asyncio.gather(*(probe(each, transport, clock) for each in asked))
        finally:
            await transport.close()
        return dict(zip((each.name for each in asked), told, strict=True))

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="probe") as pool:
        return pool.submit(asyncio.run, ask()).result()


async def _told(provider: Provider, transport: Transport) -> tuple[bool, str]:
    """Judge by the status: whoever has no such list, or not for us, is there all the same."""
    kind, _, name = provider.template.backend.partition(":")
    if kind == "custom":
        return await check(name, MOST_S, load=provider.loaded)
    if kind != "http":
        return HERE
    status = await transport.knock(provider.template)
    if status == 401:
        place = provider.template.key_place
        return False, f"it does not accept our credential (401); check {place}"
    if 300 <= status < 400:
        return False, f"it redirects ({status}); check its base_url"
    return status < 500, f"answered {status}"

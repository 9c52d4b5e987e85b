"""Tens of thousands of calls of every fate at once: no answer ever reaches another's caller."""

import asyncio
import random
from collections import Counter

import pytest
import uvloop

from tests.wire import ECHO, ask, read
from trunkline.clock import SystemClock
from trunkline.errors import BadAnswer, ConnectionLost, ProviderError, Truncated, UpstreamFailed
from trunkline.testing import Answer, FakeUpstream, Json, Request, Sse, Status, hang, hang_up
from trunkline.transport import Transport
from trunkline.types import Chat, TextDelta

CALLS = 20_000
CONCURRENCY = 64
FATES = {
    "whole": 30,
    "stream": 30,
    "left": 10,  # the caller closes after a few frames
    "cancelled": 10,  # at any turn of the loop
    "refused": 8,
    "cut": 4,
    "reset": 4,
    "dropped": 2,
    "hung": 2,
}


def answer(request: Request) -> Answer:
    """Answer as the nonce, `NUMBER:FATE`, says; every piece repeats it."""
    nonce = request.json()["nonce"]
    number, fate = nonce.split(":")
    stream = Sse([f"{nonce} {n}" for n in range(int(number) % 7 + 2)] + ["[END]"], done=False)
    whole = Json({"nonce": nonce})
    plain = stream if request.json()["stream"] else whole
    size = 10 + int(number) % 3 * 20 if plain is stream else 10
    return {
        "refused": Status(500, f"refused {nonce}"),
        "cut": plain.cut_after(size),
        "reset": plain.reset_after(size),
        "dropped": hang_up(),
        "hung": hang(),
    }.get(fate, plain)


def text_of(nonce: str, *, stream: bool) -> str:
    """Return what the whole answer to `nonce` says."""
    frames = int(nonce.partition(":")[0]) % 7 + 2
    return "".join(f"{nonce} {n}" for n in range(frames)) if stream else nonce


async def call(transport: Transport, url: str, number: int, dice: random.Random) -> str:
    """Make one call, check all that came of it, and return its fate."""
    (fate,) = dice.choices(list(FATES), list(FATES.values()))
    stream = fate != "whole" and (fate in {"stream", "left"} or dice.random() < 0.5)
    nonce = f"{number}:{fate}"
    chat = ask(url, nonce, stream=stream, dialect=ECHO)
    if fate in {"cancelled", "hung"}:
        await cancel(transport, chat, dice.randint(0, 12))
    elif fate in {"refused", "cut", "reset", "dropped"}:
        with pytest.raises(ProviderError) as caught:
            await read(await transport.send(chat))
        kinds = (ConnectionLost, Truncated, BadAnswer, UpstreamFailed)
        assert isinstance(caught.value, kinds)
        if fate == "refused":
            assert caught.value.message == f"refused {nonce}"
    else:
        async with await transport.send(chat) as reply:
            if fate == "left":
                for n in range(dice.randint(0, 2)):
                    assert (await anext(reply)).events == (TextDelta(text=f"{nonce} {n}"),)
            else:
                assert await read(reply) == text_of(nonce, stream=stream)
    return fate


async def cancel(transport: Transport, chat: Chat, turns: int) -> None:
    """Start the call and cancel it after some turns of the loop."""

    async def whole() -> str:
        return await read(await transport.send(chat))

    task = asyncio.create_task(whole())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    (end,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(end, str):
        assert end == text_of(chat.prompt.messages[0].text, stream=chat.stream)
    else:
        assert isinstance(end, asyncio.CancelledError)


async def call_many(up: FakeUpstream, calls: int) -> tuple[Counter[str], int]:
    """Make many calls at once; return their fates and the most connections that stood."""
    fates: Counter[str] = Counter()
    most_connections = 0
    transport = Transport(SystemClock())
    numbers = iter(range(calls))

    async def worker(seed: int) -> None:
        nonlocal most_connections
        dice = random.Random(seed)
        for number in numbers:
            fates[await call(transport, up.url, number, dice)] += 1
            most_connections = max(most_connections, up.open_connections)

    await asyncio.gather(*(worker(seed) for seed in range(CONCURRENCY)))
    await up.wait_idle()
    assert up.open_connections <= CONCURRENCY
    await transport.close()
    await up.wait_idle(closed=True)
    assert fates.total() == calls
    assert set(fates) == set(FATES)
    return fates, most_connections


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_no_answer_reaches_another_caller() -> None:
    """Whole, streamed, left, cancelled and failing calls share connections, never answers."""
    async with FakeUpstream(answer) as up:
        fates, most_connections = await call_many(up, CALLS)
    # A connection that was just closed may be seen for a turn or two beside its successor.
    assert most_connections <= 2 * CONCURRENCY
    good = fates["whole"] + fates["stream"] + fates["refused"]
    assert up.connections_made < CALLS - good + CONCURRENCY


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_answer_reaches_another_caller_on_uvloop() -> None:
    """The gateway's loop has transports of its own."""
    with FakeUpstream.in_thread(answer) as up:
        uvloop.run(call_many(up, CALLS // 4))

"""Ask a backend: what the tests of this folder share."""

from __future__ import annotations

from typing import Any

from trunkline.backends import load
from trunkline.clock import Clock
from trunkline.reply import Reply
from trunkline.types import Chat, Deployment, Prompt, Trail, say


def chat(text: str = "", *, stream: bool = False, **prompt: Any) -> Chat:
    """Make a chat of one user message, or of `messages`."""
    prompt.setdefault("messages", (say("user", text),))
    target = Deployment(provider="mine", model="some-model", dialect="events")
    return Chat(
        model="some-model",
        body=Prompt(**prompt),
        stream=stream,
        target=target,
        trail=Trail(started_ns=0, started_s=0.0),
    )


async def ask(call: Chat, backend: str = "demo", clock: Clock | None = None) -> Reply:
    """Send `call` to `backend`."""
    return await load(backend, clock)(call)


async def read(call: Chat, backend: str = "demo") -> Reply:
    """Send `call` and read the answer to its end; `await reply.message()` is ready then."""
    async with await ask(call, backend) as reply:
        await reply.message()
        return reply

"""`transformers`: Hugging Face models that run in this process, with their own chat templates.

Read `models` (what is loaded, once for each name), `asking` (a call in a template's words),
`generating` (one answer, in the model's own thread) and `speech` (its text becomes thoughts, words
and calls of tools). The packages transformers and torch are imported with the first call. One model
answers one call at a time, in the order in which they came; whoever leaves stops it at the next
token.

Source: https://huggingface.co/docs/transformers/main/en/chat_templating, 2026-11-20
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Sequence

from trunkline.backends import begin
from trunkline.backends.transformers.asking import Asked, asked
from trunkline.backends.transformers.generating import Told, generate
from trunkline.backends.transformers.models import Model, Place, submit
from trunkline.clock import Clock
from trunkline.errors import (
    CapabilityMissing,
    ProviderError,
    TrunklineError,
    UpstreamFailed,
    UpstreamNotFound,
)
from trunkline.observability.redact import scrub
from trunkline.reply import Reply
from trunkline.types import (
    Chat,
    Deployment,
    Event,
    Finish,
    Frame,
    Mark,
    Started,
    Usage,
    UsageReport,
)


def make(said: str, clock: Clock) -> Transformers:
    """Return the backend for `DEVICE,DTYPE,WHERE`, and the models it has, each on a further line.

    What is left out is `auto`, `auto`, `local`, and any model.
    """
    place, *names = said.split("\n")
    device, dtype, where = [*place.split(","), "", "", ""][:3]
    there = Place(device=device or "auto", dtype=dtype or "auto", download=where == "download")
    return Transformers(there, frozenset(names), clock)


class Transformers:
    """Answers chats with models of one place."""

    def __init__(self, place: Place, names: frozenset[str], clock: Clock) -> None:
        self._place = place
        self._names = names
        self._clock = clock

    async def send(self, call: Chat) -> Reply:
        """Answer `call`.

        Raises:
            ConfigError: the packages are not installed.
            CapabilityMissing: it needs a schema, several answers, or tools that the model's
                template does not have.
            ProviderError: the model is not here, the prompt does not fit, or it failed.
        """
        deployment = call.target
        assert deployment is not None
        if call.body.choices > 1:
            raise CapabilityMissing(f"{deployment.name} gives one answer; ask for n=1", param="n")
        if "schema" in call.body.needs:
            raise CapabilityMissing(
                f"{deployment.name} cannot answer by a JSON schema", param="response_format"
            )
        if self._names and deployment.model not in self._names:  # it would be read into memory
            raise UpstreamNotFound(f"{deployment.name} is not one of the models listed", sent=False)
        wanted = asked(call, deployment, call_ids=f"call_{self._clock.now_ns():x}")
        if call.trail is not None:
            call.trail.dropped = wanted.dropped
        try:
            return await begin(_frames(wanted, deployment, self._place), deployment)
        except ProviderError as error:
            error.deployment = deployment.name
            raise


async def _frames(
    wanted: Asked, deployment: Deployment, place: Place
) -> AsyncGenerator[Frame, None]:
    loop = asyncio.get_running_loop()
    said: asyncio.Queue[Sequence[Event] | None] = asyncio.Queue()
    leaving = threading.Event()

    def tell(events: Sequence[Event]) -> None:
        try:
            loop.call_soon_threadsafe(said.put_nowait, events)
        except RuntimeError:  # the loop is closed: nobody listens
            leaving.set()

    def answer(model: Model) -> Told:
        try:
            return generate(model.load(), wanted, tell, leaving)
        except TrunklineError:
            raise
        except Exception as error:
            told = scrub(f"{model.name}: {type(error).__name__}: {error}")
            raise UpstreamFailed(told) from error

    work = submit(deployment.model, place, answer)
    done = asyncio.wrap_future(work)
    done.add_done_callback(lambda _: said.put_nowait(None))
    started = Started(model=deployment.model)
    yield Frame(b"", Mark.NONE, events=(started,))
    try:
        while (events := await said.get()) is not None:
            yield Frame(b"", Mark.SHOWN, events=tuple(events))
        yield _end(started, await done)
    finally:
        leaving.set()
        if not work.cancel():  # it has begun: it ends with the token that it is making
            await asyncio.wait([done])
            if not done.cancelled():
                done.exception()


def _end(started: Started, told: Told) -> Frame:
    usage = Usage(prompt_tokens=told.prompt_tokens, completion_tokens=told.completion_tokens)
    events = (started, Finish(reason=told.finish, raw=told.finish), UsageReport(usage=usage))
    return Frame(b"", Mark.USAGE | Mark.FINISH | Mark.TERMINAL, events=events)

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
from trunkline.backends.transformers.models import Model, Place, known
from trunkline.clock import Clock
from trunkline.errors import CapabilityMissing, ProviderError, TrunklineError, UpstreamFailed
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


def make(place: str, clock: Clock) -> Transformers:
    """Return the backend for `DEVICE,DTYPE,WHERE`; what is left out is `auto`, `auto`, `local`."""
    device, dtype, where = [*place.split(","), "", "", ""][:3]
    return Transformers(
        Place(device=device or "auto", dtype=dtype or "auto", download=where == "download"), clock
    )


class Transformers:
    """Answers chats with models of one place."""

    def __init__(self, place: Place, clock: Clock) -> None:
        self._place = place
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
        wanted = asked(call, deployment, call_ids=f"call_{self._clock.now_ns():x}")
        if call.trail is not None:
            call.trail.dropped = wanted.dropped
        model = known(deployment.model, self._place)
        try:
            return await begin(_frames(model, wanted, deployment), deployment)
        except ProviderError as error:
            error.deployment = deployment.name
            raise


async def _frames(
    model: Model, wanted: Asked, deployment: Deployment
) -> AsyncGenerator[Frame, None]:
    loop = asyncio.get_running_loop()
    said: asyncio.Queue[Sequence[Event] | None] = asyncio.Queue()
    leaving = threading.Event()

    def tell(events: Sequence[Event]) -> None:
        try:
            loop.call_soon_threadsafe(said.put_nowait, events)
        except RuntimeError:  # the loop is closed: nobody listens
            leaving.set()

    work = model.worker.submit(_work, model, wanted, tell, leaving)
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


def _work(model: Model, wanted: Asked, tell: object, leaving: threading.Event) -> Told:
    try:
        return generate(model.load(), wanted, tell, leaving)  # type: ignore[arg-type]
    except TrunklineError:
        raise
    except Exception as error:
        raise UpstreamFailed(scrub(f"{model.name}: {type(error).__name__}: {error}")) from error


def _end(started: Started, told: Told) -> Frame:
    usage = Usage(prompt_tokens=told.prompt_tokens, completion_tokens=told.completion_tokens)
    events = (started, Finish(reason=told.finish, raw=told.finish), UsageReport(usage=usage))
    return Frame(b"", Mark.USAGE | Mark.FINISH | Mark.TERMINAL, events=events)

"""What every dialect needs for embeddings: texts that are sent, vectors that come back.

Vectors may be many megabytes, so they stay undecoded until somebody asks for them, and large ones
are worked on beside the loop, one by one: other calls go on meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

from msgspec import Raw
from msgspec.json import Decoder

from trunkline.codec import BLANKS, BROKEN, excerpt, load_answer, mark_of
from trunkline.errors import BadAnswer, CapabilityMissing, ProviderError
from trunkline.types import (
    Deployment,
    Embedded,
    Event,
    Finish,
    Frame,
    Mark,
    Memo,
    Started,
    Texts,
    Usage,
    UsageReport,
)

T = TypeVar("T")
P = ParamSpec("P")
_LARGE_BYTES = 1024 * 1024
_VECTOR = Decoder(list[float])


def words_of(texts: Texts, deployment: Deployment) -> list[str]:
    """Return what is to be embedded.

    Raises:
        CapabilityMissing: it is token numbers, which mean something to OpenAI's models only.
    """
    words = [text for text in texts.inputs if isinstance(text, str)]
    if len(words) < len(texts.inputs):
        raise CapabilityMissing(
            f"'input' holds token numbers, which {deployment.name} does not take; write texts",
            param="input",
        )
    return words


def read_answer(
    decoder: Decoder[T], body: bytes, error_in: Callable[[Any], ProviderError | None]
) -> T:
    """Return an answer (a 2xx body) whose vectors are `Raw`.

    Raises:
        BadAnswer: the body is HTML, garbage or empty, or has no vectors.
        ProviderError: the body is an error under a 200.
    """
    body = body.lstrip(BLANKS)
    try:
        return decoder.decode(body)
    except BROKEN:
        data = load_answer(body)
    raise error_in(data) or no_vectors(body)


def no_vectors(body: bytes) -> BadAnswer:
    """Return what is wrong with an answer that has none."""
    return BadAnswer(f"the provider's answer has no vectors: {excerpt(body)}")


def check_number(found: int, memo: Memo) -> None:
    """Refuse an answer with more or fewer vectors than texts: nobody knows whose they are.

    Raises:
        BadAnswer: that is so.
    """
    if memo.wanted and found != memo.wanted:
        raise BadAnswer(f"the provider gave {found} vectors for {memo.wanted} texts")


def embedded(
    body: bytes, vectors: Sequence[Raw], memo: Memo, *, tokens: Any, model: Any = None
) -> Frame:
    """Make a terminal frame of a provider's vectors and the tokens it says it read, if it does.

    Raises:
        BadAnswer: they are no vectors, or not one for each text.
    """
    if not vectors:
        raise no_vectors(body)
    check_number(len(vectors), memo)
    _numbers(vectors[0])  # so that a shape nobody knows is met while another may still be asked
    told: list[Event] = [
        Started(model=model if isinstance(model, str) else None),
        Finish(reason="stop"),
    ]
    if tokens.__class__ in {int, float} and tokens >= 1:
        told.append(UsageReport(usage=Usage(prompt_tokens=int(tokens))))

    def decode(raw: bytes, memo: Memo) -> tuple[Event, ...]:
        return (*told, Embedded(vectors=tuple(map(_numbers, vectors))))

    mark = mark_of(told) | Mark.SHOWN | Mark.TERMINAL
    return Frame(body, mark, decode, memo, told=tuple(told))


def _numbers(vector: Raw) -> list[float]:
    try:
        return _VECTOR.decode(vector)
    except BROKEN as error:
        raise BadAnswer(f"the provider's vectors are no numbers: {error}") from None


async def aside(
    frames: Sequence[Frame], work: Callable[P, T], *args: P.args, **more: P.kwargs
) -> T:
    """Return what `work` makes of `frames`; where they are large, a thread does it."""
    if sum(len(frame.raw) for frame in frames) < _LARGE_BYTES:
        return work(*args, **more)
    return await asyncio.to_thread(work, *args, **more)

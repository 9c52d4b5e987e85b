"""Take a provider's vectors. They stay undecoded until somebody asks for them."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Raw, Struct
from msgspec.json import Decoder

from trunkline.codec import BROKEN, excerpt, mark_of
from trunkline.dialects.openai_chat.errors import error_in_answer
from trunkline.dialects.openai_chat.usage import usage_of
from trunkline.errors import BadAnswer
from trunkline.types import Embedded, Event, Finish, Frame, Mark, Memo, Started, UsageReport
from trunkline.vectors import check_number, read_answer

_ENTIRE = Mark.SHOWN | Mark.TERMINAL


class _Item(Struct):
    embedding: Raw
    index: int = 0


class _Answer(Struct):
    data: Annotated[list[_Item], Meta(min_length=1)]
    model: str | None = None
    id: str | None = None
    usage: dict[str, Any] | None = None
    error: None = None


_ANSWER = Decoder(_Answer)
_VECTOR = Decoder(list[float] | str)


def decode(body: bytes, memo: Memo) -> Frame:
    """Take an answer (a 2xx body) as one terminal frame.

    Raises:
        BadAnswer: the body is HTML, garbage or empty, or has not one vector for each text.
        ProviderError: the body is an error under a 200.
    """
    answer = read_answer(_ANSWER, body, error_in_answer)
    check_number(len(answer.data), memo)
    told = _told(answer, memo)
    return Frame(body, _ENTIRE | mark_of(told), _decode_whole, memo, told=told)


def decode_frame(raw: bytes, memo: Memo) -> Frame:
    """Refuse an event of a stream: vectors do not come in pieces."""
    raise BadAnswer(f"the provider answered embeddings with a stream: {excerpt(raw)}")


def _told(answer: _Answer, memo: Memo) -> tuple[Event, ...]:
    """Return what an answer tells beside its vectors.

    Usage of no tokens is none: there is no text without any.
    """
    usage = usage_of(answer.usage or {}, memo.quirks)
    told = (Started(id=answer.id, model=answer.model), Finish(reason="stop"))
    return (*told, UsageReport(usage=usage)) if usage.prompt_tokens else told


def _decode_whole(raw: bytes, memo: Memo) -> tuple[Event, ...]:
    answer = read_answer(_ANSWER, raw, error_in_answer)
    items = sorted(answer.data, key=lambda item: item.index)
    try:
        vectors = tuple(_VECTOR.decode(item.embedding) for item in items)
    except BROKEN as error:
        raise BadAnswer(f"the provider's vectors are no numbers: {error}") from None
    return (*_told(answer, memo), Embedded(vectors=vectors))

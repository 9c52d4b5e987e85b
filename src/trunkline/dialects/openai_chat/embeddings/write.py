"""Answer a caller: relay what came in the caller's own way, spell anything else."""

from __future__ import annotations

import re
import sys
from array import array
from base64 import b64decode, b64encode
from collections.abc import Sequence

from msgspec import Raw
from msgspec.json import encode as dump

from trunkline.dialects.openai_chat.usage import spelled_cost
from trunkline.dialects.openai_chat.write import error_of
from trunkline.errors import BadAnswer, TrunklineError
from trunkline.types import Call, Cost, Embed, Embedded, Frame, Mark, Started, Usage, UsageReport

_VECTOR = re.compile(rb'"embedding"\s*:\s*(["\[])')


def write(call: Call, source: str) -> Writer:
    """Prepare to answer `call` with frames that came in the dialect `source`."""
    return Writer(call, relayed=source == "openai_embeddings")


class Writer:
    """Gives one answer to a caller.

    Vectors come as the caller asked for them, whichever way the provider knows: OpenAI's SDK asks
    for base64, and would read nothing else as it should.
    """

    def __init__(self, call: Call, *, relayed: bool) -> None:
        self._call = call
        self._relayed = relayed

    def frame(self, frame: Frame) -> bytes:
        """Return nothing: vectors are not streamed."""
        return b""

    def end(self, cost: Cost) -> bytes:
        """Return nothing, likewise."""
        return b""

    def whole(self, frames: Sequence[Frame], cost: Cost) -> bytes:
        """Return the whole answer as one body, from all its frames."""
        assert isinstance(self._call, Embed)
        first = frames[0]
        if self._relayed and len(frames) == 1 and first.mark & Mark.USAGE:
            begun = _VECTOR.search(first.raw)
            if begun is not None and (begun[1] == b'"') == self._call.body.base64:
                return first.raw
        model, usage = self._call.model, None
        vectors: tuple[list[float] | str, ...] = ()
        for event in (event for frame in frames for event in frame.events):
            if isinstance(event, Started):
                model = event.model or model
            elif isinstance(event, UsageReport):
                usage = event.usage
            elif isinstance(event, Embedded):
                vectors = event.vectors
        spell = packed if self._call.body.base64 else unpacked
        body = {
            "object": "list",
            "data": [
                # One by one, so that other threads have their turns.
                {"object": "embedding", "index": index, "embedding": Raw(dump(spell(vector)))}
                for index, vector in enumerate(vectors)
            ],
            "model": model,
            "usage": self._usage(usage, cost),
        }
        return dump(body)

    def error(self, error: TrunklineError) -> bytes:
        """Return an error as a body."""
        return dump(error_of(error))

    def _usage(self, usage: Usage | None, cost: Cost) -> dict[str, object]:
        """Spell the usage; where the provider did not say, what was charged, which says so."""
        beside: dict[str, object] = {}
        if usage is None:
            trail = self._call.trail
            usage = trail.attempts[-1].usage if trail is not None and trail.attempts else Usage()
            beside = {"trunkline": {"estimated": True, **spelled_cost(cost)}}
        tokens = usage.prompt_tokens
        return {"prompt_tokens": tokens, "total_tokens": tokens, **beside}


def packed(vector: list[float] | str) -> str:
    """Return a vector as base64 of 32-bit floats, least significant byte first."""
    if isinstance(vector, str):
        return vector
    return b64encode(_little(array("f", vector)).tobytes()).decode()


def unpacked(vector: list[float] | str) -> list[float]:
    """Return a vector as numbers.

    Raises:
        BadAnswer: it is no base64 of 32-bit floats.
    """
    if not isinstance(vector, str):
        return vector
    numbers = array("f")
    try:
        numbers.frombytes(b64decode(vector, validate=True))
    except ValueError as error:
        raise BadAnswer(f"the provider's vectors are no base64 of floats: {error}") from None
    return _little(numbers).tolist()


def _little(numbers: array[float]) -> array[float]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers

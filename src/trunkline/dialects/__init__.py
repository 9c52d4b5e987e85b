"""Wire formats: each dialect is one module of pure functions that satisfies `Dialect`.

Caller's side: `read` takes a request, `write` gives an answer. Provider's side: `encode` makes a
request (`continues` says whether it can hand on the beginning of an answer), `listing` one for its
models; `decode`, `decode_frame` and `decode_error` take an answer. Dialects do no I/O, know no
clock and never import each other; what passes between two of them is `trunkline.types`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any, Literal, Protocol, cast

from trunkline.errors import ProviderError, TrunklineError
from trunkline.types import Chat, Cost, Deployment, Frame, Memo, Outgoing


class Writer(Protocol):
    """Gives one answer to a caller in the caller's dialect; made by `Dialect.write`."""

    def frame(self, frame: Frame) -> bytes:
        """Return the bytes to send for one frame of a stream; may be empty."""

    def end(self, cost: Cost) -> bytes:
        """Return what closes a stream after its last frame; may be empty."""

    def whole(self, frames: Sequence[Frame], cost: Cost) -> bytes:
        """Return the whole answer as one body, from all its frames."""

    def error(self, error: TrunklineError) -> bytes:
        """Return an error: a body when nothing was written yet, else the stream's error event."""


class Dialect(Protocol):
    """A wire format as a pure codec, for calls of one kind: chats, embeddings or counts."""

    NAME: str
    FRAMING: Literal["sse", "ndjson", "eventstream"]

    def read(self, body: bytes, headers: Mapping[str, str] = ...) -> Any:
        """Take a caller's request; `headers` are lower case, those that say something are kept.

        Raises:
            InputError: with `param` naming the field that is wrong.
        """

    def write(self, call: Any, source: str, /) -> Writer:
        """Prepare to answer `call` with frames that came in the dialect `source`."""

    def encode(self, call: Any, deployment: Deployment, /) -> Outgoing:
        """Make the request for a provider."""

    def listing(self, deployment: Deployment) -> Outgoing:
        """Make the request for the list of a provider's models, which costs nothing."""

    def continues(self, chat: Chat, deployment: Deployment) -> bool:
        """Whether `encode` can have a deployment go on from `chat.partial`.

        True only where it is documented that the model does not begin anew.
        """

    def decode(self, body: bytes, memo: Memo) -> Frame:
        """Take a whole answer (a 2xx body) as one terminal frame.

        Raises:
            ProviderError: the body is no answer (garbage, or an error under a 200).
        """

    def decode_frame(self, raw: bytes, memo: Memo) -> Frame:
        """Take one unit of a stream, framing bytes included.

        Raises:
            ProviderError: the unit is an error event, or garbage.
        """

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Name what a non-2xx answer means; `headers` are lower case."""


_WITHIN = {
    "openai_text": "openai_chat.text",
    "openai_responses": "openai_chat.responses",
    "openai_embeddings": "openai_chat.embeddings",
    "openai_counting": "openai_chat.responses.counting",
    "vllm_counting": "openai_chat.counting",
    "anthropic_counting": "anthropic.counting",
    "bedrock_counting": "bedrock.counting",
    "gemini_embeddings": "gemini.embeddings",
    "gemini_counting": "gemini.counting",
    "ollama_embeddings": "ollama.embeddings",
    "cohere_embeddings": "cohere.embeddings",
}
"""Dialects that are another endpoint of the same API stand within its package."""


@cache
def load(name: str) -> Dialect:
    """Return the dialect module called `name`, imported on first use."""
    return cast("Dialect", import_module(f"trunkline.dialects.{_WITHIN.get(name, name)}"))

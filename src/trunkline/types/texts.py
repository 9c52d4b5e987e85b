"""What an embeddings call asks: texts in, a vector for each of them out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from msgspec import Raw, Struct

from trunkline.types.prompt import Need


class Texts(Struct, frozen=True, kw_only=True):
    """An embeddings request: typed, and every top-level field as it came.

    A deployment that speaks the same dialect is sent these fields again, so unknown ones survive.
    """

    choices: ClassVar[int] = 1
    max_output_tokens: ClassVar[int] = 0
    """Nothing is written, so nothing is held or charged for it."""
    needs: ClassVar[frozenset[Need]] = frozenset()
    bounded: ClassVar[bool] = True
    """All that the provider reads is in the request."""

    dialect: str
    fields: Mapping[str, Raw]
    inputs: tuple[str | list[int], ...]
    """Texts, or texts as the token numbers of the model."""
    size_bytes: int
    """Size as JSON; an upper bound of the tokens."""
    dimensions: int | None = None
    """How long each vector shall be; None = the model's own length."""
    base64: bool = False
    """Whether the caller wants vectors as base64; see `Embedded`."""
    purpose: str | None = None
    """What the vectors are for, in Cohere's words: `search_query`, `search_document`, ..."""
    end_user: str | None = None

    @property
    def message_count(self) -> int:
        """How many texts are sent."""
        return len(self.inputs)

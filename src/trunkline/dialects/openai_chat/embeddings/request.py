"""Take a caller's embeddings request: check it, keep every field of it.

Source: https://platform.openai.com/docs/api-reference/embeddings/create 2026-11-20
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.json import Decoder

from trunkline.dialects.openai_chat.request import COUNT, checked
from trunkline.errors import InputError
from trunkline.types import Embed, Texts


class _Asked(Struct):
    input: str | list[str | int | list[int]] | None = None
    model: str | None = None
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    input_type: str | None = None
    user: str | None = None


_ASKED = Decoder(_Asked)
_INPUT = "a string, a list of strings, a list of token numbers or a list of such lists"
_HINTS = {
    "input": _INPUT,
    "model": "the name of a model as a string",
    "dimensions": COUNT,
    "encoding_format": '"float" or "base64"',
    "input_type": 'a string such as "search_query"',
    "user": "a string",
}


def read(body: bytes, headers: Mapping[str, str] | None = None) -> Embed:
    """Take a caller's request; this wire says nothing in its `headers`.

    `input_type` is not OpenAI's: it says what the vectors are for to those providers who ask.

    Raises:
        InputError: with `param` naming the field that is wrong, and what to write instead.
    """
    fields, asked = checked(body, _ASKED, _HINTS)
    if not asked.model:
        raise InputError(
            "'model' is missing; write the name of an embedding model: vectors of different models "
            "cannot be compared, so none is chosen for you",
            param="model",
        )
    return Embed(
        model=asked.model,
        body=Texts(
            dialect="openai_embeddings",
            fields=fields,
            inputs=_inputs(asked.input),
            size_bytes=len(body),
            dimensions=asked.dimensions,
            base64=asked.encoding_format == "base64",
            purpose=asked.input_type,
            end_user=asked.user,
        ),
    )


def _inputs(said: str | list[str | int | list[int]] | None) -> tuple[str | list[int], ...]:
    """Return the texts one by one; token numbers in one list are one text.

    Raises:
        InputError: there are none, or of two kinds.
    """
    if said is None or said == []:
        problem = "is missing" if said is None else "is empty"
        raise InputError(f"'input' {problem}; write {_INPUT}", param="input")
    if isinstance(said, str):
        return (said,)
    tokens = [piece for piece in said if isinstance(piece, int)]
    texts = tuple(piece for piece in said if not isinstance(piece, int))
    if tokens and texts:
        raise InputError(f"'input' is wrong: it mixes kinds; write {_INPUT}", param="input")
    return (tokens,) if tokens else texts

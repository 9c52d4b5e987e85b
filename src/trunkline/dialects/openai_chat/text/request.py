"""Take a caller's text completion: keep every byte of it, and say it as a chat where it must be.

Source: https://platform.openai.com/docs/api-reference/completions/create 2026-11-20
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from msgspec import Meta, Raw
from msgspec.json import Decoder
from msgspec.json import decode as load
from msgspec.json import encode as dump

from trunkline.caps import least_cap
from trunkline.dialects.openai_chat import request as chat
from trunkline.dialects.openai_chat.request import COUNT, HINTS, Common, Count
from trunkline.errors import InputError
from trunkline.types import Chat, Prompt, Wire
from trunkline.types.prompt import HARMLESS


class _Asked(Common):
    prompt: str | list[str | int | list[int]] | None = None
    max_tokens: Annotated[int, Meta(ge=0)] | None = None
    best_of: Count | None = None
    logprobs: int | None = None
    echo: bool | None = None
    suffix: str | None = None


_ASKED = Decoder(_Asked)
_BOUNDED = HARMLESS | set(_Asked.__struct_fields__)
_HINTS = HINTS | {
    "prompt": "a string, a list of strings, a list of token numbers or a list of such lists",
    "max_tokens": "a whole number of at least 0",
    "best_of": COUNT,
    "logprobs": "a whole number",
    "echo": "true or false",
    "suffix": "a string",
}
_TEXT_ONLY = ("prompt", "best_of", "logprobs", "echo", "suffix")
_CHAT_BYTES = 32
"""By how much a request grows when it is said as a chat; a proven bound must know."""


def read(body: bytes, headers: Mapping[str, str] | None = None) -> Chat:
    """Take a caller's request; this wire says nothing in its `headers`.

    Raises:
        InputError: with `param` naming the field that is wrong, and what to write instead.
    """
    fields, asked = chat.checked(body, _ASKED, _HINTS)
    prompts = _count(asked.prompt)
    return Chat(
        model=asked.model or "",
        stream=asked.stream or False,
        body=Wire(
            dialect="openai_text",
            fields=fields,
            parse=parse,
            message_count=prompts,
            size_bytes=len(body) + _CHAT_BYTES,
            max_output_tokens=least_cap(cap_of(asked.max_tokens), fields),
            needs=frozenset(),
            # `best_of` candidates are written, and charged, for each prompt.
            choices=prompts * max(asked.n or 1, asked.best_of or 1),
            end_user=asked.user,
            bounded=fields.keys() <= _BOUNDED,
        ),
    )


def cap_of(max_tokens: int | None) -> int | None:
    """Return what an answer is held to; llama.cpp writes one token where 0 were asked for.

    What a server takes where nothing is said (OpenAI: 16) is no promise.
    """
    return None if max_tokens is None else max(max_tokens, 1)


def _count(said: str | Sequence[str | int | list[int]] | None) -> int:
    """Return how many prompts there are; token numbers in one list are one."""
    if said is None or said == []:
        raise InputError(
            "'prompt' is missing; write a string such as \"Once upon a time\"", param="prompt"
        )
    if isinstance(said, str) or all(isinstance(piece, int) for piece in said):
        return 1
    return len(said)


def parse(fields: Mapping[str, Raw]) -> Prompt:
    """Say a request that `read` has accepted as a chat: its text becomes one user message.

    Raises:
        InputError: with `param` naming what no chat can express.
    """
    said = {name: load(fields[name]) for name in (*_TEXT_ONLY, "n", "max_tokens") if name in fields}
    text = said["prompt"]
    if isinstance(text, list) and len(text) == 1:
        [text] = text
    refused = {
        "prompt": (not isinstance(text, str) or not text, "write one string, no tokens"),
        "suffix": (said.get("suffix"), "leave it out"),
        "echo": (said.get("echo"), "leave it out"),
        "logprobs": ("logprobs" in said, "leave it out"),
        "best_of": (said.get("best_of", 1) > said.get("n", 1), "leave it out"),
        "max_tokens": (said.get("max_tokens") == 0, "write at least 1"),
        "max_completion_tokens": ("max_completion_tokens" in fields, "write max_tokens"),
        "tools": ("tools" in fields, "leave it out"),
        "functions": ("functions" in fields, "leave it out"),
    }
    for name, (wrong, instead) in refused.items():
        if wrong:
            raise InputError(
                f"'{name}' cannot be sent: this is a text completion, and the deployment it would "
                f"go to speaks chat only; {instead}",
                param=name,
            )
    left = {name: raw for name, raw in fields.items() if name not in _TEXT_ONLY}
    asked = dump(left | {"messages": [{"role": "user", "content": text}]})
    return chat.read(asked).prompt  # checked anew: chat has fields that text knows nothing of

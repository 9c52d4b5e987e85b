"""Take a caller's text completion: keep every byte of it, and say it as a chat where it must be.

Source: https://platform.openai.com/docs/api-reference/completions/create 2026-11-20
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta, Raw
from msgspec.json import Decoder
from msgspec.json import decode as load
from msgspec.json import encode as dump

from trunkline.dialects.openai_chat import request as chat
from trunkline.dialects.openai_chat.request import COMMON, COUNT, Check
from trunkline.errors import InputError
from trunkline.types import Chat, Prompt, Wire

_CHECKS: dict[str, Check] = {
    **COMMON,
    "prompt": (
        Decoder(str | list[str | int | list[int]]),
        "a string, a list of strings, a list of token numbers or a list of such lists",
    ),
    "max_tokens": (Decoder(Annotated[int, Meta(ge=0)]), "a whole number of at least 0"),
    "best_of": COUNT,
    "logprobs": chat.WHOLE,
    "echo": chat.BOOL,
    "suffix": chat.STRING,
}
_TEXT_ONLY = ("prompt", "best_of", "logprobs", "echo", "suffix")
_CHAT_BYTES = 32
"""By how much a request grows when it is said as a chat; a proven bound must know."""


def read(body: bytes, headers: Mapping[str, str] | None = None) -> Chat:
    """Take a caller's request; this wire says nothing in its `headers`.

    Raises:
        InputError: with `param` naming the field that is wrong, and what to write instead.
    """
    fields, values = chat.checked(body, _CHECKS)
    prompts = _count(values)
    return Chat(
        model=values.get("model", ""),
        stream=values.get("stream", False),
        body=Wire(
            dialect="openai_text",
            fields=fields,
            parse=parse,
            message_count=prompts,
            size_bytes=len(body) + _CHAT_BYTES,
            max_output_tokens=cap_of(values.get("max_tokens")),
            needs=frozenset(),
            # `best_of` candidates are written, and charged, for each prompt.
            choices=prompts * max(values.get("n", 1), values.get("best_of", 1)),
            end_user=values.get("user"),
        ),
    )


def cap_of(max_tokens: int | None) -> int | None:
    """Return what an answer is held to; llama.cpp writes one token where 0 were asked for.

    What a server takes where nothing is said (OpenAI: 16) is no promise.
    """
    return None if max_tokens is None else max(max_tokens, 1)


def _count(values: Mapping[str, Any]) -> int:
    """Return how many prompts there are; token numbers in one list are one."""
    said = values.get("prompt")
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

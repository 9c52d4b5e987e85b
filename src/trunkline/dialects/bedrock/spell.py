"""Messages -> turns of `user` and `assistant`, and their blocks.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html
2026-11-20
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from msgspec import Raw
from msgspec.json import decode as load

from trunkline.codec import BROKEN
from trunkline.dialects.bedrock.events import OWN
from trunkline.dialects.bedrock.media import Media
from trunkline.dialects.bedrock.models import Traits
from trunkline.errors import CapabilityMissing
from trunkline.types import (
    AnyPart,
    Audio,
    File,
    Image,
    Message,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)

Json = dict[str, Any]
Turn = tuple[str, list[Json]]
_UNFIT = re.compile(r"[^a-zA-Z0-9_.:-]")
_MOST_ID_CHARS = 64
_FERNET = "gAAAA"
"""How OpenAI's proof of a thought begins, whatever dialect it travelled through."""


class Speller:
    """Spells the messages of one prompt for one model. `dropped` names what it does not take."""

    def __init__(self, messages: Iterable[Message], traits: Traits) -> None:
        self._messages = tuple(messages)
        self._traits = traits
        self._media = Media()
        self.dropped: set[str] = set()

    def turns(self) -> tuple[list[Json], list[Turn]]:
        """Return the system's blocks in their order, and turns that alternate.

        Messages of one side in a row become one turn, in which results of tools stand first. Where
        there is nothing but a system's words, they are the user's.
        """
        system: list[Json] = []
        turns: list[Turn] = []
        for message in self._messages:
            apart = message.role in {"system", "developer"}
            blocks = self._blocks(message.parts, "system" if apart else "messages")
            if not blocks:
                continue
            blocks += self.cache_point(message.extra, "system" if apart else "messages")
            if apart:
                system += blocks
                continue
            role = "assistant" if message.role == "assistant" else "user"
            if not turns or turns[-1][0] != role:
                turns.append((role, []))
            turns[-1][1].extend(blocks)
        for role, blocks in turns:
            if role == "user" and any("toolResult" in block for block in blocks):
                _put_results_first(blocks)
        if turns and turns[-1][0] == "assistant" and "text" in turns[-1][1][-1]:
            last = turns[-1][1][-1]
            last["text"] = last["text"].rstrip()  # a beginning that ends in blanks is refused
        return ([], [("user", system)]) if system and not turns else (system, turns)

    def cache_point(self, extra: Json, where: str) -> list[Json]:
        """Return the mark for the cache that `extra` asks for, in Anthropic's words, behind it."""
        control = extra.get("cache_control")
        if not isinstance(control, dict):
            return []
        if where not in self._traits.cached:
            self.dropped.add("cache_control")
            return []
        ttl = {"ttl": "1h"} if control.get("ttl") == "1h" else {}
        return [{"cachePoint": {"type": "default"} | ttl}]

    def _blocks(self, parts: Iterable[AnyPart], where: str) -> list[Json]:
        blocks: list[Json] = []
        for part in parts:
            said = list(self._part(part))
            blocks += said
            blocks += self.cache_point(part.extra, where) if said else []
        return blocks

    def _part(self, part: AnyPart) -> Iterable[Json]:
        if isinstance(part, Text | Refusal):
            own = part.extra.get(OWN)
            if isinstance(own, dict):
                yield _own(own, part.text)
            elif part.text.strip():  # words that say nothing are refused
                yield {"text": part.text}
        elif isinstance(part, Thinking):
            if self._is_known(part):
                yield {"reasoningContent": _thought(part)}
        elif isinstance(part, ToolCall):
            call = {"toolUseId": fit(part.id), "name": part.name}
            yield {"toolUse": call | {"input": input_of(part.arguments)}}
        elif isinstance(part, ToolResult):
            yield {"toolResult": self._result(part)}
        elif isinstance(part, Image):
            yield self._media.image(part)
        elif isinstance(part, File):
            yield self._media.file(part)
        else:
            yield from _sound(part)

    def _result(self, part: ToolResult) -> Json:
        inner = [block for one in part.parts for block in self._part(one)]
        status = {"status": "error"} if part.is_error else {}
        return {"toolUseId": fit(part.id), "content": inner} | status

    def _is_known(self, part: Thinking) -> bool:
        """Whether a thought is the model's own, as far as can be told.

        Claude proves its thoughts, to Bedrock as to Anthropic. Of what came through OpenRouter's
        list, its format tells whose it is.
        Source: https://platform.claude.com/docs/en/build-with-claude/thinking 2026-11-20
        """
        if self._traits.vendor != "anthropic":
            return self._traits.vendor == "amazon" and part.spelling == OWN
        detail = part.extra.get("reasoning_details")
        whose = detail.get("format") if isinstance(detail, dict) else None
        proof = part.redacted if part.signature is None else part.signature
        return (
            proof is not None
            and not str(proof).startswith(_FERNET)
            and part.spelling in {OWN, "anthropic", "reasoning_details", None}
            and (whose is None or str(whose).startswith(("anthropic", OWN)))
        )


def _own(own: Json, text: str) -> Json:
    """Return a block that only this dialect knows; the words with sources stood beside them."""
    cited = own.get("citationsContent")
    if not isinstance(cited, dict) or "content" in cited:
        return own
    return {"citationsContent": ({"content": [{"text": text}]} if text else {}) | cited}


def _thought(part: Thinking) -> Json:
    """Spell a thought byte for byte."""
    if part.redacted is not None:
        return {"redactedContent": part.redacted}
    signed = {"signature": part.signature} if part.signature is not None else {}
    return {"reasoningText": {"text": part.text} | signed}


def _sound(part: Audio) -> Iterable[Json]:
    if part.data:
        yield {"audio": {"format": part.format or "wav", "source": {"bytes": part.data}}}
    elif part.transcript:
        yield {"text": part.transcript}
    else:
        raise CapabilityMissing(
            "an earlier answer in sound is held by its own provider; send its transcript, or ask "
            "that one",
            param="messages",
        )


def _put_results_first(blocks: list[Json]) -> None:
    """Put results first, each with the mark for the cache behind it."""
    results: list[Json] = []
    others: list[Json] = []
    place = others
    for block in blocks:
        if "cachePoint" not in block:
            place = results if "toolResult" in block else others
        place.append(block)
    blocks[:] = results + others


def input_of(arguments: str) -> Json | Raw:
    """Return the arguments of a call as an object, which they must be here.

    Free text (OpenAI's custom tools) and broken JSON become the one field of an object.
    """
    try:
        if isinstance(load(arguments), dict):
            return Raw(arguments.encode())
    except (*BROKEN, UnicodeEncodeError):
        pass
    return {"input": arguments}


def fit(id_: str) -> str:
    """Return the id of a call in the letters the API takes; the same id always gives the same."""
    fitting = _UNFIT.sub("_", id_) or "_"
    if len(fitting) <= _MOST_ID_CHARS:
        return fitting
    return f"{fitting[:31]}-{sha256(id_.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"

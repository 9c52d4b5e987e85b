"""Answer a caller: relay frames of this dialect byte by byte, spell those of any other.

A text completion has no place for thoughts and tool calls: they are left out.
Source: https://platform.openai.com/docs/api-reference/completions/object 2026-11-20
"""

from __future__ import annotations

from functools import partial
from typing import Any

from msgspec.json import encode as dump

from trunkline.dialects.openai_chat.body import body_of
from trunkline.dialects.openai_chat.chunks import Chunks, finish_of
from trunkline.dialects.openai_chat.write import Spelling, Writer
from trunkline.types import Chat, Event, Extra, Finish, Message, Refusal, RefusalDelta, TextDelta

Json = dict[str, Any]
_KIND = "text_completion"
_FINISHES = frozenset({"stop", "length", "content_filter"})


class _Chunks(Chunks):
    """The stream of a text completion, whose chunks look like its whole body."""

    KIND = _KIND.encode()

    def _said(self, event: Event) -> tuple[Json, Json]:
        if isinstance(event, TextDelta | RefusalDelta):
            return {"text": event.text}, {}
        if isinstance(event, Finish):
            return {}, finish_of(event, _FINISHES)
        if isinstance(event, Extra) and "logprobs" in event.fields:
            return {}, {"logprobs": event.fields["logprobs"]}
        return {}, {}

    def _chunk(self, choice: int, delta: Json, beside: Json) -> bytes:
        if not delta and not beside:
            return b""
        fields = {"index": choice, "text": "", "logprobs": None, "finish_reason": None}
        usage = b',"usage":null' if self._usage_asked else b""
        return b"%b%b]%b}\n\n" % (self._open(), dump(fields | delta | beside), usage)


def _choice_of(number: int, message: Message, finish: Finish) -> Json:
    refusal = "".join(part.text for part in message.parts if isinstance(part, Refusal))
    return {
        "index": number,
        "text": message.text + refusal,
        "logprobs": message.extra.get("logprobs"),
        **finish_of(finish, _FINISHES),
    }


_TEXT = Spelling("openai_text", "cmpl", _Chunks, partial(body_of, kind=_KIND, spell=_choice_of))


def write(chat: Chat, source: str) -> Writer:
    """Prepare to answer `chat` with frames that came in the dialect `source`."""
    return Writer(chat, source, _TEXT)

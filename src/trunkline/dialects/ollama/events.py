"""What a line of an answer means: JSON -> events.

Source: https://docs.ollama.com/api/chat 2026-11-20
Source: https://docs.ollama.com/api/usage 2026-11-20
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from msgspec.json import encode as dump

from trunkline.types import (
    Event,
    Extra,
    Finish,
    FinishReason,
    Memo,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
)

Json = dict[str, Any]
OWN = "ollama"
_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length"}
"""`load` and `unload` answer requests without words, which we never send."""
_UNFIT = re.compile(r"[^0-9]")


def events_of(data: Json, memo: Memo) -> Iterable[Event]:
    """Give the meanings of one line, or of a whole answer."""
    if "at" not in memo.scratch:
        memo.scratch["at"] = _UNFIT.sub("", data.get("created_at") or "")
        yield Started(model=data.get("model") or None)
    message = data.get("message") or {}
    if thought := message.get("thinking"):
        yield ThinkingDelta(text=thought, spelling=OWN)
    if text := message.get("content"):
        yield TextDelta(text=text)
    for call in message.get("tool_calls") or ():
        yield _call(call, memo)
    if logprobs := data.get("logprobs"):
        yield Extra(fields={"logprobs": {"content": logprobs}})
    if not data.get("done"):
        return
    if (usage := usage_of(data)) is not None:
        yield UsageReport(usage=usage)
    raw = data.get("done_reason") or None
    reason = _REASONS.get(raw or "", "unknown")
    # A model that calls tools says `stop`, or nothing that is known.
    yield Finish(reason="tool_calls" if memo.calls and reason != "length" else reason, raw=raw)


def usage_of(data: Json) -> Usage | None:
    """Return what the last line counts, thoughts among the output; None = it did not say.

    What is 0 is left out, so no output at all is 0. No prompt has 0 tokens: where its number is
    missing (older servers left it out of what they had in their cache), it is not known.
    Source: https://github.com/ollama/ollama/issues/2068 2026-11-20
    """
    prompt, output = data.get("prompt_eval_count"), data.get("eval_count", 0)
    if not (prompt.__class__ is int and prompt > 0 and output.__class__ is int and output >= 0):
        return None
    return Usage(prompt_tokens=prompt, completion_tokens=output)


def _call(call: Json, memo: Memo) -> ToolCallDelta:
    """Give a call, which always comes whole; older servers give it no id."""
    number = len(memo.calls)
    id_ = call.get("id") or f"call_{memo.scratch['at']}_{number}"
    memo.calls[number] = number
    function: Json = call["function"]
    arguments = function.get("arguments") or {}
    if not isinstance(arguments, str):  # a string is not in the documentation, but harmless
        arguments = dump(arguments).decode()
    return ToolCallDelta(index=number, id=id_, name=function["name"], arguments=arguments)

"""Calls of tools in an answer: whole, or in pieces where the request asked for pieces."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256
from itertools import pairwise
from typing import Any

from msgspec.json import encode as dump

from trunkline.types import Memo, ToolCallDelta

Json = dict[str, Any]
_UNFIT = re.compile(r"[^a-zA-Z0-9_-]")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\[(['\"])(.*?)\3\]")
_VALUES = ("stringValue", "numberValue", "boolValue", "nullValue")


def signed(signature: str | None) -> Json:
    """Return what is kept beside a call, or beside words, that came signed."""
    return {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}


def deltas(part: Json, choice: int, data: Json, memo: Memo) -> Iterable[ToolCallDelta]:
    """Give the call in `part`; `data` is the whole answer or event it stands in."""
    call: Json = part["functionCall"]
    under_way: dict[int, Json] = memo.scratch.setdefault("calls", {})
    if name := call.get("name"):
        number = memo.calls.get(choice, 0)
        memo.calls[choice] = number + 1
        under_way[choice] = {"number": number, "args": {}}
        yield ToolCallDelta(
            choice=choice,
            index=number,
            id=call.get("id") or _made_id(number, choice, data, memo),
            name=name,
            extra=signed(part.get("thoughtSignature")),
        )
    state = under_way[choice]
    state["args"] |= call.get("args") or {}
    for piece in call.get("partialArgs") or ():
        _put(state["args"], piece)
    if not call.get("willContinue"):
        del under_way[choice]
        arguments = dump(state["args"]).decode()
        yield ToolCallDelta(choice=choice, index=state["number"], arguments=arguments)


def _made_id(number: int, choice: int, data: Json, memo: Memo) -> str:
    """Make an id for a call that came without one; no two answers may have the same."""
    answer = memo.scratch.get("started") or sha256(dump(data)).hexdigest()
    return f"call_{_UNFIT.sub('_', str(answer))[:24]}_{choice}_{number}"


def _put(args: Json, piece: Json) -> None:
    """Put a piece of an argument in its place; pieces of a text continue it.

    Source: https://docs.cloud.google.com/vertex-ai/generative-ai/docs/multimodal/function-calling
    2026-11-20
    """
    steps = [
        int(place) if place else name or quoted
        for name, place, _, quoted in _STEP.findall(piece["jsonPath"].removeprefix("$"))
    ]
    value = next((piece[name] for name in _VALUES if name in piece), None)
    if "nullValue" in piece:
        value = None
    here: Any = args
    for step, then in pairwise(steps):
        here = _place(here, step, [] if isinstance(then, int) else {})
    before = _place(here, steps[-1], None)
    here[steps[-1]] = before + value if isinstance(before, str) and value is not None else value


def _place(holder: Any, step: int | str, empty: Any) -> Any:
    """Return what is at `step`, which is made if it is the next place."""
    if isinstance(holder, dict):
        return holder.setdefault(step, empty)
    if step == len(holder):
        holder.append(empty)
    return holder[step]

"""What each family of models takes through Converse, as data. Of others little is assumed.

Source: https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference-supported-models-features.html
2026-11-20
Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ToolChoice.html
2026-11-20
Source: https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html 2026-11-20
Source: https://platform.claude.com/docs/en/build-with-claude/thinking 2026-11-20
Source: https://docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html 2026-11-20
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from msgspec import Struct

_CLAUDE = re.compile(
    r"claude-(?:(?P<family>opus|sonnet|haiku|fable|mythos)-)?(?P<major>\d{1,2})"
    r"(?:[-.](?P<minor>\d{1,2}))?(?!\d)(?:-(?P<late>opus|sonnet|haiku))?"
)
_NOVA = re.compile(r"amazon\.nova-(?P<second>2-)?")
_MAY_BE_STRUCTURED = re.compile(
    r"\b(deepseek|google|minimax|mistral|moonshot|moonshotai|nvidia|qwen)\.|^arn:[^.]*$"
)
"""Vendors of whose models some answer by a schema, and ARNs without a name.
Source: https://github.com/langchain-ai/langchain-aws/issues/883 2026-11-21"""
_EVERYWHERE = frozenset({"system", "messages", "tools"})
EFFORTS = ("low", "medium", "high", "xhigh", "max")


class Traits(Struct, frozen=True, kw_only=True):
    """What one model takes."""

    vendor: Literal["anthropic", "amazon", "openai", ""] = ""
    """Whose words for thinking and sampling it has, where it has any; "" = somebody else's."""
    budgets: bool = False
    """Thinks up to a cap in tokens."""
    adaptive: bool = False
    """Decides itself how much to think; `efforts` steer it."""
    unasked: bool = False
    """Thinks when nobody asks it to."""
    may_be_off: bool = True
    """Thinking that comes unasked can be turned off."""
    hides: bool = False
    """Shows what it thought only when asked for a summary."""
    efforts: tuple[str, ...] = ()
    sampling: bool = True
    """Takes temperature, top_p and top_k."""
    forced_tools: bool = False
    """Takes a demand for any call, or for one tool."""
    structured: bool = False
    """Takes a JSON schema for the answer, and strict tools."""
    may_be_structured: bool = False
    """Some of its kind take a schema: it is sent, and Bedrock refuses it for the others."""
    cached: frozenset[str] = frozenset()
    """Where it takes marks for its cache: `system`, `messages`, `tools`."""


@lru_cache(maxsize=256)
def traits_of(model: str) -> Traits:
    """Return what the model of this name takes; of an ARN without a name nothing is known."""
    if (nova := _NOVA.search(model)) is not None:
        return Traits(
            vendor="amazon",
            efforts=("low", "medium", "high") if nova["second"] else (),
            forced_tools=True,
            cached=frozenset({"system", "messages"}),
        )
    if "openai.gpt-oss" in model:
        return Traits(vendor="openai", efforts=("low", "medium", "high"), structured=True)
    if "anthropic." not in model and "claude" not in model:
        return Traits(may_be_structured=_MAY_BE_STRUCTURED.search(model) is not None)
    found = _CLAUDE.search(model)
    return Traits(vendor="anthropic", forced_tools=True) if found is None else _claude(found)


def _claude(found: re.Match[str]) -> Traits:
    family = found["family"] or found["late"] or ""
    version = (int(found["major"]), int(found["minor"] or 0))
    if version < (4, 6):
        return Traits(
            vendor="anthropic",
            budgets=version >= (3, 7),
            forced_tools=version >= (3, 0),
            structured=version >= (4, 5),
            cached=_EVERYWHERE if version >= (3, 5) else frozenset(),
        )
    efforts = EFFORTS
    if version == (4, 6):
        efforts = ("low", "medium", "high", *(("max",) if family == "opus" else ()))
    bound = family in {"fable", "mythos"} or (family != "haiku" and version >= (5, 5))
    return Traits(
        vendor="anthropic",
        budgets=version == (4, 6),
        adaptive=True,
        unasked=version >= (5, 0),
        may_be_off=not bound,
        hides=version >= (4, 7),
        efforts=efforts,
        sampling=version < (4, 7),
        forced_tools=not (bound and family != "sonnet" and version >= (5, 1)),
        structured=True,
        cached=_EVERYWHERE,
    )

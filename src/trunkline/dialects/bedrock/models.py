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

from msgspec.structs import asdict

from trunkline import claude

_NOVA = re.compile(r"amazon\.nova-(?P<second>2-)?")
_MAY_BE_STRUCTURED = re.compile(
    r"\b(deepseek|google|minimax|mistral|moonshot|moonshotai|nvidia|qwen)\.|^arn:[^.]*$"
)
"""Vendors of whose models some answer by a schema, and ARNs without a name.
Source: https://github.com/langchain-ai/langchain-aws/issues/883 2026-11-21"""
_EVERYWHERE = frozenset({"system", "messages", "tools"})


class Traits(claude.Traits, frozen=True, kw_only=True):
    """What one model takes."""

    vendor: Literal["anthropic", "amazon", "openai", ""] = ""
    """Whose words for thinking and sampling it has, where it has any; "" = somebody else's."""
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
    return _claude(model)


def _claude(model: str) -> Traits:
    found = claude.version_of(model)
    if found is None:
        return Traits(vendor="anthropic", forced_tools=True)
    _, version = found
    known = asdict(claude.traits_of(model))
    known |= {
        "forced_tools": known["forced_tools"] and version >= (3, 0),
        "structured": version >= (4, 5),
    }
    cached = _EVERYWHERE if version >= (3, 5) else frozenset[str]()
    return Traits(**known, vendor="anthropic", cached=cached)

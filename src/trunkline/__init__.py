"""Trunkline: one door for every call a company makes to a language model.

Public names are loaded on first use; `import trunkline` itself loads only the standard library
and msgspec.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trunkline import errors as errors
    from trunkline.client import Trunkline as Trunkline
    from trunkline.interfaces import (
        BaseLLMProvider as BaseLLMProvider,
    )
    from trunkline.interfaces import (
        ChatMessage as ChatMessage,
    )
    from trunkline.interfaces import (
        ChatResponse as ChatResponse,
    )
    from trunkline.interfaces import (
        LLMProvider as LLMProvider,
    )
    from trunkline.interfaces import (
        LLMRequest as LLMRequest,
    )
    from trunkline.interfaces import (
        LLMResponse as LLMResponse,
    )
    from trunkline.interfaces import (
        UserService as UserService,
    )
    from trunkline.interfaces import (
        register_provider as register_provider,
    )
    from trunkline.llm_service import (
        LLMService as LLMService,
    )
    from trunkline.llm_service import (
        Users as Users,
    )
    from trunkline.llm_service import (
        call_llm as call_llm,
    )
    from trunkline.llm_service import (
        complete as complete,
    )
    from trunkline.llm_service import (
        count_tokens as count_tokens,
    )
    from trunkline.llm_service import (
        embed as embed,
    )
    from trunkline.llm_service import (
        stream_llm as stream_llm,
    )
    from trunkline.types import Chat as Chat
    from trunkline.types.usage_event import UsageEvent as UsageEvent

__version__ = "0.1.0"

_HOMES = {
    "BaseLLMProvider": "interfaces",
    "Chat": "types",
    "ChatMessage": "interfaces",
    "ChatResponse": "interfaces",
    "LLMProvider": "interfaces",
    "LLMRequest": "interfaces",
    "LLMResponse": "interfaces",
    "LLMService": "llm_service",
    "Trunkline": "client",
    "UsageEvent": "types.usage_event",
    "UserService": "interfaces",
    "Users": "llm_service",
    "call_llm": "llm_service",
    "complete": "llm_service",
    "count_tokens": "llm_service",
    "embed": "llm_service",
    "register_provider": "interfaces",
    "stream_llm": "llm_service",
}
__all__ = [*sorted(_HOMES), "errors"]  # noqa: PLE0604 - names, computed from the one table


def __getattr__(name: str) -> Any:
    if name == "errors":
        return import_module("trunkline.errors")
    if name not in _HOMES:
        raise AttributeError(f"module 'trunkline' has no attribute {name!r}")
    value = getattr(import_module(f"trunkline.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))

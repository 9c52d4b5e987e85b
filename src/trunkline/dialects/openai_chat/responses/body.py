"""The response object around the items of an answer that we spell.

Source: https://platform.openai.com/docs/api-reference/responses/object 2026-11-20
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Raw, Struct
from msgspec.json import decode as load

from trunkline.dialects.openai_chat.responses.usage import spelled
from trunkline.types import Chat, Finish, FinishReason, Started, Usage, Wire
from trunkline.types.answer import BUDGET_CUT

Json = dict[str, Any]
_DEFAULTS: Json = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
"""What is said again of the request; strict clients want all of it, mostly not null."""
_ALWAYS: Json = {
    "background": False,
    "error": None,
    "previous_response_id": None,
    "service_tier": "default",
    "store": False,
}
_ENDS: dict[FinishReason, str] = {"stop": "completed", "tool_calls": "completed"}


class Head(Struct):
    """What the response object says beside its output."""

    id: str
    model: str
    created_s: int
    asked: Json
    """The request, as far as it is said again."""

    @classmethod
    def of(cls, chat: Chat) -> Head:
        """Return what is known before the provider said its own id and model."""
        body = chat.body
        fields = body.fields if isinstance(body, Wire) else {}
        return cls(
            id=f"resp_{chat.id}",
            model=chat.target.model if chat.target else chat.model,
            created_s=chat.trail.started_ns // 1_000_000_000 if chat.trail else 0,
            asked=_asked(fields) if fields and _is_own(body) else {},
        )

    def take(self, event: Started) -> None:
        """Take over the provider's own model name, and its id where it is one of this API."""
        if event.id is not None and event.id.startswith("resp_"):
            self.id = event.id
        self.model = event.model or self.model

    def response(
        self, status: str, output: list[Json], usage: Usage | None = None, **said: Any
    ) -> Json:
        """Return the response object."""
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created_s,
            "completed_at": self.created_s if status == "completed" else None,
            "status": status,
            "incomplete_details": None,
            "model": self.model,
            "output": output,
            "usage": None if usage is None else spelled(usage),
            **_ALWAYS,
            **_DEFAULTS,
            **self.asked,
            **said,
        }


def closing(finish: Finish | None) -> tuple[str, Json | None]:
    """Return status and `incomplete_details` of an answer that ended.

    This API knows two words for an answer that was cut. Whatever has none (an error, a pause, an
    unknown reason) was no proper end, so it is called `max_output_tokens`, never completed.
    """
    finish = finish or Finish(reason="unknown")
    if finish.reason in _ENDS and finish.raw != BUDGET_CUT:
        return "completed", None
    filtered = finish.reason == "content_filter"
    return "incomplete", {"reason": "content_filter" if filtered else "max_output_tokens"}


def _is_own(body: object) -> bool:
    return isinstance(body, Wire) and body.dialect == "openai_responses"


def _asked(fields: Mapping[str, Raw]) -> Json:
    """Return what of the request is said again; functions with every field clients insist on."""
    asked: Json = {name: load(fields[name]) for name in _DEFAULTS if name in fields}
    for tool in asked.get("tools", ()):
        if tool.get("type") == "function":
            tool.setdefault("parameters", None)
            tool.setdefault("strict", False)
    if "text" in asked:
        asked["text"].setdefault("format", {"type": "text"})
    if "reasoning" in asked:
        asked["reasoning"] = {"effort": None, "summary": None} | asked["reasoning"]
    return asked

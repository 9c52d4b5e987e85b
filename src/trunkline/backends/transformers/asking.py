"""A call in the words of chat templates and of `generate`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from msgspec import DecodeError, Struct, json

from trunkline import dialects
from trunkline.types import Chat, Deployment

Json = dict[str, Any]
_TAKEN = frozenset(
    (
        *("messages", "model", "stream", "stream_options", "n", "tools", "max_tokens", "stop"),
        *("max_completion_tokens", "temperature", "top_p", "top_k", "seed", "reasoning_effort"),
    )
)


class Asked(Struct, frozen=True, kw_only=True):
    """What a model is asked."""

    messages: list[Json]
    """As templates expect them: contents are texts, arguments of tool calls are objects."""
    tools: list[Json]
    template: Json
    """Further variables of the template."""
    sampling: Json
    """Arguments of `generate`; empty = as the model's makers advise."""
    seed: int | None
    most_tokens: int | None
    stop: tuple[str, ...]
    call_ids: str
    """How the ids of tool calls begin; different for every answer."""
    dropped: tuple[str, ...]


def asked(call: Chat, deployment: Deployment, *, call_ids: str) -> Asked:
    """Read `call`; options that no model here takes are `dropped`."""
    body = json.decode(dialects.load("openai_chat").encode(call, deployment).body)
    prompt = call.prompt
    thinking = prompt.reasoning.enabled if prompt.reasoning is not None else None
    return Asked(
        messages=[_message(said) for said in body["messages"]],
        tools=body.get("tools", []) if prompt.tool_choice != "none" else [],
        template={} if thinking is None else {"enable_thinking": thinking},
        sampling=_sampling(prompt.temperature, prompt.top_p, prompt.top_k),
        seed=prompt.seed,
        most_tokens=call.body.max_output_tokens,
        stop=prompt.stop,
        call_ids=call_ids,
        dropped=tuple(sorted(body.keys() - _TAKEN)),
    )


def _sampling(temperature: float | None, top_p: float | None, top_k: int | None) -> Json:
    if temperature == 0:
        return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    said = {"temperature": temperature, "top_p": top_p, "top_k": top_k}
    told = {name: value for name, value in said.items() if value is not None}
    return {"do_sample": True, **told} if told else {}


def _message(said: Json) -> Json:
    message = dict(said)
    if isinstance(content := said.get("content"), list):
        message["content"] = "".join(part.get("text", "") for part in content)
    elif content is None:
        message["content"] = ""
    if calls := said.get("tool_calls"):
        message["tool_calls"] = [_call(call) for call in calls]
    return message


def _call(call: Json) -> Json:
    function = dict(call.get("function", {}))
    with suppress(DecodeError):  # a template may print the text as well
        function["arguments"] = json.decode(function.get("arguments") or "{}")
    return {**call, "function": function}

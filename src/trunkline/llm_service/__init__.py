"""The faces: the seeds' `call_llm`, `stream_llm`, `complete` and `LLMService`, and beside them
`embed` and `count_tokens`, thin on one core.

The functions use the process's default line, built on first use from the usual places
(`trunkline.yaml`, the environment); `use(line)` puts another in its place.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from trunkline.interfaces import Embeddings, LLMResponse, TokenCount, UserService
from trunkline.llm_service import measures
from trunkline.llm_service.ask import (
    NOBODY,
    Allowance,
    ask,
    call_id,
    chat,
    follow,
    model_of,
    thoughts_of,
)
from trunkline.llm_service.chunks import chunk, tool_call_dicts, usage_dict
from trunkline.llm_service.default import default_line, use
from trunkline.llm_service.service import LLMService
from trunkline.llm_service.users import Users
from trunkline.types import Principal

__all__ = [
    "LLMService",
    "Users",
    "call_llm",
    "complete",
    "count_tokens",
    "default_line",
    "embed",
    "stream_llm",
    "use",
]


async def call_llm(  # noqa: PLR0913, PLR0917 - seed 000's signature
    provider: str,
    model: str,
    messages: list[dict[str, Any]],
    parameters: dict[str, Any],
    tools: list[dict[str, Any]] | None = None,
    user_service: UserService | None = None,
    user_id: str | None = None,
    user_basic_info: dict[str, Any] | None = None,
) -> tuple[str, Any]:
    """Ask a model and wait for the whole answer.

    Args:
        provider: a configured provider's name, such as `openai`.
        model: the model's name there, without a prefix.
        messages: dicts with `role` and `content`, in OpenAI's format.
        parameters: `temperature`, `max_tokens` and so on; None values are left out, what the
            model does not take is dropped with a logged warning.
        tools: OpenAI-format tools, left out when empty.
        user_service: asked before (`require_allowance`), told the cost after (`add_usage`).
        user_id: who pays; None = nobody is tracked.
        user_basic_info: passed to `user_service`, which may create the user from it.

    Returns:
        `(content, thoughts)`: `thoughts` is None or a JSON-able dict with any of
        `reasoning_content`, `blocks` and `tool_calls`.

    Raises:
        TrunklineError: see `trunkline.errors`; or whatever `user_service` raises.
    """
    call = chat(
        messages,
        model,
        parameters,
        provider=provider,
        tools=tools,
        principal=Principal(user_id=user_id),
    )
    allowance = Allowance(user_service, user_id, user_basic_info)
    message, _ = await ask(default_line(), call, allowance)
    return message.text, thoughts_of(message)


async def stream_llm(  # noqa: PLR0913, PLR0917 - seed 000's signature
    provider: str,
    model: str,
    messages: list[dict[str, Any]],
    parameters: dict[str, Any],
    user_service: UserService | None = None,
    user_id: str | None = None,
    user_basic_info: dict[str, Any] | None = None,
) -> AsyncGenerator[Any, None]:
    """Ask a model and yield the answer as it comes; arguments as `call_llm`'s.

    The cost is charged when the stream ends, also when the reader stops early.

    Yields:
        Chunks with `choices[0].delta.content`; `choices` is never empty.
    """
    call = chat(
        messages, model, parameters, provider=provider, principal=Principal(user_id=user_id)
    )
    allowance = Allowance(user_service, user_id, user_basic_info)
    async with aclosing(follow(default_line(), call, allowance)) as frames:
        async for reply, events in frames:
            made = chunk(events, call_id=call_id(reply), model=model_of(reply))
            if made is not None:
                yield made


async def complete(
    model_group: str,
    messages: list[dict[str, Any]],
    tenant_id: str,
    tools: list[dict[str, Any]] | None = None,
) -> LLMResponse:
    """Ask a group (or a model by name) on behalf of a tenant.

    Returns:
        `content` ("" when the model gave none) and `tool_calls` in OpenAI's form ([] when none).

    Raises:
        TrunklineError: the group and its fallbacks all failed.
    """
    call = chat(messages, model_group, tools=tools, principal=Principal(tenant_id=tenant_id))
    message, reply = await ask(default_line(), call, NOBODY)
    return LLMResponse(
        content=message.text,
        model=model_of(reply),
        provider=reply.deployment.provider,
        usage=usage_dict(reply.usage),
        tool_calls=tool_call_dicts(message.tool_calls),
        thoughts=thoughts_of(message),
    )


async def embed(
    texts: str | Sequence[str],
    model: str,
    *,
    dimensions: int | None = None,
    input_type: str | None = None,
    principal: Principal | None = None,
) -> Embeddings:
    """Turn texts into vectors.

    Vectors of different models cannot be compared, so a call fails over only to the same model of
    another provider.

    Args:
        texts: one, or a list of them.
        model: a configured model, as `provider/model` or by its name; there is no default.
        dimensions: how long each vector shall be; None = the model's own length.
        input_type: what the vectors are for, for models that ask: `search_query`,
            `search_document`, `classification` or `clustering`.
        principal: who pays.

    Raises:
        InputError: names the field, what was found and what to write instead.
        TrunklineError: no provider of this model answered.
    """
    options = {"dimensions": dimensions, "input_type": input_type}
    return await measures.embed(default_line(), texts, model, options, principal or Principal())


async def count_tokens(
    messages: Sequence[Mapping[str, Any]],
    model: str | None = None,
    *,
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> TokenCount:
    """Count the tokens that messages would send; free, and nothing is recorded.

    The model's provider is asked where it counts; else it is an estimate that says so.

    Args:
        messages: dicts with `role` and `content`, in OpenAI's format.
        model: as in a chat; None = the default model.
        tools: OpenAI-format tools, which are read as well.

    Raises:
        TrunklineError: nobody answers to that model, or its provider failed.
    """
    return await measures.count(default_line(), chat(messages, model, tools=tools))

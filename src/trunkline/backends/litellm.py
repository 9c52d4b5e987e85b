"""`litellm`: providers that we have no wire format for, through the `litellm` package.

It is asked in OpenAI's format and answers in it, so a deployment of this backend speaks the
dialect `openai_chat`: the request is that dialect's, and each of litellm's objects becomes one of
its frames. The package is imported with the first call; its price map stays local, it prints
nothing, retries nothing, and what it logs goes through `observability.litellm`. Only this module
and that one import it.

Source: https://docs.litellm.ai/docs/completion/input, 2026-11-20
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from functools import cache
from typing import Any

from msgspec import json

from trunkline import dialects
from trunkline.backends import begin
from trunkline.clock import Clock
from trunkline.errors import (
    AttemptTimeout,
    AuthFailed,
    ConfigError,
    ConnectionLost,
    FirstTokenTimeout,
    IdleTimeout,
    ProviderError,
    Truncated,
    TrunklineError,
    UpstreamNotFound,
)
from trunkline.observability.litellm import OURS, quiet
from trunkline.observability.redact import scrub
from trunkline.reply import Reply
from trunkline.types import Chat, Deployment, Frame, Limits, Mark, Memo

_TAKEN = frozenset(
    {
        *("messages", "model", "stream", "stream_options", "n", "max_tokens", "stop", "seed"),
        *("max_completion_tokens", "temperature", "top_p", "top_k", "user", "tools", "tool_choice"),
        *("presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs"),
        *("parallel_tool_calls", "response_format", "reasoning_effort", "thinking", "verbosity"),
        *("modalities", "audio", "prediction", "service_tier", "web_search_options"),
        *("functions", "function_call", "prompt_cache_key", "safety_identifier"),
    }
)
"""What a caller may say. litellm takes addresses, keys, callbacks and more as arguments, too."""
_CODES = (
    ("ContextWindowExceededError", "context_length_exceeded"),
    ("ContentPolicyViolationError", "content_filter"),
)
"""litellm's classes for what others only say in words -> OpenAI's code."""
_FINISHED = ("received_finish_reason", "intermittent_finish_reason")
"""Where litellm's stream keeps what the provider said of its end."""


def make(vendors: str, clock: Clock) -> LiteLLM:
    """Return the backend for these vendors (litellm's prefixes, with commas); "" = for any."""
    return LiteLLM(frozenset(vendors.split(",")) if vendors else None)


class LiteLLM:
    """Answers chats through `litellm.acompletion`.

    Args:
        vendors: who may be asked with the deployment's key; None = anybody, there is no key.
    """

    def __init__(self, vendors: frozenset[str] | None) -> None:
        self._vendors = vendors

    async def send(self, call: Chat) -> Reply:
        """Answer `call`.

        Raises:
            ConfigError: the package is not installed.
            ProviderError: the attempt failed; nothing of an answer was shown.
        """
        deployment = call.target
        assert deployment is not None
        if not _library.cache_info().currsize:
            await asyncio.to_thread(_library)  # the import takes seconds; other calls go on
        outgoing = dialects.load(deployment.dialect).encode(call, deployment)
        self._check(deployment.model)
        fields = json.decode(outgoing.body)
        taken = {name: fields[name] for name in _TAKEN & fields.keys()}
        arguments = taken | _connection(deployment)
        if call.trail is not None:
            call.trail.dropped = (*outgoing.dropped, *sorted(fields.keys() - _TAKEN))
        try:
            return await begin(_frames(arguments, deployment), deployment)
        except ProviderError as error:
            error.deployment = deployment.name
            raise

    def _check(self, model: str) -> None:
        """Refuse a model by which a caller would send the key, or a request, somewhere else."""
        vendor = model.partition("/")[0]
        if "://" in model:  # some of litellm's vendors would post to that address
            raise UpstreamNotFound("an address is no model", sent=False)
        if self._vendors is not None and vendor not in self._vendors:
            known = ", ".join(sorted(self._vendors))
            raise UpstreamNotFound(
                f"the configured credentials are not for {vendor!r}, but for {known}", sent=False
            )


@cache
def _library() -> Any:
    """Import litellm.

    Raises:
        ConfigError: it is not installed.
    """
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else the import downloads it
    try:
        import litellm
    except ImportError as error:
        raise ConfigError(
            f"provider type litellm needs the package litellm ({error}); "
            "run: pip install 'trunkline[litellm]'"
        ) from error
    litellm.telemetry = False
    litellm.suppress_debug_info = True  # it prints advice on errors
    litellm.set_verbose = False
    litellm.drop_params = True
    litellm.REPEATED_STREAMING_CHUNK_LIMIT = 10**9  # a table of equal rows is no failure
    quiet()
    return litellm


def _connection(deployment: Deployment) -> dict[str, Any]:
    """Return the arguments that say how; what is left out litellm takes from the environment."""
    how: dict[str, Any] = {
        "num_retries": 0,
        "max_retries": 0,
        "timeout": deployment.limits.timeout_s,
        "metadata": {OURS: True},
        "_skip_mcp_handler": True,  # with tools it wants the package mcp, and may ask MCP servers
    }
    if deployment.api_key is not None:
        how["api_key"] = deployment.api_key.reveal()
    if deployment.base_url:
        how["api_base"] = deployment.base_url
    if deployment.headers:
        how["extra_headers"] = dict(deployment.headers)
    return how


async def _frames(arguments: dict[str, Any], deployment: Deployment) -> AsyncGenerator[Frame, None]:
    dialect, memo = dialects.load(deployment.dialect), Memo(deployment.quirks)
    try:
        if not arguments.get("stream"):
            answer = await _library().acompletion(**arguments)
            yield dialect.decode(_encoded(answer), memo)
            return
        async with aclosing(_chunks(arguments, deployment.limits)) as chunks:
            async for chunk, finished in chunks:
                frame = dialect.decode_frame(b"data: %b\n\n" % _encoded(chunk), memo)
                if frame.mark & Mark.FINISH and not finished:
                    raise Truncated("the provider's stream stopped before its end")
                yield frame
        yield dialect.decode_frame(b"data: [DONE]\n\n", memo)
    except TrunklineError:
        raise
    except Exception as error:
        ours = _failure(error)
        raise ours from (None if isinstance(ours, AuthFailed) else error)


async def _chunks(
    arguments: dict[str, Any], limits: Limits
) -> AsyncGenerator[tuple[Any, bool], None]:
    """Yield litellm's chunks, and with each whether the provider said that it had finished.

    Where a stream just ends, litellm makes up a finish reason of its own.
    """
    now_s = asyncio.get_running_loop().time
    first_s = limits.first_token_timeout_s
    late: ProviderError = FirstTokenTimeout("no first token in time")
    due_s = None if first_s is None else now_s() + first_s
    try:
        async with asyncio.timeout_at(due_s):
            answer = await _library().acompletion(**arguments)
    except TimeoutError as error:
        raise late from error
    async with aclosing(answer):
        while True:
            try:
                async with asyncio.timeout_at(due_s):
                    chunk = await anext(answer, None)
            except TimeoutError as error:
                raise late from error
            if chunk is None:
                return
            yield chunk, any(getattr(answer, name, "stop") for name in _FINISHED)
            due_s = now_s() + limits.idle_timeout_s
            late = IdleTimeout("silence in the middle of the answer")


def _encoded(said: Any) -> bytes:
    """Return an answer or a chunk as JSON, without what litellm thinks that it costs."""
    fields = said.model_dump(exclude_none=True, warnings=False)
    if isinstance(usage := fields.get("usage"), dict):
        usage.pop("cost", None)
    for choice in fields.get("choices", ()):  # what OpenAI's clients expect, if only as null
        choice.setdefault("finish_reason", None)
        if "message" in choice:
            choice["message"].setdefault("content", None)
    return json.encode(fields)


def _failure(error: Exception) -> ProviderError:
    """Name a failure by litellm's class where that tells more, else by its status and words.

    Source: https://docs.litellm.ai/docs/exception_mapping, 2026-11-20
    """
    litellm = _library()
    message = scrub(getattr(error, "message", None) or f"{type(error).__name__}: {error}")
    message = message.partition("\nTraceback")[0]
    if isinstance(error, litellm.Timeout):
        return AttemptTimeout(message)
    if isinstance(error, litellm.APIConnectionError):
        return ConnectionLost(message)
    if "LLM Provider NOT provided" in message:
        return UpstreamNotFound(
            "litellm knows no provider by that name; write the model as in "
            "litellm/replicate/meta/llama-4, with the prefix that litellm's documentation gives",
            sent=False,
        )
    status = getattr(error, "status_code", None)
    if not isinstance(status, int):
        return ProviderError(message)
    code = next((c for name, c in _CODES if isinstance(error, getattr(litellm, name))), None)
    body = json.encode({"error": {"message": message, "code": code}})
    headers = getattr(error, "litellm_response_headers", None)
    told = headers if isinstance(headers, Mapping) else {}
    lower = {str(name).lower(): str(value) for name, value in told.items()}
    return dialects.load("openai_chat").decode_error(status, lower, body)

"""Deviations from OpenAI's own API, as data: one name, what it changes, and where that is known.

A deployment's row lists names; `applying` says which of them hold for its model. A quirk edits only
top-level options, and old messages by the functions of `history`; everything else is relayed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Literal

from msgspec import Struct

from trunkline.dialects.openai_chat.history import (
    Messages,
    with_replies_to_tools,
    with_short_ids,
)
from trunkline.types import Deployment


class Quirk(Struct, frozen=True, kw_only=True):
    """One deviation. `source` is a URL and the day it was read."""

    why: str
    source: str
    drop: frozenset[str] = frozenset()
    """Options that are taken out, and named in `Outgoing.dropped`."""
    rename: Mapping[str, str] = {}
    models: tuple[str, ...] = ()
    """Prefixes of the model names it holds for; () = all of the deployment's."""
    not_models: tuple[str, ...] = ()
    unless: tuple[str, str] | None = None
    """(option, value): nothing is dropped from a request that says this."""
    goes_on: Mapping[Literal["message", "request"], Mapping[str, Any]] | None = None
    """What is said in an assistant's message that stands last, and beside the messages, so that the
    answer goes on from it; None = nothing would do."""
    below: str = ""
    """How the base URL must end for `goes_on` to hold."""
    no_reasoning_back: bool = False
    """Reasoning fields on old assistant messages are taken out."""
    history: tuple[Callable[[Messages], Messages], ...] = ()
    """What is done to a history with tools in it."""


_SAMPLING = frozenset(
    {
        "temperature",
        "top_p",
        "presence_penalty",
        "frequency_penalty",
        "logprobs",
        "top_logprobs",
        "logit_bias",
        "stop",
    }
)
_SWITCHES = frozenset(
    {
        # of local servers
        *("options", "keep_alive", "num_ctx", "num_predict", "grammar", "cache_prompt", "id_slot"),
        *("chat_template", "chat_template_kwargs", "structured_outputs", "guided_json"),
        *("guided_regex", "guided_choice", "guided_grammar", "add_generation_prompt"),
        # of Mistral, xAI and OpenRouter
        *("safe_prompt", "random_seed", "prompt_mode", "search_parameters"),
        *("provider", "models", "transforms", "plugins", "route", "extra_body", "input_type"),
    }
)
_FOREIGN = _SWITCHES | {
    # sampling of local servers
    *("top_k", "top_a", "min_p", "typical_p", "repetition_penalty", "repeat_penalty"),
    *("repeat_last_n", "mirostat", "mirostat_eta", "mirostat_tau", "tfs_z", "min_tokens"),
    *("ignore_eos", "stop_token_ids", "best_of", "length_penalty", "use_beam_search"),
    *("skip_special_tokens", "dynatemp_range", "dry_multiplier", "xtc_probability"),
    # reasoning of other clouds
    *("thinking", "reasoning", "include_reasoning", "reasoning_format", "enable_thinking"),
    "thinking_budget",
}

QUIRKS: dict[str, Quirk] = {
    "openai_strict": Quirk(
        why="400 'Unrecognized request argument' for options of other providers",
        source="https://platform.openai.com/docs/api-reference/chat/create 2026-11-20",
        drop=_FOREIGN,
        no_reasoning_back=True,
    ),
    "mistral_strict": Quirk(
        why="422 extra_forbidden for options that are not in Mistral's API",
        source="https://docs.mistral.ai/api/endpoint/chat 2026-11-20",
        drop=_FOREIGN
        - {"top_k", "min_tokens", "repetition_penalty", "safe_prompt", "random_seed", "prompt_mode"}
        | {
            *("logit_bias", "user", "store", "verbosity", "modalities", "audio"),
            *("web_search_options", "safety_identifier"),
        },
    ),
    "no_foreign_switches": Quirk(
        why="400 'Extra inputs are not permitted' or 'property is unsupported' for options of "
        "others",
        source="https://github.com/FlowiseAI/Flowise/issues/2866 2026-11-20",
        drop=_SWITCHES,
    ),
    "openai_reasoning_models": Quirk(
        why="400 unsupported_parameter: reasoning models take max_completion_tokens, and sampling "
        "only with reasoning_effort none",
        source="https://platform.openai.com/docs/guides/reasoning 2026-11-20",
        drop=_SAMPLING,
        rename={"max_tokens": "max_completion_tokens"},
        models=("o1", "o3", "o4", "gpt-5", "gpt-6"),
        not_models=("gpt-5-chat", "gpt-6-chat"),
        unless=("reasoning_effort", "none"),
    ),
    "no_sampling": Quirk(
        why="a reasoning model that refuses every sampling option",
        source="https://docs.x.ai/docs/guides/reasoning 2026-11-20",
        drop=_SAMPLING,
    ),
    "no_penalties": Quirk(
        why="grok reasoning models answer 400 to stop and to both penalties",
        source="https://docs.x.ai/docs/guides/reasoning 2026-11-20",
        drop=frozenset({"stop", "presence_penalty", "frequency_penalty"}),
    ),
    "kimi_sampling": Quirk(
        why="Kimi models answer 400 to sampling options that are not their fixed ones",
        source="https://platform.kimi.ai/docs/guide/migrating-from-openai-to-kimi 2026-11-20",
        drop=frozenset({"temperature", "top_p", "presence_penalty", "frequency_penalty"}),
        models=("kimi-k2.5", "kimi-k2.6", "kimi-k2.7", "kimi-k3"),
    ),
    "no_top_k": Quirk(
        why="the option is refused",
        source="https://platform.openai.com/docs/api-reference/chat/create 2026-11-20",
        drop=frozenset({"top_k"}),
    ),
    "no_logprobs": Quirk(
        why="Groq answers 400 to logprobs and logit_bias",
        source="https://console.groq.com/docs/openai 2026-11-20",
        drop=frozenset({"logprobs", "top_logprobs", "logit_bias"}),
    ),
    "no_stream_options": Quirk(
        why="not in the APIs of Mistral (422) and Databricks (400); usage comes without asking",
        source="https://docs.mistral.ai/api/#tag/chat 2026-11-20",
        drop=frozenset({"stream_options"}),
    ),
    "no_parallel_tool_calls": Quirk(
        why="Databricks answers 400 to the option",
        source="https://github.com/langchain-ai/deepagents/issues/2262 2026-11-20",
        drop=frozenset({"parallel_tool_calls"}),
    ),
    "max_completion_tokens": Quirk(
        why="max_tokens is deprecated in favour of max_completion_tokens",
        source="https://platform.openai.com/docs/api-reference/chat/create 2026-11-20",
        rename={"max_tokens": "max_completion_tokens"},
    ),
    "max_tokens": Quirk(
        why="only the old name is known: the new one is refused, or ignored and nothing is capped",
        source="https://api-docs.deepseek.com/api/create-chat-completion 2026-11-20",
        rename={"max_completion_tokens": "max_tokens"},
    ),
    "random_seed": Quirk(
        why="Mistral's name for seed",
        source="https://docs.mistral.ai/api/#tag/chat 2026-11-20",
        rename={"seed": "random_seed"},
    ),
    "output_dimension": Quirk(
        why="Mistral's name for the dimensions of embeddings, which come as numbers only",
        source="https://docs.mistral.ai/api/#tag/embeddings 2026-11-20",
        drop=frozenset({"encoding_format"}),
        rename={"dimensions": "output_dimension"},
    ),
    "packed_vectors": Quirk(
        why="embeddings are asked for as base64, half as large; callers get them as they asked",
        source="https://platform.openai.com/docs/api-reference/embeddings/create 2026-11-21",
    ),
    "minimal": Quirk(
        why="`transformers serve` answers 422 to every option it does not implement",
        source="https://huggingface.co/docs/transformers/serving 2026-11-20",
        drop=_FOREIGN
        | {
            *("tool_choice", "response_format", "stream_options", "n", "logprobs", "top_logprobs"),
            *("user", "reasoning_effort", "parallel_tool_calls", "logit_bias", "metadata", "store"),
            *("service_tier", "modalities", "audio", "prediction", "verbosity"),
        },
    ),
    "no_reasoning_back": Quirk(
        why="400 \"property 'reasoning_content' is unsupported\" for old assistant messages",
        source="https://github.com/tashfeenahmed/freellmapi/issues/1070 2026-11-20",
        no_reasoning_back=True,
    ),
    "short_tool_ids": Quirk(
        why="400 code 3280: ids of tool calls must be nine letters and digits",
        source="https://github.com/BerriAI/litellm/issues/6323 2026-11-20",
        history=(with_short_ids,),
    ),
    "replies_to_tools": Quirk(
        why="400 code 3230 \"Unexpected role 'user' after role 'tool'\" from some of its models",
        source="https://github.com/BerriAI/litellm/issues/17761 2026-11-20",
        history=(with_replies_to_tools,),
    ),
    "reasoning_content_back": Quirk(
        why="thinking models need their reasoning_content back on tool turns, else 400",
        source="https://api-docs.deepseek.com/guides/thinking_mode 2026-11-20",
    ),
    "prefix": Quirk(
        why="an assistant's message with prefix: true is the beginning of the answer",
        source="https://docs.mistral.ai/api/#tag/chat 2026-11-20",
        goes_on={"message": {"prefix": True}},
    ),
    "beta_prefix": Quirk(
        why="as `prefix`, but only below its beta URL",
        source="https://api-docs.deepseek.com/guides/chat_prefix_completion 2026-11-20",
        goes_on={"message": {"prefix": True}},
        below="/beta",
    ),
    "continue_final_message": Quirk(
        why="vLLM and llama.cpp leave the last message open when both options are given",
        source="https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html 2026-11-20",
        goes_on={"request": {"continue_final_message": True, "add_generation_prompt": False}},
    ),
    "last_message_open": Quirk(
        why="Ollama goes on with an assistant's message that stands last",
        source="https://github.com/ollama/ollama/issues/6778 2026-11-20",
        goes_on={},
    ),
    "api_key_header": Quirk(
        why="Azure takes the key in an api-key header",
        source="https://learn.microsoft.com/azure/ai-services/openai/reference 2026-11-20",
    ),
    "deployment_path": Quirk(
        why="Azure's dated API has the deployment's name in the path",
        source="https://learn.microsoft.com/azure/ai-services/openai/reference 2026-11-20",
    ),
    "hidden_thoughts": Quirk(
        why="Gemini's compatible endpoint counts thoughts in total_tokens only",
        source="https://ai.google.dev/gemini-api/docs/openai 2026-11-20",
    ),
}


def applying(deployment: Deployment) -> tuple[Quirk, ...]:
    """Return the quirks that hold for this deployment and its model."""
    return _applying(deployment.quirks, deployment.model)


@lru_cache(maxsize=1024)
def _applying(names: frozenset[str], model: str) -> tuple[Quirk, ...]:
    model = model.rpartition("/")[2]
    return tuple(
        quirk
        for name, quirk in QUIRKS.items()
        if name in names
        and (not quirk.models or model.startswith(quirk.models))
        and not model.startswith(quirk.not_models)
    )

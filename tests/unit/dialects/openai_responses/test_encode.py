"""The request for a provider: relayed byte by byte, or spelled anew."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from trunkline.dialects import load
from trunkline.types import (
    Chat,
    Deployment,
    Message,
    Outgoing,
    OutputFormat,
    Prompt,
    Reasoning,
    Secret,
    Thinking,
    Tool,
    Wire,
    say,
)

responses = load("openai_responses")
ROW = Deployment(
    provider="p",
    model="gpt-6",
    dialect="openai_responses",
    base_url="http://x.test/v1?api-version=1",
    api_key=Secret("sk-1"),
    quirks=frozenset({"openai_reasoning_models"}),
)
HELLO = (say("user", "Hi"),)


def encoded(dialect: str, body: dict[str, Any], row: Deployment = ROW) -> Outgoing:
    """Encode what a caller of `dialect` asks."""
    return responses.encode(load(dialect).read(json.dumps(body).encode()), row)


def test_the_address_and_the_key() -> None:
    """The query of a base URL is kept, as Azure wants it; its key goes into its own header."""
    sent = encoded("openai_responses", {"model": "m", "input": "Hi", "stream": True})
    assert sent.url == "http://x.test/v1/responses?api-version=1"
    assert sent.headers["authorization"] == "Bearer sk-1"
    assert json.loads(sent.body) == {"model": "gpt-6", "input": "Hi", "stream": True}
    azure = replace(ROW, quirks=frozenset({"api_key_header"}))
    headers = encoded("openai_responses", {"input": "Hi"}, azure).headers
    assert headers["api-key"] == "sk-1"


def test_a_cap_that_a_layer_set_goes_up() -> None:
    """Everything else is relayed as it came."""
    chat = responses.read(b'{"input": "Hi", "max_output_tokens": 99, "x": [1,  2]}')
    assert isinstance(chat.body, Wire)
    capped = replace(chat, body=replace(chat.body, max_output_tokens=7))
    sent = responses.encode(capped, ROW).body
    assert json.loads(sent)["max_output_tokens"] == 7
    assert b"[1,  2]" in sent


def test_nothing_is_stored_unless_the_caller_says_so() -> None:
    """Then thoughts come back with the next request, so their encrypted form is asked for."""
    sent = [
        json.loads(
            responses.encode(Chat(model="m", body=Prompt(messages=HELLO, extra=extra)), ROW).body
        )
        for extra in ({}, {"include": ["message.output_text.logprobs"]}, {"store": True})
    ]
    thoughts = "reasoning.encrypted_content"
    assert [(each["store"], each.get("include")) for each in sent] == [
        (False, [thoughts]),
        (False, ["message.output_text.logprobs", thoughts]),
        (True, None),
    ]


def test_sampling_goes_only_where_it_is_taken() -> None:
    """A model that thinks takes none, unless it is told not to think."""
    asked = {"input": "Hi", "temperature": 0.5, "top_p": 0.5}
    sent = encoded("openai_responses", asked)
    assert sent.dropped == ("temperature", "top_p")
    assert json.loads(sent.body).keys() == {"input", "model"}
    kept = encoded("openai_responses", asked | {"reasoning": {"effort": "none"}})
    assert kept.dropped == ()
    assert json.loads(kept.body)["temperature"] == 0.5


def test_options_of_a_chat() -> None:
    """What has another name gets it; what has no place is dropped by name."""
    body = {
        "messages": [{"role": "user", "content": "Hi"}],
        "max_completion_tokens": 50,
        "reasoning_effort": "high",
        "verbosity": "low",
        "service_tier": "flex",
        "prompt_cache_key": "k",
        "metadata": {"a": "b"},
        "n": 2,
        "logprobs": True,
        "stop": ["x"],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "a", "schema": {"type": "object"}, "strict": True},
        },
        "tools": [
            {"type": "function", "function": {"name": "f", "strict": True}},
            {"type": "custom", "custom": {"name": "g", "format": {"type": "text"}}},
            {"type": "web_search"},
        ],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
    }
    sent = encoded("openai_chat", body)
    assert sent.dropped == ("logprobs", "n", "stop")
    assert json.loads(sent.body) == {
        "model": "gpt-6",
        "input": [{"role": "user", "content": "Hi"}],
        "max_output_tokens": 50,
        "reasoning": {"effort": "high"},
        "text": {
            "verbosity": "low",
            "format": {
                "type": "json_schema",
                "name": "a",
                "schema": {"type": "object"},
                "strict": True,
            },
        },
        "service_tier": "flex",
        "prompt_cache_key": "k",
        "metadata": {"a": "b"},
        "tools": [
            {
                "type": "function",
                "name": "f",
                "parameters": {"type": "object", "properties": {}},
                "strict": True,
            },
            {"type": "custom", "name": "g", "format": {"type": "text"}},
            {"type": "web_search"},
        ],
        "tool_choice": {"type": "function", "name": "f"},
        "store": False,
        "include": ["reasoning.encrypted_content"],
    }


def test_a_typed_prompt_is_the_callers_own() -> None:
    """Nothing is added to a prompt that was written for this API."""
    prompt = Prompt(
        messages=HELLO,
        tools=(Tool(name="f"),),
        output_format=OutputFormat(),
        reasoning=Reasoning(budget_tokens=9000),
        extra={"store": True},
    )
    sent = json.loads(responses.encode(Chat(model="m", body=prompt), ROW).body)
    assert sent == {
        "model": "gpt-6",
        "store": True,
        "input": [{"role": "user", "content": "Hi"}],
        "tools": [{"type": "function", "name": "f"}],
        "text": {"format": {"type": "json_object"}},
        "reasoning": {"effort": "high"},
    }


def test_nothing_asks_for_more_than_money_was_held_for() -> None:
    """A job in the background would be charged unseen; proxies merge `extra_body` over the rest."""
    typed = Prompt(messages=HELLO, extra={"background": True, "truncation": "auto"})
    sent = responses.encode(Chat(model="m", body=typed), ROW)
    body = json.loads(sent.body)
    assert (body["truncation"], "background" in body, sent.dropped) == (
        "auto",
        False,
        ("background",),
    )
    inner = {"max_output_tokens": 9000, "a": 1}
    sent = encoded("openai_responses", {"input": "Hi", "extra_body": inner})
    assert json.loads(sent.body)["extra_body"] == {"a": 1}
    assert sent.dropped == ("extra_body.max_output_tokens",)


def test_thoughts_go_back_to_whom_they_belong() -> None:
    """A proof of OpenAI's survives a chat and Anthropic's dialect; any other thought stays here."""
    parts = [
        Thinking(text="a", signature="gAAAAA1", spelling="anthropic"),
        Thinking(text="b", signature="ErUB", spelling="anthropic"),
        Thinking(text="c", spelling="reasoning_content"),
        Thinking(
            redacted="xyz",
            spelling="reasoning_details",
            extra={"reasoning_details": {"format": "openai-responses-v1"}},
        ),
    ]
    prompt = Prompt(messages=(*HELLO, Message(role="assistant", parts=tuple(parts)), *HELLO))
    sent = json.loads(responses.encode(Chat(model="m", body=prompt), ROW).body)
    assert sent["input"][1:-1] == [
        {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "a"}],
            "encrypted_content": "gAAAAA1",
        },
        {"type": "reasoning", "summary": [], "encrypted_content": "xyz"},
    ]


def test_thoughts_we_spelled_for_others_are_taken_out() -> None:
    """OpenAI would refuse a proof that is not its own; what only looks like one stays."""
    own = {"type": "reasoning", "id": "rs_0", "summary": [], "encrypted_content": "gAAAA"}
    words = {"role": "user", "content": "trunkline: rs_tl_1"}
    quoted = {"role": "user", "content": '"trunkline:'}
    items = [
        own,
        own | {"id": "rs_tl_1_0"},
        own | {"id": "x", "encrypted_content": 'trunkline:{"signature":"s"}'},
        words,
        quoted,
    ]
    sent = encoded("openai_responses", {"input": items})
    assert json.loads(sent.body)["input"] == [own, words, quoted]


@pytest.mark.parametrize("words", ["trunkline: hello", "rs_tl_abc", "extra_content"])
def test_words_are_relayed_whatever_they_are(words: str) -> None:
    """Only items can be thoughts that we spelled for another provider."""
    sent = encoded("openai_responses", {"model": "m", "input": words})
    assert json.loads(sent.body)["input"] == words

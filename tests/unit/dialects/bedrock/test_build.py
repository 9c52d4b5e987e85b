"""Requests fitted to a model: options, tools, thinking, cache marks, and what is dropped."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from tests.unit.dialects.bedrock.wire import CLAUDE, HI, LLAMA, NOVA, made, row, sent
from trunkline.dialects import load
from trunkline.dialects.bedrock import encode
from trunkline.dialects.bedrock.models import traits_of
from trunkline.errors import CapabilityMissing, InputError
from trunkline.types import (
    Chat,
    Message,
    OutputFormat,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    say,
)

SONNET_46 = "us.anthropic.claude-sonnet-4-6"
SONNET_5 = "us.anthropic.claude-sonnet-5"
OPUS_55 = "global.anthropic.claude-opus-5-5"
OSS = "openai.gpt-oss-120b-1:0"
NAMELESS = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"
TOOL = Tool(name="f", description="d", parameters={"type": "object"})
SCHEMA = OutputFormat(name="city", schema={"type": "object"})
CALLED = (
    HI,
    Message(role="assistant", parts=(ToolCall(id="a", name="f"),)),
    Message(role="tool", parts=(ToolResult(id="a", parts=(Text(text="x"),)),)),
)
ADAPTIVE = {"type": "adaptive"}
HARDEST = {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}}
CACHED: dict[str, Any] = {"cache_control": {"type": "ephemeral"}}


def budget(tokens: int) -> dict[str, Any]:
    """Return how Claude is told how many tokens to think."""
    return {"thinking": {"type": "enabled", "budget_tokens": tokens}}


def dropped(model: str = CLAUDE, **options: Any) -> tuple[str, ...]:
    """Return what a model does not take."""
    return made(model=model, **options).dropped


def test_a_plain_request_is_plain() -> None:
    """Words, a cap and sampling; nothing that was not asked for."""
    body = sent(
        say("system", "Be brief."), HI, max_output_tokens=9, temperature=0.5, stop=("x", " ")
    )
    assert body == {
        "system": [{"text": "Be brief."}],
        "messages": [{"role": "user", "content": [{"text": "Hi"}]}],
        "inferenceConfig": {"maxTokens": 9, "temperature": 0.5, "stopSequences": ["x"]},
    }


def test_nothing_said_is_refused() -> None:
    """Blanks say nothing; a system's words alone are the user's."""
    with pytest.raises(InputError, match="say nothing"):
        sent(say("user", " "))
    assert sent(say("system", "Hi"))["messages"] == sent(HI)["messages"]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"seed": 1, "choices": 2}, ("n", "seed")),
        (
            {"presence_penalty": 1.0, "frequency_penalty": 1.0},
            ("frequency_penalty", "presence_penalty"),
        ),
        ({"end_user": "u", "parallel_tool_calls": False}, ("parallel_tool_calls", "user")),
        ({"temperature": 1.5}, ("temperature",)),
        ({"output_format": OutputFormat()}, ("response_format",)),
    ],
)
def test_what_has_no_place_is_dropped_and_named(
    options: dict[str, Any], names: tuple[str, ...]
) -> None:
    """Never clamped, and never sent under another name."""
    assert dropped(**options) == names


def test_sampling_is_left_alone_where_it_must_be() -> None:
    """Beside thinking, and by models that take none."""
    options: dict[str, Any] = {"temperature": 0.5, "top_p": 0.9, "top_k": 5}
    assert dropped(reasoning=Reasoning(effort="low"), **options) == tuple(sorted(options))
    assert dropped(OPUS_55, **options) == tuple(sorted(options))
    assert sent(**options)["additionalModelRequestFields"] == {"top_k": 5}
    assert sent(model=NOVA, top_k=5)["additionalModelRequestFields"] == {
        "inferenceConfig": {"topK": 5}
    }
    assert dropped(LLAMA, top_k=5) == ("top_k",)


@pytest.mark.parametrize(
    ("choice", "wire"),
    [
        (None, None),
        ("auto", {"auto": {}}),
        ("required", {"any": {}}),
        ("tool:f", {"tool": {"name": "f"}}),
    ],
)
def test_tools_and_the_choice_among_them(choice: str | None, wire: Any) -> None:
    """A schema always has a type; who cannot be forced is not, and that is said."""
    config = sent(tools=(TOOL,), tool_choice=choice)["toolConfig"]
    schema = {"json": {"type": "object", "properties": {}}}
    spec = {"name": "f", "description": "d", "inputSchema": schema}
    assert config == {"tools": [{"toolSpec": spec}]} | ({"toolChoice": wire} if wire else {})
    forced = choice not in {None, "auto"}
    assert ("tool_choice" in dropped(LLAMA, tools=(TOOL,), tool_choice=choice)) == forced


def test_where_tools_were_called_some_are_named() -> None:
    """Bedrock refuses calls and results without; there is no word for none."""
    [spec] = sent(*CALLED)["toolConfig"]["tools"]
    assert spec["toolSpec"]["name"] == "f"
    [spec] = sent(*CALLED, tools=(TOOL,), tool_choice="none")["toolConfig"]["tools"]
    assert "cannot be called now" in spec["toolSpec"]["description"]
    [spec] = sent(HI, CALLED[2])["toolConfig"]["tools"]
    assert spec["toolSpec"]["name"] == "unknown"
    assert "toolConfig" not in sent(tools=(TOOL,), tool_choice="none")


def test_tools_of_others_stay_out() -> None:
    """Those that this provider runs have a block of their own."""
    tools = (Tool(name="nova_grounding", kind="systemTool"), Tool(name="w", kind="web_search"))
    outgoing = made(tools=tools)
    assert json.loads(outgoing.body)["toolConfig"]["tools"] == [
        {"systemTool": {"name": "nova_grounding"}}
    ]
    assert outgoing.dropped == ("tools.w",)


@pytest.mark.parametrize(
    ("model", "wanted", "fields", "effort"),
    [
        (CLAUDE, Reasoning(effort="low"), budget(2048), None),
        (CLAUDE, Reasoning(enabled=False), None, None),
        (SONNET_46, Reasoning(effort="high"), {"thinking": ADAPTIVE}, "high"),
        (SONNET_46, Reasoning(budget_tokens=1500), budget(1500), None),
        (
            OPUS_55,
            Reasoning(effort="max"),
            {"thinking": ADAPTIVE | {"display": "summarized"}},
            "max",
        ),
        (OPUS_55, Reasoning(enabled=False), None, "low"),
        (SONNET_5, Reasoning(enabled=False), {"thinking": {"type": "disabled"}}, None),
        (NOVA, Reasoning(effort="high"), HARDEST, None),
        (NOVA, Reasoning(enabled=False), {"reasoningConfig": {"type": "disabled"}}, None),
        (OSS, Reasoning(effort="minimal"), {"reasoning_effort": "low"}, None),
    ],
)
def test_how_hard_to_think(
    model: str, wanted: Reasoning, fields: dict[str, Any] | None, effort: str | None
) -> None:
    """Each family has its own words."""
    body = sent(model=model, reasoning=wanted)
    assert body.get("additionalModelRequestFields") == fields
    assert body.get("outputConfig", {}).get("effort") == effort


@pytest.mark.parametrize(
    "model", [LLAMA, "amazon.nova-lite-v1:0", "anthropic.claude-3-haiku-20240307-v1:0"]
)
def test_who_cannot_think_is_not_asked_to(model: str) -> None:
    """And that is said; to ask for none of it is no demand."""
    assert dropped(model, reasoning=Reasoning(effort="high")) == ("reasoning_effort",)


def test_a_thought_has_to_fit() -> None:
    """Not where a tool is forced, below the cap, nor in a loop that began without."""
    wanted = Reasoning(effort="low")
    options: dict[str, Any] = {"reasoning": wanted, "tools": (TOOL,)}
    assert dropped(tool_choice="required", **options) == ("reasoning_effort",)
    assert dropped(max_output_tokens=500, reasoning=wanted) == ("reasoning_effort",)
    assert made(*CALLED, reasoning=wanted).dropped == ("reasoning_effort",)
    fields = sent(model=NOVA, reasoning=Reasoning(effort="high"), max_output_tokens=9)
    config = fields["additionalModelRequestFields"]["reasoningConfig"]
    assert config["maxReasoningEffort"] == "medium"  # the hardest takes no cap


def test_a_schema_is_a_text_within() -> None:
    """Where the model takes one."""
    wire = sent(output_format=SCHEMA)["outputConfig"]["textFormat"]
    assert wire["structure"] == {"jsonSchema": {"schema": '{"type":"object"}', "name": "city"}}


@pytest.mark.parametrize("model", [LLAMA, NOVA, "anthropic.claude-3-5-sonnet-20241022-v2:0"])
def test_a_schema_is_never_left_out(model: str) -> None:
    """Prose in its place would be no answer: another deployment is asked, or it is refused."""
    with pytest.raises(CapabilityMissing, match="JSON schema") as caught:
        made(model=model, output_format=SCHEMA)
    assert caught.value.param == "response_format"


@pytest.mark.parametrize("model", ["qwen.qwen3-32b-v1:0", NAMELESS])
def test_where_nobody_knows_a_schema_is_sent(model: str) -> None:
    """Bedrock itself refuses it where it does not fit."""
    assert "textFormat" in sent(model=model, output_format=SCHEMA)["outputConfig"]


def test_marks_for_the_cache_stand_behind_what_they_mean() -> None:
    """Of words, messages, results and tools; where the model has no cache they are dropped."""
    long = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    messages = (
        Message(role="system", parts=(Text(text="s", extra=long),)),
        Message(role="user", parts=(Text(text="Hi"), Text(text="Ho", extra=CACHED))),
        CALLED[1],
        Message(role="user", parts=(Text(text="and"),)),
        Message(role="tool", parts=(ToolResult(id="a", extra=CACHED),)),
    )
    tools = (Tool(name="f", extra=CACHED),)
    body = sent(*messages, tools=tools)
    mark = {"cachePoint": {"type": "default"}}
    assert body["system"] == [{"text": "s"}, {"cachePoint": {"type": "default", "ttl": "1h"}}]
    assert body["messages"][0]["content"] == [{"text": "Hi"}, {"text": "Ho"}, mark]
    assert body["messages"][2]["content"][1:] == [mark, {"text": "and"}]
    assert body["toolConfig"]["tools"][1] == mark
    assert made(*messages, model=NOVA, tools=tools).dropped == ("cache_control",)
    assert b"cachePoint" not in made(*messages, model=LLAMA, tools=tools).body


def test_options_only_bedrock_has_pass_through() -> None:
    """Any other of a typed prompt is the model's own; another dialect's stay out."""
    own = {"guardrailConfig": {"guardrailIdentifier": "g"}, "requestMetadata": {"a": "b"}}
    body = sent(extra={**own, "stream_options": {}, "k": 4, "inferenceConfig": {"topP": 0.5}})
    assert body["additionalModelRequestFields"] == {"k": 4}
    assert body["inferenceConfig"] == {"topP": 0.5}
    assert body["guardrailConfig"] == own["guardrailConfig"]
    request = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "store": True, **own}
    wire = load("openai_chat").read(json.dumps(request).encode()).body
    outgoing = encode(Chat(model="m", body=wire), row())
    assert json.loads(outgoing.body) == sent() | own
    assert outgoing.dropped == ("store",)


def test_only_one_of_two_samplers_goes_to_claude_for_others() -> None:
    """Its newer models refuse both together; OpenAI's clients often send both."""
    request = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    request |= {"temperature": 0.5, "top_p": 0.9}  # type: ignore[dict-item]
    wire = load("openai_chat").read(json.dumps(request).encode()).body
    outgoing = encode(Chat(model="m", body=wire), row())
    assert json.loads(outgoing.body)["inferenceConfig"] == {"temperature": 0.5}
    assert outgoing.dropped == ("top_p",)


def test_of_a_nameless_profile_nothing_is_assumed() -> None:
    """An ARN of an application's own profile does not say whose model it is."""
    assert traits_of(NAMELESS) == replace(traits_of(LLAMA), may_be_structured=True)
    assert traits_of(f"arn:aws:bedrock:us-east-1:1:inference-profile/{CLAUDE}").budgets


def test_no_option_asks_for_more_than_money_was_held_for() -> None:
    """Neither Bedrock's cap nor the model's own; the caller's counts where it is smaller."""
    said = {"max_tokens": 20, "messages": [{"role": "user", "content": "Hi"}]}
    of_model = {"max_tokens": 9, "n": 4, "top_k": 5, "textConfig": {"maxTokenCount": 9, "a": 1}}
    for asked, cap in ((60_000, 20), (7, 7), ("60000", 20)):
        own = {"inferenceConfig": {"maxTokens": asked}, "additionalModelRequestFields": of_model}
        for dialect in ("openai_chat", "anthropic"):
            chat = load(dialect).read(json.dumps(said | own).encode())
            assert chat.body.max_output_tokens == cap
            outgoing = encode(chat, row())
            body = json.loads(outgoing.body)
            assert body["inferenceConfig"] == {"maxTokens": cap}
            assert body["additionalModelRequestFields"] == {"top_k": 5, "textConfig": {"a": 1}}
            assert outgoing.dropped == (
                "additionalModelRequestFields.max_tokens",
                "additionalModelRequestFields.n",
                "additionalModelRequestFields.textConfig.maxTokenCount",
            )
        assert sent(max_output_tokens=20, extra=own)["inferenceConfig"] == {"maxTokens": cap}
    assert of_model["n"] == 4

"""A prompt of another dialect, or made of types, in Anthropic's words and fitted to a model."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from tests.unit.dialects.anthropic.wire import ROW
from trunkline.dialects import openai_chat
from trunkline.dialects.anthropic import encode
from trunkline.errors import CapabilityMissing, InputError
from trunkline.types import (
    Audio,
    Chat,
    File,
    Image,
    Message,
    Outgoing,
    OutputFormat,
    Prompt,
    Reasoning,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    say,
)

USER = say("user", "Hi")
TOOL = Tool(name="f", parameters={"type": "object"})
CACHED: dict[str, Any] = {"cache_control": {"type": "ephemeral"}}


def told(*messages: Message, model: str = "claude-sonnet-4-5", **options: Any) -> dict[str, Any]:
    """Spell a typed prompt and return the request."""
    prompt = Prompt(messages=messages or (USER,), **options)
    fields: dict[str, Any] = json.loads(send(prompt, model).body)
    return fields


def send(prompt: Prompt, model: str = "claude-sonnet-4-5") -> Outgoing:
    """Spell a typed prompt."""
    return encode(Chat(model="m", body=prompt), replace(ROW, model=model))


def from_openai(model: str = "claude-sonnet-4-5", **fields: Any) -> Outgoing:
    """Spell what a caller of OpenAI's dialect said."""
    given = {"messages": [{"role": "user", "content": "Hi"}]} | fields
    return encode(openai_chat.read(json.dumps(given).encode()), replace(ROW, model=model))


def test_the_least_prompt() -> None:
    """A string where a string will do, and the cap the API needs."""
    assert told() == {
        "model": "claude-sonnet-4-5",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": "Hi"}],
    }


def test_system_and_developer_go_to_the_top_in_their_order() -> None:
    """Wherever they stood."""
    got = told(say("system", "A"), USER, say("developer", "B"), say("assistant", "Yes?"), USER)
    assert got["system"] == [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]
    assert [m["role"] for m in got["messages"]] == ["user", "assistant", "user"]
    assert told(say("system", "A"), USER)["system"] == "A"


def test_words_of_a_system_alone_are_the_users() -> None:
    """The API wants one message."""
    got = told(say("system", "Write a poem."))
    assert got["messages"] == [{"role": "user", "content": "Write a poem."}]
    assert "system" not in got


def test_turns_of_one_side_are_merged_and_results_stand_first() -> None:
    """One result for each call, in the turn right behind the calls, before other words."""
    calls = tuple(ToolCall(id=i, name="f") for i in "ab")
    results = [Message(role="tool", parts=(ToolResult(id=i, parts=(Text(text=i),)),)) for i in "ab"]
    got = told(
        USER,
        say("user", "there"),
        Message(role="assistant", parts=(Text(text="Hm."), *calls)),
        results[0],
        say("user", "Also this."),
        results[1],
        say("assistant", "Done."),
        say("assistant", "Really. "),
    )
    block = {"type": "tool_use", "name": "f", "input": {}}
    assert got["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": t} for t in ("Hi", "there")]},
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "Hm."}, block | {"id": "a"}, block | {"id": "b"}],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": "a"},
                {"type": "tool_result", "tool_use_id": "b", "content": "b"},
                {"type": "text", "text": "Also this."},
            ],
        },
        {
            "role": "assistant",
            "content": [{"type": "text", "text": t} for t in ("Done.", "Really.")],
        },
    ]


def test_blanks_are_left_out() -> None:
    """The API refuses them."""
    got = told(USER, say("assistant", " \n"), say("user", ""), say("user", "there"))
    assert got["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": t} for t in ("Hi", "there")]}
    ]
    with pytest.raises(InputError, match="say nothing"):
        told(say("user", " "))


def test_arguments_are_sent_byte_for_byte() -> None:
    """What is an object stays as written; anything else becomes one field of an object."""
    for arguments, sent in [
        ('{"b": 1.10, "a":1e2}', '{"b": 1.10, "a":1e2}'),
        ("{broken", '{"input":"{broken"}'),
        ("[1]", '{"input":"[1]"}'),
        ("null", '{"input":"null"}'),
    ]:
        call = ToolCall(id="t", name="f", arguments=arguments)
        body = send(Prompt(messages=(USER, Message(role="assistant", parts=(call,))))).body
        assert b'"input":%b}' % sent.encode() in body


def test_ids_are_written_in_letters_the_api_takes() -> None:
    """A call and its result keep the same id."""
    got = told(
        USER,
        Message(role="assistant", parts=(ToolCall(id="functions.f:0", name="f"),)),
        Message(role="tool", parts=(ToolResult(id="functions.f:0"),)),
    )
    assert got["messages"][1]["content"][0]["id"] == "functions_f_0"
    assert got["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "functions_f_0"}
    ]


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (
            Thinking(text="Hm", signature="s"),
            {"type": "thinking", "thinking": "Hm", "signature": "s"},
        ),
        (Thinking(signature="s"), {"type": "thinking", "thinking": "", "signature": "s"}),
        (Thinking(redacted="d"), {"type": "redacted_thinking", "data": "d"}),
        (Thinking(text="Hm"), None),
        (Thinking(text="Hm", signature="s", spelling="gemini"), None),
        (
            Thinking(
                signature="s",
                spelling="reasoning_details",
                extra={"reasoning_details": {"format": "anthropic-claude-v1"}},
            ),
            {"type": "thinking", "thinking": "", "signature": "s"},
        ),
        (
            Thinking(
                redacted="d",
                spelling="reasoning_details",
                extra={"reasoning_details": {"format": "openai-responses-v1"}},
            ),
            None,
        ),
        (Refusal(text="No."), {"type": "text", "text": "No."}),
        (Audio(id="a", transcript="Hello"), {"type": "text", "text": "Hello"}),
        (Audio(id="a"), None),
        (Text(text="", extra={"anthropic": {"type": "x", "y": None}}), {"type": "x", "y": None}),
        (Text(text="A", extra={"anthropic": "nonsense"}), {"type": "text", "text": "A"}),
        (
            Text(text="A", extra=CACHED | {"citations": [1], "foreign": 2}),
            {"type": "text", "text": "A", "citations": [1]} | CACHED,
        ),
    ],
)
def test_what_a_model_said_before(part: Any, block: dict[str, Any] | None) -> None:
    """Thoughts go back only with Anthropic's own proof; fields the API refuses stay out."""
    got = told(USER, Message(role="assistant", parts=(part, Text(text="."))))
    content = got["messages"][1]["content"]
    assert content == ("." if block is None else [block, {"type": "text", "text": "."}])


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (
            Image(url="https://x.test/a", detail="low"),
            {"type": "image", "source": {"type": "url", "url": "https://x.test/a"}},
        ),
        (
            Image(data="/9j/4AAQ"),
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/jpeg", "data": "/9j/4AAQ"},
            },
        ),
        (
            File(data="JV", name="a.pdf", extra=CACHED),
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JV"},
                "title": "a.pdf",
            }
            | CACHED,
        ),
        (
            File(data="w6k=", media_type="text/markdown"),
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "é"},
            },
        ),
        (File(id="f"), {"type": "document", "source": {"type": "file", "file_id": "f"}}),
        (
            File(url="https://x.test/a.pdf"),
            {"type": "document", "source": {"type": "url", "url": "https://x.test/a.pdf"}},
        ),
        (
            File(data="iVBO", media_type="image/png"),
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"},
            },
        ),
    ],
)
def test_pictures_and_files(part: Any, block: dict[str, Any]) -> None:
    """Each in the source Anthropic has for it; bare base64 tells its own kind."""
    got = told(Message(role="user", parts=(part,)))
    assert got["messages"][0]["content"] == [block]


def test_sound_is_refused() -> None:
    """Anthropic has no place for it."""
    with pytest.raises(CapabilityMissing, match="no sound"):
        told(Message(role="user", parts=(Audio(data="UklG", format="wav"),)))


def test_marks_for_the_cache_survive_openais_dialect() -> None:
    """Callers put them on parts, messages, tools and the request itself."""
    parts = [{"type": "text", "text": "A", **CACHED}]
    got = json.loads(
        from_openai(
            messages=[
                {"role": "system", "content": "S", **CACHED},
                {"role": "user", "content": parts},
            ],
            tools=[{"type": "function", "function": {"name": "f"}, **CACHED}],
            **CACHED,
        ).body
    )
    block = {"type": "text", "text": "A"} | CACHED
    assert got["system"] == [block | {"text": "S"}]
    assert got["messages"][0]["content"] == [block]
    assert got["tools"] == [{"name": "f", "input_schema": {"type": "object"}} | CACHED]
    assert got["cache_control"] == CACHED["cache_control"]


def test_tools() -> None:
    """Schemas are objects; tools of Anthropic's own pass, those of others are told as dropped."""
    got = send(
        Prompt(
            messages=(USER,),
            tools=(
                Tool(name="f", description="d", parameters={"properties": {}}, strict=True),
                Tool(name="web_search", kind="web_search_20250305", extra={"max_uses": 1}),
                Tool(name="mcp_toolset", kind="mcp_toolset", extra={"mcp_server_name": "s"}),
                Tool(name="grep", kind="custom"),
                Tool(name="web_search_preview", kind="web_search_preview"),
            ),
        )
    )
    assert json.loads(got.body)["tools"] == [
        {
            "name": "f",
            "description": "d",
            "input_schema": {"type": "object", "properties": {}},
            "strict": True,
        },
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 1},
        {"type": "mcp_toolset", "mcp_server_name": "s"},
    ]
    assert got.dropped == ("tools.grep", "tools.web_search_preview")
    old = told(model="claude-3-5-haiku-latest", tools=(replace(TOOL, strict=True),))
    assert "strict" not in old["tools"][0]


@pytest.mark.parametrize(
    ("choice", "parallel", "wire"),
    [
        (None, None, None),
        ("auto", None, {"type": "auto"}),
        ("required", None, {"type": "any"}),
        ("none", False, {"type": "none"}),
        ("tool:f", True, {"type": "tool", "name": "f"}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
    ],
)
def test_choice_of_tool(choice: str | None, parallel: bool | None, wire: Any) -> None:
    """In Anthropic's words; without tools there is nothing to choose."""
    options: dict[str, Any] = {"tool_choice": choice, "parallel_tool_calls": parallel}
    assert told(tools=(TOOL,), **options).get("tool_choice") == wire
    assert "tool_choice" not in told(**options)


def test_models_that_cannot_be_forced_choose_themselves() -> None:
    """It is said that the choice was dropped."""
    prompt = Prompt(messages=(USER,), tools=(TOOL,), tool_choice="required")
    got = send(prompt, "claude-opus-5-5")
    assert json.loads(got.body)["tool_choice"] == {"type": "auto"}
    assert got.dropped == ("tool_choice",)


ADAPTIVE = {"type": "adaptive"}


@pytest.mark.parametrize(
    ("model", "asked", "thinking", "effort"),
    [
        ("claude-3-5-sonnet-20241022", Reasoning(effort="high"), None, None),
        ("some-other-model", Reasoning(effort="high"), None, None),
        ("claude-3-7-sonnet-latest", Reasoning(effort="low"), 2048, None),
        ("claude-sonnet-4-20250514", Reasoning(effort="medium"), 8192, None),
        ("claude-4-opus-20250514", Reasoning(effort="minimal"), 1024, None),
        ("claude-haiku-4-5-20251001", Reasoning(effort="max"), 32768, None),
        ("anthropic/claude-opus-4.5", Reasoning(budget_tokens=3000), 3000, None),
        ("claude-opus-4-1", Reasoning(budget_tokens=10), 1024, None),
        ("claude-opus-4-5", Reasoning(enabled=True), 8192, None),
        ("claude-sonnet-4-5", Reasoning(effort="none"), None, None),
        ("claude-sonnet-4-6", Reasoning(effort="xhigh"), ADAPTIVE, "high"),
        ("claude-opus-4-6", Reasoning(effort="max"), ADAPTIVE, "max"),
        ("claude-sonnet-4-6", Reasoning(budget_tokens=3000), 3000, None),
        ("claude-opus-4-7", Reasoning(effort="xhigh"), ADAPTIVE, "xhigh"),
        ("claude-opus-4-7", Reasoning(budget_tokens=3000, enabled=True), ADAPTIVE, "medium"),
        ("claude-opus-4-8", Reasoning(effort="none"), None, None),
        ("claude-sonnet-5", Reasoning(effort="minimal"), ADAPTIVE, "low"),
        ("claude-opus-5", Reasoning(effort="none"), {"type": "disabled"}, None),
        ("claude-haiku-5-5", Reasoning(enabled=False), {"type": "disabled"}, None),
        ("claude-opus-5", Reasoning(enabled=False, effort="low"), {"type": "disabled"}, "low"),
        ("claude-opus-5", Reasoning(enabled=False, effort="max"), {"type": "disabled"}, None),
        ("claude-opus-5-5", Reasoning(effort="none"), None, "low"),
        ("us.anthropic.claude-fable-5-1-v1:0", Reasoning(enabled=False), None, "low"),
        ("claude-sonnet-5-5", Reasoning(enabled=True), ADAPTIVE, None),
        ("claude-opus-4-7", Reasoning(effort="novel"), ADAPTIVE, None),
    ],
)
def test_how_hard_to_think_is_said_in_the_words_of_the_model(
    model: str, asked: Reasoning, thinking: Any, effort: str | None
) -> None:
    """A budget, or adaptive with an effort; what a model cannot do is not asked of it."""
    got = told(model=model, reasoning=asked)
    expected = (
        {"type": "enabled", "budget_tokens": thinking} if isinstance(thinking, int) else thinking
    )
    assert got.get("thinking") == expected
    assert got.get("output_config", {}).get("effort") == effort
    assert got["max_tokens"] == (4096 + thinking if isinstance(thinking, int) else 4096)


def test_a_budget_stays_below_the_cap() -> None:
    """Thinking is a part of the output; without room for it there is none, and that is said."""
    tight = Prompt(messages=(USER,), reasoning=Reasoning(effort="high"), max_output_tokens=3000)
    got = json.loads(send(tight).body)
    assert (got["thinking"]["budget_tokens"], got["max_tokens"]) == (2999, 3000)
    none = send(replace(tight, max_output_tokens=1024))
    assert "thinking" not in json.loads(none.body)
    assert none.dropped == ("reasoning_effort",)


def test_a_loop_of_tools_goes_on_without_a_thought_it_did_not_begin_with() -> None:
    """The API refuses thinking where the turn of the calls has no thought; a signed one is one."""
    call = ToolCall(id="t", name="f")
    result = Message(role="tool", parts=(ToolResult(id="t"),))
    for thoughts, thinks in (((), False), ((Thinking(signature="s"),), True)):
        messages = (USER, Message(role="assistant", parts=(*thoughts, call)), result)
        got = told(*messages, reasoning=Reasoning(effort="low"), tools=(TOOL,))
        assert ("thinking" in got) is thinks
    assert "thinking" in told(*messages, model="claude-opus-4-8", reasoning=Reasoning(effort="low"))


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "claude-opus-4-7"])
def test_thinking_and_a_forced_tool_exclude_each_other(model: str) -> None:
    """The tool is the clearer wish."""
    options: dict[str, Any] = {"tools": (TOOL,), "tool_choice": "required"}
    got = told(model=model, reasoning=Reasoning(effort="high"), **options)
    assert "thinking" not in got
    assert got["tool_choice"] == {"type": "any"}


def test_callers_of_other_dialects_are_shown_what_was_thought() -> None:
    """Newer models hide it unless asked; a caller of this dialect asks or does not."""
    got = json.loads(from_openai("claude-opus-4-7", reasoning_effort="high").body)
    assert got["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert told(model="claude-opus-4-7", reasoning=Reasoning(enabled=True))["thinking"] == ADAPTIVE
    own = told(
        model="claude-opus-4-7",
        reasoning=Reasoning(enabled=True),
        extra={"thinking": {"display": "omitted"}, "output_config": {"task_budget": 1}},
    )
    assert own["thinking"] == ADAPTIVE | {"display": "omitted"}
    assert own["output_config"] == {"task_budget": 1}


@pytest.mark.parametrize(
    ("model", "options", "kept", "dropped"),
    [
        ("claude-sonnet-4-5", {"temperature": 1.5, "top_k": 3}, {"top_k": 3}, ("temperature",)),
        ("claude-sonnet-4-5", {"top_p": 0.5, "top_k": 3}, {"top_p": 0.5, "top_k": 3}, ()),
        (
            "claude-opus-4-7",
            {"temperature": 0.5, "top_p": 0.5, "top_k": 3},
            {},
            ("temperature", "top_k", "top_p"),
        ),
        (
            "claude-sonnet-4-5",
            {"temperature": 0.5, "reasoning": Reasoning(effort="low")},
            {},
            ("temperature",),
        ),
    ],
)
def test_sampling_is_fitted(
    model: str, options: dict[str, Any], kept: dict[str, Any], dropped: tuple[str, ...]
) -> None:
    """Nothing hotter than 1, none beside thinking, none for models that take none."""
    got = send(Prompt(messages=(USER,), **options), model)
    fields = json.loads(got.body)
    names = ("temperature", "top_p", "top_k")
    assert {name: fields[name] for name in names if name in fields} == kept
    assert got.dropped == dropped


def test_what_anthropic_does_not_take_is_named() -> None:
    """Nothing a caller of OpenAI's dialect asked for vanishes without a word."""
    got = from_openai(
        temperature=0.5,
        top_p=0.5,
        seed=1,
        n=2,
        presence_penalty=1,
        frequency_penalty=1,
        logprobs=True,
        response_format={"type": "json_object"},
        metadata={"a": "b"},
        user="u",
        thinking={"type": "disabled"},
        stream_options={"include_usage": True},
    )
    assert got.dropped == (
        *("frequency_penalty", "logprobs", "metadata", "n", "presence_penalty", "response_format"),
        *("seed", "top_p"),
    )
    fields = json.loads(got.body)
    assert fields.keys() == {"model", "max_tokens", "messages", "metadata", "temperature"}
    assert fields["metadata"] == {"user_id": "u"}


def test_other_options() -> None:
    """Schema, stops, user, and options only Anthropic has."""
    got = told(
        output_format=OutputFormat(name="x", schema={"type": "object"}, strict=True),
        stop=("a", "\n"),
        end_user="u",
        extra={"container": "c", "service_tier": "auto", "metadata": {"x": 1}},
    )
    assert got["output_config"] == {"format": {"type": "json_schema", "schema": {"type": "object"}}}
    assert (got["stop_sequences"], got["metadata"]) == (["a"], {"x": 1, "user_id": "u"})
    assert (got["container"], got["service_tier"]) == ("c", "auto")
    foreign = json.loads(from_openai(container="c", service_tier="auto", user="u").body)
    assert foreign["metadata"] == {"user_id": "u"}
    assert foreign["container"] == "c"
    assert "service_tier" not in foreign


def test_a_schema_is_never_left_out() -> None:
    """Prose in its place would be no answer: another deployment is asked, or it is refused."""
    prompt = Prompt(messages=(USER,), output_format=OutputFormat(schema={"type": "object"}))
    with pytest.raises(CapabilityMissing, match="JSON schema"):
        send(prompt, "claude-sonnet-4-20250514")

"""The typed view of a request, and its way back."""

import json
from typing import Any

import pytest

from tests.unit.dialects.openai_chat.wire import fold, whole
from trunkline.dialects.openai_chat import decode, encode, read
from trunkline.types import (
    Audio,
    Chat,
    Deployment,
    File,
    Image,
    Memo,
    Message,
    OutputFormat,
    Prompt,
    Reasoning,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Wire,
    say,
)

DEPLOYMENT = Deployment(provider="p", model="m", base_url="http://x.test/v1")
USER: dict[str, Any] = {"role": "user", "content": "Hi"}


def typed(**fields: Any) -> Prompt:
    """Read a request and return its typed view."""
    return read(json.dumps({"messages": [USER]} | fields).encode()).prompt


def spelled(prompt: Prompt, *quirks: str) -> dict[str, Any]:
    """Encode a typed prompt and return the fields sent."""
    row = Deployment(provider="p", model="m", base_url="http://x.test/v1", quirks=frozenset(quirks))
    sent: dict[str, Any] = json.loads(encode(Chat(model="m", body=prompt), row).body)
    return sent


EVERYTHING: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": "Be kind.", "name": "ops"},
        {
            "role": "user",
            "name": "ann",
            "content": [
                {"type": "text", "text": "See:", "cache_control": {"type": "ephemeral"}},
                {
                    "type": "image_url",
                    "image_url": {"url": "https://x.test/a.png", "detail": "low"},
                },
                {
                    "type": "image_url",
                    "image_url": {"url": "data:image/gif;base64,R0lG", "tile": 4},
                },
                {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "mp3"}},
                {"type": "file", "file": {"file_id": "f1"}},
                {
                    "type": "file",
                    "file": {"file_data": "data:text/csv;base64,YQ==", "filename": "a.csv"},
                },
                {"type": "video_url", "video_url": {"url": "https://x.test/v.mp4"}},
            ],
        },
        {
            "role": "assistant",
            "content": "Calling.",
            "reasoning_content": "They want both.",
            "provider_specific": {"signature": "s1"},
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "f", "arguments": '{"a": 1}'},
                    "extra_content": {"google": {"thought_signature": "s2"}},
                },
                {"id": "c2", "type": "custom", "custom": {"name": "calc", "input": "4 + 4"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "8"}]},
        {"role": "assistant", "content": "", "refusal": "No."},
        {"role": "assistant", "audio": {"id": "audio_1"}},
        {"role": "user", "content": "And now?"},
    ],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "f",
                "description": "d",
                "parameters": {"type": "object"},
                "strict": True,
                "returns": "int",
            },
            "cache_control": {"type": "ephemeral"},
        },
        {"type": "custom", "custom": {"name": "calc", "format": {"type": "text"}}},
        {"type": "web_search", "max_uses": 3},
        {"type": "openrouter:web_search"},
    ],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "parallel_tool_calls": False,
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
    },
    "reasoning_effort": "high",
    "max_tokens": 9,
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 4,
    "stop": ["x", "y"],
    "seed": 3,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.2,
    "user": "u1",
    "n": 2,
    "logit_bias": {"5": 1},
    "metadata": {"a": "b"},
    "new_in_2027": [1],
}


def test_every_field_finds_its_place() -> None:
    """Each field of the API becomes the neutral one, and the rest is kept as extra."""
    prompt = typed(**EVERYTHING)
    system, developer, user, calling, first, second, refused, heard, last = prompt.messages
    assert system == say("system", "Be brief.")
    assert developer == Message(role="developer", parts=(Text(text="Be kind."),), name="ops")
    assert user.name == "ann"
    assert user.parts == (
        Text(text="See:", extra={"cache_control": {"type": "ephemeral"}}),
        Image(url="https://x.test/a.png", detail="low"),
        Image(data="R0lG", media_type="image/gif", extra={"image_url": {"tile": 4}}),
        Audio(data="QQ==", format="mp3"),
        File(id="f1"),
        File(data="YQ==", media_type="text/csv", name="a.csv"),
        Text(text="", extra={"type": "video_url", "video_url": {"url": "https://x.test/v.mp4"}}),
    )
    assert calling.parts == (
        Thinking(text="They want both.", spelling="reasoning_content"),
        Text(text="Calling."),
        ToolCall(
            id="c1",
            name="f",
            arguments='{"a": 1}',
            extra={"extra_content": {"google": {"thought_signature": "s2"}}},
        ),
        ToolCall(id="c2", name="calc", arguments="4 + 4", kind="custom"),
    )
    assert calling.extra == {"provider_specific": {"signature": "s1"}}
    assert first.parts == (ToolResult(id="c1", parts=(Text(text="1"),)),)
    assert second.parts == (ToolResult(id="c2", parts=(Text(text="8"),)),)
    assert refused.parts == (Refusal(text="No."),)
    assert heard.parts == (Audio(id="audio_1"),)
    assert last.text == "And now?"
    kinds = ["function", "custom", "web_search", "openrouter:web_search"]
    assert [tool.kind for tool in prompt.tools] == kinds
    assert [tool.name for tool in prompt.tools] == ["f", "calc", *kinds[2:]]
    assert prompt.tools[0] == Tool(
        name="f",
        description="d",
        parameters={"type": "object"},
        strict=True,
        extra={"function": {"returns": "int"}, "cache_control": {"type": "ephemeral"}},
    )
    assert prompt.tool_choice == "tool:f"
    assert prompt.parallel_tool_calls is False
    assert prompt.output_format == OutputFormat(name="n", schema={"type": "object"}, strict=True)
    assert prompt.reasoning == Reasoning(effort="high")
    assert (prompt.max_output_tokens, prompt.temperature, prompt.top_p) == (9, 0.5, 0.9)
    assert (prompt.top_k, prompt.stop, prompt.seed) == (4, ("x", "y"), 3)
    assert (prompt.presence_penalty, prompt.frequency_penalty) == (0.1, 0.2)
    assert (prompt.end_user, prompt.choices) == ("u1", 2)
    assert prompt.extra == {
        "logit_bias": {"5": 1},
        "metadata": {"a": "b"},
        "new_in_2027": [1],
    }


def test_the_typed_view_goes_back_to_what_it_came_from() -> None:
    """Read, typed and encoded again, a request with every field is the same JSON."""
    sent = spelled(typed(**EVERYTHING))
    expected = EVERYTHING | {"model": "m"}
    messages = expected["messages"] = [dict(message) for message in expected["messages"]]
    messages[5]["content"] = "8"  # one part of plain text is a string
    del messages[6]["content"]
    assert sent == expected
    assert typed(**sent) == typed(**EVERYTHING)


@pytest.mark.parametrize(
    ("wire", "neutral"),
    [
        ({"stop": "x"}, {"stop": ("x",)}),
        ({"max_completion_tokens": 8, "max_tokens": 9}, {"max_output_tokens": 8}),
        ({"tool_choice": "any"}, {"tool_choice": "required"}),
        ({"tool_choice": "none"}, {"tool_choice": "none"}),
        ({"tool_choice": {"type": "custom", "custom": {"name": "c"}}}, {"tool_choice": "tool:c"}),
        ({"function_call": {"name": "f"}}, {"tool_choice": "tool:f"}),
        ({"response_format": {"type": "text"}}, {"output_format": None}),
        ({"response_format": {"type": "json_object"}}, {"output_format": OutputFormat()}),
        (
            {"response_format": {"type": "json_object", "schema": {"type": "array"}}},
            {"output_format": OutputFormat(schema={"type": "array"})},
        ),
        ({"reasoning_effort": "none"}, {"reasoning": Reasoning(effort="none")}),
        (
            {"reasoning": {"max_tokens": 5, "enabled": True}},
            {"reasoning": Reasoning(budget_tokens=5, enabled=True)},
        ),
        ({"thinking": {"type": "disabled"}}, {"reasoning": Reasoning(enabled=False)}),
        ({"functions": [{"name": "f"}]}, {"tools": (Tool(name="f"),)}),
    ],
)
def test_other_spellings_mean_the_same(wire: dict[str, Any], neutral: dict[str, Any]) -> None:
    """The second spelling of an option becomes the same neutral field."""
    prompt = typed(**wire)
    assert {name: getattr(prompt, name) for name in neutral} == neutral


@pytest.mark.parametrize(
    "wire",
    [
        {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}},
        {"response_format": {"type": "grammar", "grammar": "root ::= x"}},
        {"reasoning": {"max_tokens": 5}},
        {"thinking": {"type": "enabled", "budget_tokens": 9}},
    ],
)
def test_what_has_no_neutral_word_goes_back_unchanged(wire: dict[str, Any]) -> None:
    """An option the neutral form cannot say travels in extra, under its own name."""
    sent = spelled(typed(**wire))
    assert {name: sent[name] for name in wire} == wire
    assert "reasoning_effort" not in sent


def test_effort_beside_a_switch_is_sent_with_it() -> None:
    """DeepSeek takes `thinking` and `reasoning_effort` together."""
    wire = {"thinking": {"type": "enabled"}, "reasoning_effort": "high"}
    sent = spelled(typed(**wire))
    assert {name: sent[name] for name in wire} == wire


def test_mistrals_bare_audio_is_audio() -> None:
    """The payload of a sound may be its base64 alone."""
    parts = [{"type": "text", "text": "a"}, {"type": "input_audio", "input_audio": "QQ=="}]
    prompt = typed(messages=[USER | {"content": parts}])
    assert prompt.messages[0].parts[1] == Audio(data="QQ==")


def test_a_legacy_function_message_is_a_tool_result() -> None:
    """Messages of the old function API are understood."""
    call = {"name": "f", "arguments": "{}"}
    prompt = typed(
        messages=[
            USER,
            {"role": "assistant", "content": None, "function_call": call},
            {"role": "function", "name": "f", "content": "1"},
        ]
    )
    assert prompt.messages[1].parts == (ToolCall(id="call_f", name="f"),)
    assert prompt.messages[2].parts == (ToolResult(id="call_f", parts=(Text(text="1"),)),)


DETAILS = [
    {"type": "reasoning.text", "text": "Hm.", "signature": "sig", "index": 0, "format": "a"},
    {"type": "reasoning.encrypted", "data": "xyz", "id": "rs_1", "index": 1},
]


def test_reasoning_details_come_back_unmodified() -> None:
    """OpenRouter's list is typed for other dialects and goes back to its own as it came."""
    said = {"role": "assistant", "content": "A", "reasoning": "Hm.", "reasoning_details": DETAILS}
    prompt = typed(messages=[USER, said])
    first, second, _ = prompt.messages[1].parts
    assert isinstance(first, Thinking)
    assert (first.text, first.signature) == ("Hm.", "sig")
    assert isinstance(second, Thinking)
    assert second.redacted == "xyz"
    assert spelled(prompt)["messages"][1] == said


def test_encrypted_details_leave_the_readable_words_beside_them() -> None:
    """Where the details hide the words, the plain spelling is the thought."""
    said = {
        "role": "assistant",
        "content": "A",
        "reasoning": "Hm.",
        "reasoning_details": DETAILS[1:],
    }
    prompt = typed(messages=[USER, said])
    assert prompt.messages[1].thinking == "Hm."
    assert spelled(prompt)["messages"][1] == said


def test_pieces_of_streamed_details_are_joined() -> None:
    """A client that sends the deltas of a stream back as a list means the joined list."""
    pieces = [
        {"type": "reasoning.text", "text": "H", "index": 0, "format": "a"},
        {"type": "reasoning.text", "text": "m.", "index": 0},
        {"type": "reasoning.text", "signature": "sig", "index": 0},
        DETAILS[1],
        {"type": "reasoning.encrypted", "data": "other", "id": "rs_2", "index": 1},
    ]
    prompt = typed(messages=[USER, {"role": "assistant", "reasoning_details": pieces}])
    thoughts = [part for part in prompt.messages[1].parts if isinstance(part, Thinking)]
    assert [thought.text for thought in thoughts] == ["Hm.", "", ""]
    assert thoughts[0].extra["reasoning_details"] == DETAILS[0]
    assert [thought.redacted for thought in thoughts] == [None, "xyz", "other"]


def test_mistral_thinking_parts_stay_in_content() -> None:
    """Mistral's thinking goes back as the content part it was."""
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}], "closed": True},
        {"type": "text", "text": "A"},
    ]
    prompt = typed(messages=[USER, {"role": "assistant", "content": parts}])
    assert prompt.messages[1].thinking == "Hm."
    assert spelled(prompt)["messages"][1]["content"] == parts


def test_thought_of_another_dialect_is_sent_only_where_it_is_needed() -> None:
    """Foreign thinking is left out, unless the deployment wants it as reasoning_content."""
    said = Message(role="assistant", parts=(Thinking(text="Hm.", signature="s"), Text(text="A")))
    prompt = Prompt(messages=(say("user", "Hi"), said))
    assert spelled(prompt)["messages"][1] == {"role": "assistant", "content": "A"}
    back = spelled(prompt, "reasoning_content_back")["messages"][1]
    assert back == {"role": "assistant", "content": "A", "reasoning_content": "Hm."}


def test_results_with_pictures_are_followed_by_them() -> None:
    """A tool message takes only text: pictures come after all results, as the user's."""
    picture = Image(data="R0lG", media_type="image/gif")
    results = Message(
        role="user",
        parts=(
            ToolResult(id="c1", parts=(Text(text="one"), picture)),
            ToolResult(id="c2", parts=(Text(text="two"), Text(text="three"))),
            Text(text="What is it?"),
        ),
    )
    third = Message(role="tool", parts=(ToolResult(id="c3"),), name="f")
    sent = spelled(Prompt(messages=(results, third, say("user", "Go on."))))["messages"]
    assert [message["role"] for message in sent] == ["tool", "tool", "tool", "user", "user"]
    assert sent[0] == {"role": "tool", "tool_call_id": "c1", "content": "one"}
    assert [part["text"] for part in sent[1]["content"]] == ["two", "three"]
    assert sent[2] == {"role": "tool", "tool_call_id": "c3", "content": "", "name": "f"}
    assert [part["type"] for part in sent[3]["content"]] == ["image_url", "text"]


def test_an_assistant_turn_of_calls_only_has_null_content() -> None:
    """Content is null beside tool calls, and an empty string where nothing was said."""
    call = Message(role="assistant", parts=(ToolCall(id="c", name="f"),))
    empty = Message(role="assistant")
    sent = spelled(Prompt(messages=(call, empty, Message(role="user"))))["messages"]
    assert [message["content"] for message in sent] == [None, "", ""]


@pytest.mark.parametrize(
    ("reasoning", "effort"),
    [
        (Reasoning(effort="low", budget_tokens=9000), "low"),
        (Reasoning(budget_tokens=1024), "low"),
        (Reasoning(budget_tokens=4096), "medium"),
        (Reasoning(budget_tokens=32_000), "high"),
        (Reasoning(budget_tokens=32_000, enabled=False), None),
        (Reasoning(enabled=True), None),
    ],
)
def test_a_budget_of_thought_becomes_a_word(reasoning: Reasoning, effort: str | None) -> None:
    """A cap in tokens is sent as the nearest effort; a word wins over it."""
    sent = spelled(Prompt(messages=(say("user", "Hi"),), reasoning=reasoning))
    assert sent.get("reasoning_effort") == effort


def test_a_foreign_prompt_leaves_its_own_extras_at_home() -> None:
    """Unknown fields of another dialect are not sent, but signatures travel, and it is told."""
    said = Message(
        role="assistant",
        parts=(Text(text="A", extra={"citations": [1]}),),
        extra={"reasoning_details": DETAILS, "container": "c"},
    )
    tools = (Tool(name="f"), Tool(name="look", kind="web_search_20260101"))
    prompt = Prompt(messages=(say("user", "Hi"), said), tools=tools, extra={"cache_ttl": 5})
    wire = Wire(
        dialect="another",
        fields={},
        parse=lambda _: prompt,
        message_count=2,
        size_bytes=9,
        max_output_tokens=None,
        needs=frozenset(),
    )
    out = encode(Chat(model="m", body=wire), DEPLOYMENT)
    assert out.dropped == ("cache_ttl", "look")
    sent = json.loads(out.body)
    assert sent["tools"] == [{"type": "function", "function": {"name": "f"}}]
    assert sent["messages"][1] == {
        "role": "assistant",
        "content": "A",
        "reasoning_details": DETAILS,
    }


def test_an_answer_can_be_sent_back_as_it_was_understood() -> None:
    """A folded message goes into the next prompt: its proof too, what stood beside it not."""
    pieces = [
        {"type": "reasoning.text", "text": "Hm.", "index": 0, "format": "a"},
        {"type": "reasoning.text", "signature": "sig", "index": 0},
    ]
    for message in (
        {"content": "A", "reasoning": "Hm.", "reasoning_details": pieces},
        {"content": "A", "reasoning_details": pieces},
    ):
        folded = fold(decode(whole(message, logprobs={"content": [1]}), Memo()).events)
        sent = spelled(Prompt(messages=(say("user", "Hi"), folded)))["messages"][1]
        assert sent == {"role": "assistant"} | message | {"reasoning_details": DETAILS[:1]}

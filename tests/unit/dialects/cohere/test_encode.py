"""What Cohere is sent: prompts in its words, fitted to the model."""

import json
from typing import Any

import pytest

from trunkline.dialects import Dialect, load
from trunkline.dialects.cohere import encode
from trunkline.errors import CapabilityMissing, InputError
from trunkline.types import (
    Audio,
    Chat,
    Deployment,
    File,
    Image,
    Message,
    Outgoing,
    OutputFormat,
    Prompt,
    Reasoning,
    Refusal,
    Secret,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Wire,
    say,
)

Json = dict[str, Any]
HI = say("user", "Hi")
ADD = Tool(name="add", description="Add.", parameters={"properties": {"a": {"type": "number"}}})
SUB = Tool(name="sub", strict=True)
ANSWER = Image(data="QQ==", media_type="image/gif")


def outgoing(*messages: Message, model: str = "command-a-03-2025", **options: Any) -> Outgoing:
    """Encode a prompt."""
    row = Deployment(
        provider="cohere",
        model=model,
        dialect="cohere",
        base_url="https://api.test/v2?x=1",
        api_key=Secret("co-key"),
        headers=(("X-Client-Name", "me"),),
    )
    stream = options.pop("stream", False)
    prompt = Prompt(messages=messages or (HI,), **options)
    return encode(Chat(model="m", body=prompt, stream=stream), row)


def sent(*messages: Message, **options: Any) -> Json:
    """Return the body that is sent."""
    body: Json = json.loads(outgoing(*messages, **options).body)
    return body


def test_the_package_is_a_dialect() -> None:
    """The package loads by name and has what providers' dialects have."""
    dialect: Dialect = load("cohere")
    assert (dialect.NAME, dialect.FRAMING) == ("cohere", "sse")


def test_where_it_goes() -> None:
    """The path below the base, the key as a bearer, the configured headers."""
    request = outgoing(stream=True)
    assert request.url == "https://api.test/v2/chat?x=1"
    assert request.headers == {
        "content-type": "application/json",
        "accept": "text/event-stream",
        "authorization": "Bearer co-key",
        "x-client-name": "me",
    }
    assert json.loads(request.body)["stream"] is True


def test_options_have_other_names() -> None:
    """Cohere says p, k and stop_sequences; what it does not know is dropped and named."""
    request = outgoing(
        max_output_tokens=9,
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        stop=tuple("abcdef"),
        seed=7,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        parallel_tool_calls=False,
        choices=2,
        end_user="u",
        extra={"safety_mode": "STRICT", "documents": [{"data": {"text": "x"}}]},
    )
    assert json.loads(request.body) == {
        "model": "command-a-03-2025",
        "stream": False,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        "max_tokens": 9,
        "temperature": 0.5,
        "p": 0.9,
        "k": 40,
        "stop_sequences": list("abcde"),
        "seed": 7,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "safety_mode": "STRICT",
        "documents": [{"data": {"text": "x"}}],
    }
    assert request.dropped == ("n", "parallel_tool_calls", "stop", "user")


def test_options_of_other_dialects_stay_out() -> None:
    """Of a caller's request only what means the same here goes up; the rest is named."""
    body = b'{"model":"m","messages":[{"role":"user","content":"Hi"}],"logit_bias":{"1":2},'
    body += b'"safety_mode":"OFF","stream_options":{}}'
    chat = load("openai_chat").read(body)
    assert isinstance(chat.body, Wire)
    request = encode(chat, Deployment(provider="cohere", model="m", base_url="https://x.test"))
    assert json.loads(request.body)["safety_mode"] == "OFF"
    assert "logit_bias" not in json.loads(request.body)
    assert request.dropped == ("logit_bias",)


def test_a_conversation_with_tools() -> None:
    """System, pictures, thoughts, plan, calls, results and pictures in results have a place."""
    body = sent(
        say("developer", "Be brief."),
        Message(role="user", parts=(Text(text="What?"), ANSWER, Text(text=""))),
        Message(
            role="assistant",
            parts=(
                Thinking(text="I add.", spelling="tool_plan"),
                Thinking(text="Hm."),
                Text(text="Well"),
                Refusal(text="no"),
                ToolCall(id="c1", name="add", arguments='{"a":1}'),
            ),
        ),
        Message(role="tool", parts=(ToolResult(id="c1", parts=(Text(text="2"), ANSWER)),)),
        Message(role="assistant", parts=(Text(text=""),)),
    )
    picture = {"type": "image_url", "image_url": {"url": "data:image/gif;base64,QQ=="}}
    assert body["messages"] == [
        {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "user", "content": [{"type": "text", "text": "What?"}, picture]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm."},
                {"type": "text", "text": "Well"},
                {"type": "text", "text": "no"},
            ],
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "add", "arguments": '{"a":1}'},
                }
            ],
            "tool_plan": "I add.",
        },
        {"role": "tool", "tool_call_id": "c1", "content": "2"},
        {"role": "user", "content": [picture]},
    ]


def test_pictures_of_several_results_follow_all_of_them() -> None:
    """Nothing stands between two results of one turn."""
    results = [ToolResult(id=id_, parts=(ANSWER,)) for id_ in ("c1", "c2")]
    one = Message(role="user", parts=(*results, Text(text="and?")))
    two = [Message(role="tool", parts=(result,)) for result in results]
    assert [m["role"] for m in sent(one)["messages"]] == ["tool", "tool", "user", "user"]
    assert [m["role"] for m in sent(*two, HI)["messages"]] == ["tool", "tool", "user", "user"]


CHOICES: list[tuple[str | None, Any, list[str]]] = [
    (None, None, ["add", "sub"]),
    ("auto", None, ["add", "sub"]),
    ("none", "NONE", ["add", "sub"]),
    ("required", "REQUIRED", ["add", "sub"]),
    ("tool:sub", "REQUIRED", ["sub"]),
]


@pytest.mark.parametrize(("choice", "said", "names"), CHOICES)
def test_the_choice_of_a_tool(choice: str | None, said: Any, names: list[str]) -> None:
    """One that must be called stands there alone; strictness is for all tools or none."""
    body = sent(tools=(ADD, SUB), tool_choice=choice)
    assert body.get("tool_choice") == said
    assert [tool["function"]["name"] for tool in body["tools"]] == names
    assert body.get("strict_tools") == (True if names == ["sub"] else None)


def test_tools_of_another_kind_are_dropped() -> None:
    """They are named."""
    request = outgoing(tools=(Tool(name="grep", kind="custom"),))
    assert request.dropped == ("tools.grep",)
    assert "tools" not in json.loads(request.body)


def test_formats() -> None:
    """Any object, or one that fits a schema."""
    schema = {"type": "object"}
    assert sent(output_format=OutputFormat())["response_format"] == {"type": "json_object"}
    assert sent(output_format=OutputFormat(schema=schema))["response_format"] == {
        "type": "json_object",
        "json_schema": schema,
    }


THOUGHTS: list[tuple[Reasoning, Json]] = [
    (Reasoning(effort="high"), {"type": "enabled"}),
    (Reasoning(budget_tokens=500), {"type": "enabled", "token_budget": 500}),
    (Reasoning(effort="none"), {"type": "disabled"}),
    (Reasoning(enabled=False), {"type": "disabled"}),
]


@pytest.mark.parametrize(("wanted", "said"), THOUGHTS)
def test_thinking(wanted: Reasoning, said: Json) -> None:
    """Only models that can be told are told; for others it is dropped and named."""
    assert sent(model="command-a-reasoning-08-2025", reasoning=wanted)["thinking"] == said
    request = outgoing(reasoning=wanted)
    assert "thinking" not in json.loads(request.body)
    assert request.dropped == ("reasoning_effort",)


def test_what_has_no_form_is_refused() -> None:
    """Sound and files; a spoken answer has its words."""
    heard = Audio(id="a", transcript="Hello.")
    spoken = sent(Message(role="assistant", parts=(heard,)), HI)["messages"][0]
    assert spoken["content"] == [{"type": "text", "text": "Hello."}]
    for part in (Audio(data="QQ==", format="wav"), File(data="QQ==")):
        with pytest.raises(CapabilityMissing, match="Cohere takes no"):
            sent(Message(role="user", parts=(part,)))
    with pytest.raises(InputError, match="say nothing"):
        sent(say("user", ""))

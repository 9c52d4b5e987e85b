"""The Transformers backend without the packages; `tests/envs` has it with a model."""

import sys
from typing import Any

import pytest

from tests.unit.backends.asking import ask, chat
from trunkline.backends.transformers.asking import Asked, asked
from trunkline.backends.transformers.speech import Speech
from trunkline.errors import ConfigError
from trunkline.types import (
    Message,
    Reasoning,
    Text,
    TextDelta,
    ThinkingDelta,
    Tool,
    ToolCall,
    ToolCallDelta,
    say,
)

TOOL = Tool(name="f", parameters={"type": "object"})
CALL = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'


def wanted(**prompt: Any) -> Asked:
    """Read a chat."""
    call = chat("hi", **prompt)
    assert call.target is not None
    return asked(call, call.target, call_ids="call_9")


def said(text: str, size: int, *, thinking: bool = False, **prompt: Any) -> list[tuple[str, str]]:
    """Speak `text` in pieces of `size` characters; return kinds and texts, neighbours joined."""
    speech = Speech(wanted(**prompt), thinking=thinking)
    events = [e for i in range(0, len(text), size) for e in speech.feed(text[i : i + size])]
    told: list[tuple[str, str]] = []
    for event in (*events, *speech.end()):
        if isinstance(event, ToolCallDelta):
            told.append(("call", f"{event.id} {event.name}{event.arguments}"))
            continue
        assert isinstance(event, TextDelta | ThinkingDelta)
        kind = "text" if isinstance(event, TextDelta) else "thought"
        before = told.pop()[1] if told and told[-1][0] == kind else ""
        told.append((kind, before + event.text))
    return told


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("text", "prompt", "expected"),
    [
        ("Well.", {}, [("text", "Well.")]),
        ("<b>1 < 2</b>", {}, [("text", "<b>1 < 2</b>")]),
        ("<think>hm\n</think>\n\nWell.", {}, [("thought", "hm\n"), ("text", "Well.")]),
        ("<think>hm", {}, [("thought", "hm")]),
        ("a<think>", {}, [("text", "a<think>")]),
        ("one END two", {"stop": ("END",)}, [("text", "one ")]),
        ("one EN two", {"stop": ("END",)}, [("text", "one EN two")]),
        ("one EN", {"stop": ("END", "NO")}, [("text", "one EN")]),
        (CALL, {}, [("text", CALL)]),
        (CALL, {"tools": (TOOL,)}, [("call", 'call_9_0 f{"a":1}')]),
        (
            f"I ask. {CALL}\n{CALL}",
            {"tools": (TOOL,)},
            [
                ("text", "I ask. "),
                ("call", 'call_9_0 f{"a":1}'),
                ("call", 'call_9_1 f{"a":1}'),
            ],
        ),
        (
            '<tool_call>{"name": "f", "arguments": {}}',
            {"tools": (TOOL,)},
            [("call", "call_9_0 f{}")],
        ),
        (
            '{"name": "f", "parameters": {"a": 1}}',
            {"tools": (TOOL,)},
            [("call", 'call_9_0 f{"a":1}')],
        ),
        ('{"a": 1}', {"tools": (TOOL,)}, [("text", '{"a": 1}')]),
        (
            '<tool_call>{"name": "g"}</tool_call>',
            {"tools": (TOOL,)},
            [("text", '<tool_call>{"name": "g"}</tool_call>')],
        ),
        ("<tool_call>oops", {"tools": (TOOL,)}, [("text", "<tool_call>oops")]),
    ],
)
def test_what_is_written_is_told_apart(
    text: str, prompt: Any, expected: list[tuple[str, str]], size: int
) -> None:
    """In whatever pieces it comes; what only looks like a call or a tag stays text."""
    assert said(text, size, **prompt) == expected


def test_thoughts_that_the_template_opened() -> None:
    """The answer begins in the middle of them."""
    assert said("hm</think>Well.", 2, thinking=True) == [("thought", "hm"), ("text", "Well.")]


def test_a_call_in_a_templates_words() -> None:
    """Contents are texts, arguments objects; what no model here takes is named."""
    messages = (
        say("system", "Be brief."),
        Message(role="user", parts=(Text(text="See "), Text(text="this."))),
        Message(role="assistant", parts=(ToolCall(id="c", name="f", arguments='{"a": 1}'),)),
    )
    read = wanted(
        messages=messages,
        tools=(TOOL,),
        temperature=0.5,
        top_p=0.9,
        seed=3,
        presence_penalty=1.0,
        reasoning=Reasoning(enabled=False),
        max_output_tokens=7,
    )
    assert [message["content"] for message in read.messages] == ["Be brief.", "See this.", ""]
    assert read.messages[2]["tool_calls"][0]["function"] == {"name": "f", "arguments": {"a": 1}}
    assert read.tools[0]["function"]["name"] == "f"
    assert read.sampling == {"do_sample": True, "temperature": 0.5, "top_p": 0.9}
    assert (read.seed, read.most_tokens, read.template) == (3, 7, {"enable_thinking": False})
    assert read.dropped == ("presence_penalty",)


def test_how_it_samples() -> None:
    """Zero is the likeliest token; nothing said, as the model's makers advise."""
    assert wanted(temperature=0).sampling["do_sample"] is False
    assert wanted().sampling == {}
    assert wanted(tools=(TOOL,), tool_choice="none").tools == []


async def test_without_the_packages_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Named by its extra; nothing was sent."""
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConfigError, match=r"pip install 'trunkline\[transformers\]'"):
        await ask(chat("hi"), "transformers")

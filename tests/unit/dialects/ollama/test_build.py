"""The way from a typed prompt: options, tools, formats and how hard to think, fitted to a model."""

import json
from typing import Any

import pytest

from tests.unit.dialects.ollama.wire import HI, outgoing, row, sent
from trunkline.dialects.ollama import encode
from trunkline.dialects.openai_chat import read
from trunkline.errors import InputError
from trunkline.types import OutputFormat, Prompt, Reasoning, Tool

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def test_sampling_is_said_in_options() -> None:
    """Under Ollama's names; what was not asked for is not said."""
    body = sent(
        temperature=0.5,
        top_p=0.9,
        top_k=3,
        max_output_tokens=9,
        stop=("x",),
        seed=1,
        presence_penalty=0.1,
        frequency_penalty=0.2,
    )
    assert body["options"] == {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 3,
        "num_predict": 9,
        "stop": ["x"],
        "seed": 1,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
    }
    assert "options" not in sent()


@pytest.mark.parametrize("own", [{"options": {"num_predict": -1}}, {"num_predict": 60_000}])
def test_no_option_asks_for_more_than_money_was_held_for(own: dict[str, Any]) -> None:
    """The cap of the call counts, unless Ollama's own is smaller."""
    said = {"max_tokens": 20, "messages": [{"role": "user", "content": "Hi"}]}
    wire = json.loads(encode(read(json.dumps(said | own).encode()), row()).body)
    assert wire["options"] == {"num_predict": 20}
    assert sent(max_output_tokens=20, extra=own)["options"] == {"num_predict": 20}


def test_ollamas_own_options_win() -> None:
    """Written among `options` or beside them; any field of a typed prompt is passed on."""
    extra = {"options": {"num_predict": 7, "num_ctx": 9}, "num_ctx": 8, "novelty": 1}
    body = sent(max_output_tokens=9, extra=extra)
    assert body["options"] == {"num_predict": 7, "num_ctx": 9}
    assert body["novelty"] == 1


def test_a_prompt_that_is_too_long_is_to_be_refused() -> None:
    """Not cut in silence, unless the caller wants that."""
    assert sent()["truncate"] is False
    assert sent(extra={"truncate": True})["truncate"] is True


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (None, None),
        (OutputFormat(), "json"),
        (OutputFormat(schema=SCHEMA, strict=True), SCHEMA),
    ],
)
def test_a_format_is_json_or_a_schema(wanted: OutputFormat | None, said: Any) -> None:
    """The schema itself, without a name around it."""
    assert sent(output_format=wanted).get("format") == said


def test_tools_are_functions() -> None:
    """Other kinds are dropped and named; a choice cannot be forced, but tools can be left out."""
    tools = (
        Tool(name="f", description="d", parameters=SCHEMA, strict=True),
        Tool(name="g"),
        Tool(name="shell", kind="custom"),
    )
    made = outgoing(Prompt(messages=(HI,), tools=tools, tool_choice="tool:f"))
    assert made.dropped == ("tool_choice", "tools.shell")
    empty = {"type": "object", "properties": {}}
    assert [tool["function"] for tool in sent(tools=tools)["tools"]] == [
        {"name": "f", "description": "d", "parameters": SCHEMA},
        {"name": "g", "parameters": empty},
    ]
    assert "tools" not in sent(tools=tools, tool_choice="none")
    assert outgoing(Prompt(messages=(HI,), tools=tools[:2], tool_choice="none")).dropped == ()


@pytest.mark.parametrize(
    ("model", "wanted", "said"),
    [
        ("qwen3:8b", {"effort": "high"}, True),
        ("qwen3.5", {"budget_tokens": 9}, True),
        ("deepseek-r1:7b", {"enabled": True}, True),
        ("qwen3:8b", {"effort": "none"}, False),
        ("llama3.2", {"enabled": False}, False),
        ("gpt-oss:20b", {"effort": "medium"}, "medium"),
        ("gpt-oss", {"effort": "minimal"}, "low"),
        ("gpt-oss", {"effort": "xhigh"}, "high"),
        ("gpt-oss", {"budget_tokens": 4096}, "medium"),
        ("gpt-oss", {"enabled": True}, True),
    ],
)
def test_how_hard_to_think(model: str, wanted: dict[str, Any], said: bool | str) -> None:
    """Yes or no; a model with levels hears the nearest one."""
    assert sent(model=model, reasoning=Reasoning(**wanted))["think"] == said


@pytest.mark.parametrize("model", ["llama3.2", "qwen3-coder:30b", "me/qwen3", "qwen3:4b-instruct"])
def test_who_may_not_think_is_not_told_to(model: str) -> None:
    """It would answer 400; the caller is told what was dropped."""
    prompt = Prompt(messages=(HI,), reasoning=Reasoning(effort="high"))
    made = outgoing(prompt, row(model))
    assert made.dropped == ("reasoning_effort",)
    assert b"think" not in made.body
    assert sent(model=model, extra={"think": True})["think"] is True  # who says so, knows


def test_a_prompt_without_words_is_refused() -> None:
    """Ollama would only load the model."""
    with pytest.raises(InputError, match="say nothing"):
        outgoing(Prompt(messages=()))


@pytest.mark.parametrize("options", ["x", [1], None])
def test_options_that_are_no_object_are_refused(options: Any) -> None:
    """Any caller may write the field; the error names it."""
    prompt = Prompt(messages=(HI,), extra={"num_ctx": 9, "options": options})
    with pytest.raises(InputError, match="an object") as caught:
        outgoing(prompt)
    assert caught.value.param == "options"

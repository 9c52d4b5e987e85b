"""Options, tools, schemas and thinking are said in Gemini's words, or named as dropped."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from tests.unit.dialects.gemini.wire import HI, ROW, outgoing, sent
from trunkline.dialects.gemini import encode
from trunkline.dialects.openai_chat import read
from trunkline.errors import InputError
from trunkline.types import Chat, OutputFormat, Prompt, Reasoning, Tool, say

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
TOOL = Tool(name="f", description="d", parameters=SCHEMA)


def dropped(prompt: Prompt, model: str = ROW.model) -> tuple[str, ...]:
    """Return the options that a model is not sent."""
    return outgoing(prompt, replace(ROW, model=model)).dropped


def test_options_have_their_names() -> None:
    """All of them in `generationConfig`; what was not said is not sent."""
    body = sent(
        temperature=0.5,
        top_p=0.9,
        top_k=3,
        max_output_tokens=9,
        stop=("x",),
        seed=1,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        choices=2,
    )
    assert body["generationConfig"] == {
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 3,
        "maxOutputTokens": 9,
        "stopSequences": ["x"],
        "seed": 1,
        "presencePenalty": 0.1,
        "frequencyPenalty": 0.2,
        "candidateCount": 2,
    }
    assert sent().keys() == {"contents"}


def test_what_gemini_has_no_word_for_is_dropped_and_named() -> None:
    """One tool at a time, and who the user is."""
    prompt = Prompt(messages=(HI,), tools=(TOOL,), parallel_tool_calls=False, end_user="u")
    assert dropped(prompt) == ("parallel_tool_calls", "user")


def test_nothing_said_is_refused() -> None:
    """The API wants words."""
    with pytest.raises(InputError, match="say nothing"):
        sent(say("user", ""))


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        ("auto", {"mode": "AUTO"}),
        ("required", {"mode": "ANY"}),
        ("none", {"mode": "NONE"}),
        ("tool:f", {"mode": "ANY", "allowedFunctionNames": ["f"]}),
    ],
)
def test_a_choice_of_tools(choice: str, config: object) -> None:
    """The functions stand in one tool; without tools there is nothing to choose."""
    body = sent(tools=(TOOL, TOOL), tool_choice=choice)
    function = {"name": "f", "description": "d", "parametersJsonSchema": SCHEMA}
    assert body["tools"] == [{"functionDeclarations": [function, function]}]
    assert body["toolConfig"] == {"functionCallingConfig": config}
    assert "toolConfig" not in sent(tool_choice=choice)


@pytest.mark.parametrize("parameters", [{}, {"type": "object", "properties": {}}])
def test_a_tool_without_parameters_has_no_schema(parameters: dict[str, Any]) -> None:
    """An object without properties is refused."""
    body = sent(tools=(Tool(name="f", parameters=parameters),))
    assert body["tools"] == [{"functionDeclarations": [{"name": "f"}]}]


def test_tools_of_googles_own_stand_beside_the_functions() -> None:
    """In both spellings; those of other providers are dropped."""
    tools = (
        Tool(name="googleSearch", kind="googleSearch"),
        Tool(name="code_execution", kind="code_execution"),
        Tool(name="s", kind="googleSearch", extra={"googleSearch": {"excludeDomains": ["x"]}}),
        Tool(name="web", kind="web_search_20250305"),
    )
    assert sent(tools=tools)["tools"] == [
        {"googleSearch": {}},
        {"codeExecution": {}},
        {"googleSearch": {"excludeDomains": ["x"]}},
    ]
    assert dropped(Prompt(messages=(HI,), tools=tools)) == ("tools.web",)


def test_a_schema_for_the_answer() -> None:
    """JSON is asked for by its media type, with the keywords that Gemini takes."""
    schema = SCHEMA | {"patternProperties": {}, "additionalProperties": False}
    prompt = Prompt(messages=(HI,), output_format=OutputFormat(schema=schema))
    assert dropped(prompt) == ("response_format.patternProperties",)
    assert sent(output_format=prompt.output_format)["generationConfig"] == {
        "responseMimeType": "application/json",
        "responseJsonSchema": SCHEMA | {"additionalProperties": False},
    }
    assert sent(output_format=OutputFormat())["generationConfig"] == {
        "responseMimeType": "application/json"
    }


SHOWN = {"includeThoughts": True}


@pytest.mark.parametrize(
    ("model", "wanted", "config"),
    [
        ("gemini-3.5-flash", Reasoning(effort="minimal"), SHOWN | {"thinkingLevel": "MINIMAL"}),
        ("gemini-3.5-flash", Reasoning(effort="xhigh"), SHOWN | {"thinkingLevel": "HIGH"}),
        ("gemini-3.5-flash", Reasoning(effort="none"), {"thinkingLevel": "MINIMAL"}),
        ("gemini-3.5-flash", Reasoning(budget_tokens=4000), SHOWN | {"thinkingLevel": "MEDIUM"}),
        ("gemini-3.5-flash", Reasoning(enabled=True), SHOWN),
        ("gemini-3-pro-preview", Reasoning(effort="medium"), SHOWN | {"thinkingLevel": "HIGH"}),
        ("gemini-3.1-pro-preview", Reasoning(effort="medium"), SHOWN | {"thinkingLevel": "MEDIUM"}),
        ("gemini-3.1-pro-preview", Reasoning(enabled=False), {"thinkingLevel": "LOW"}),
        ("gemini-flash-latest", Reasoning(effort="low"), SHOWN | {"thinkingLevel": "LOW"}),
        ("gemini-2.5-flash", Reasoning(effort="medium"), SHOWN | {"thinkingBudget": 8192}),
        ("gemini-2.5-flash-lite", Reasoning(effort="high"), SHOWN | {"thinkingBudget": 24576}),
        ("gemini-2.5-flash", Reasoning(budget_tokens=777), SHOWN | {"thinkingBudget": 777}),
        ("gemini-2.5-flash", Reasoning(effort="none"), {"thinkingBudget": 0}),
        ("gemini-2.5-pro", Reasoning(enabled=False), {"thinkingBudget": 128}),
        ("gemini-2.0-flash", Reasoning(effort="high"), None),
        ("gemini-2.5-flash-image", Reasoning(effort="high"), None),
        ("somebodys-model", Reasoning(effort="high"), None),
    ],
)
def test_how_hard_to_think(model: str, wanted: Reasoning, config: object) -> None:
    """Levels from Gemini 3 on, before that a cap, never both; else it is dropped and named."""
    body = sent(model=model, reasoning=wanted)
    assert body.get("generationConfig", {}).get("thinkingConfig") == config
    names = dropped(Prompt(messages=(HI,), reasoning=wanted), model)
    assert names == (() if config else ("reasoning_effort",))


def test_no_thinking_is_no_loss_where_there_is_none() -> None:
    """A model that cannot think need not be told not to."""
    prompt = Prompt(messages=(HI,), reasoning=Reasoning(effort="none"))
    assert dropped(prompt, "gemini-2.0-flash") == ()
    assert "generationConfig" not in sent(model="gemini-2.0-flash", reasoning=prompt.reasoning)


def test_options_of_its_own_pass_through() -> None:
    """From whatever dialect the caller speaks; those of other dialects are named."""
    own = b'"safety_settings": [{"category": "c"}], "cachedContent": "cachedContents/1", '
    more = b'"imageConfig": {"aspectRatio": "1:1"}, "logit_bias": {"1": 2}, "logprobs": true, '
    body = b"{%b%b%b}" % (own, more, b'"messages": [{"role": "user", "content": "Hi"}]')
    prompt = read(body).body
    made = encode(Chat(model="m", body=prompt), ROW)
    wire = json.loads(made.body)
    assert wire["safetySettings"] == [{"category": "c"}]
    assert wire["cachedContent"] == "cachedContents/1"
    assert wire["generationConfig"] == {"imageConfig": {"aspectRatio": "1:1"}}
    assert made.dropped == ("logit_bias", "logprobs")


def test_options_of_a_typed_prompt_are_all_sent() -> None:
    """Whoever writes Gemini's own names means them; a whole `generationConfig` is joined."""
    body = sent(
        max_output_tokens=9,
        extra={"labels": {"a": "b"}, "generationConfig": {"speechConfig": {}}, "newest": 1},
    )
    assert body["labels"] == {"a": "b"}
    assert body["newest"] == 1
    assert body["generationConfig"] == {"maxOutputTokens": 9, "speechConfig": {}}


CAPPED = {"max_tokens": 20, "messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize(
    ("asked", "config", "dropped"),
    [
        ({"maxOutputTokens": 60_000}, {"maxOutputTokens": 20}, ()),
        ({"max_output_tokens": 60_000}, {"maxOutputTokens": 20}, ()),
        ({"maxOutputTokens": "60000"}, {"maxOutputTokens": 20}, ()),
        ({"maxOutputTokens": 7, "topK": 3}, {"topK": 3, "maxOutputTokens": 7}, ()),
        ({"candidateCount": 8}, {"maxOutputTokens": 20}, ("generationConfig.candidateCount",)),
        ({"candidate_count": [8]}, {"maxOutputTokens": 20}, ("generationConfig.candidateCount",)),
        ({"candidateCount": 1}, {"maxOutputTokens": 20}, ()),
    ],
)
def test_no_option_asks_for_more_than_money_was_held_for(
    asked: dict[str, Any], config: dict[str, Any], dropped: tuple[str, ...]
) -> None:
    """The cap and the number of answers are those of the call, in whatever words it was made."""
    body = read(json.dumps({**CAPPED, "generationConfig": asked}).encode()).body
    made = encode(Chat(model="m", body=body), ROW)
    assert json.loads(made.body)["generationConfig"] == config
    assert body.max_output_tokens == config["maxOutputTokens"]
    assert made.dropped == dropped
    typed = sent(max_output_tokens=20, extra={"generationConfig": asked})
    assert typed["generationConfig"] == config


def test_a_cap_in_geminis_words_alone_is_known() -> None:
    """What is held for the call counts it, and a layer can lower it."""
    asked = {"messages": CAPPED["messages"], "generationConfig": {"maxOutputTokens": 60_000}}
    body = read(json.dumps(asked).encode()).body
    assert body.max_output_tokens == 60_000
    lower = replace(body, max_output_tokens=100)
    wire = json.loads(encode(Chat(model="m", body=lower), ROW).body)
    assert wire["generationConfig"] == {"maxOutputTokens": 100}

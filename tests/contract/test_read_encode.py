"""What a dialect writes for a provider it reads again as the same call.

For each dialect that callers speak too. A typed prompt may say what a dialect cannot; what has been
said in it once stays the same for ever. A body of its own comes through byte for byte.
"""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.contract.test_translation import (
    TO_ANTHROPIC,
    TO_OPENAI,
    names,
    options,
    prompts,
    values,
    words,
)
from tests.contract.test_translation_responses import TO_RESPONSES
from trunkline.dialects import load
from trunkline.types import Chat, Deployment, OutputFormat, Prompt, Reasoning, Tool, Wire

ROWS = {row.dialect: row for row in (TO_ANTHROPIC, TO_OPENAI, TO_RESPONSES)}
TO_TEXT = replace(TO_OPENAI, dialect="openai_text")
TO_EMBEDDINGS = replace(TO_OPENAI, dialect="openai_embeddings")
Json = dict[str, Any]

tools = st.builds(
    Tool,
    name=names,
    description=st.none() | words,
    parameters=st.fixed_dictionaries(
        {"type": st.just("object"), "properties": st.dictionaries(names, st.just({}), max_size=2)}
    ),
    strict=st.none() | st.booleans(),
)
formats = st.builds(OutputFormat, schema=st.just({"type": "object", "properties": {}}), name=names)
efforts = st.builds(Reasoning, effort=st.sampled_from(["low", "medium", "high"]))

inputs = words | st.lists(words, min_size=1, max_size=3) | st.lists(st.integers(0, 9), min_size=1)


@st.composite
def asked(draw: st.DrawFn) -> Prompt:
    """Make up a conversation with every option there is."""
    chosen = draw(options)
    if str(chosen.get("tool_choice")).startswith("tool:"):
        chosen["tool_choice"] = "required"
    return replace(
        draw(prompts),
        tools=tuple(draw(st.lists(tools, max_size=2, unique_by=lambda tool: tool.name))),
        output_format=draw(st.none() | formats),
        reasoning=draw(st.none() | efforts),
        **chosen,
    )


def again(chat: Chat, row: Deployment) -> Chat:
    """Encode a call, and read it as the provider does."""
    dialect = load(row.dialect)
    read: Chat = dialect.read(dialect.encode(chat, row).body)
    return read


def wire_of(chat: Chat) -> Wire:
    """Return the body of a call that was read."""
    assert isinstance(chat.body, Wire)
    return chat.body


@pytest.mark.parametrize("name", ROWS)
@settings(max_examples=200)
@given(prompt=asked())
def test_a_call_read_again_is_the_same(name: str, prompt: Prompt) -> None:
    """Typed, it means the same; as it came, it is the same to the last byte."""
    row = ROWS[name]
    once = again(Chat(model="m", body=prompt), row)
    typed = again(replace(once, body=once.prompt), row)
    assert typed.prompt == once.prompt
    assert (typed.model, typed.stream) == (once.model, once.stream)
    relayed = again(once, row)
    assert wire_of(relayed).fields == wire_of(once).fields
    assert relayed.prompt == once.prompt


@given(
    prompt=inputs,
    more=st.dictionaries(names.map("x_{}".format), values, max_size=3),
    cap=st.none() | st.integers(1, 99),
)
def test_a_text_completion_read_again_is_the_same(prompt: Any, more: Json, cap: int | None) -> None:
    """It is relayed, unknown fields too."""
    said = {"model": TO_TEXT.model, "prompt": prompt, "max_tokens": cap, **more}
    chat: Chat = load("openai_text").read(json.dumps(said).encode())
    assert wire_of(again(chat, TO_TEXT)).fields == wire_of(chat).fields


@given(
    given_=inputs,
    size=st.none() | st.integers(1, 99),
    base64=st.booleans(),
)
def test_embeddings_read_again_are_the_same(given_: Any, size: int | None, base64: bool) -> None:
    """Texts or tokens, how many dimensions, and in which format."""
    said = {"model": TO_EMBEDDINGS.model, "input": given_, "dimensions": size}
    said["encoding_format"] = "base64" if base64 else "float"
    dialect = load("openai_embeddings")
    call = dialect.read(json.dumps(said).encode())
    back = dialect.read(dialect.encode(call, TO_EMBEDDINGS).body)
    assert replace(back.body, size_bytes=0) == replace(call.body, size_bytes=0)

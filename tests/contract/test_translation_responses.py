"""Responses <-> the other dialects: what is said in one is said in the other.

`essence` (see `test_translation`) writes down what a prompt says whatever its dialect. Thoughts
cross only with what proves them to whoever gets them; all else keeps its place.
"""

import json
from typing import Any

import pytest
from anthropic.types import Message as SdkMessage
from hypothesis import given, settings
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from tests.contract import test_recordings_anthropic as claude
from tests.contract import test_recordings_openai_chat as gpt
from tests.contract import test_recordings_openai_responses as newer
from tests.contract.test_translation import (
    TO_ANTHROPIC,
    TO_OPENAI,
    Essence,
    anthropic,
    essence,
    openai_chat,
    prompts,
    readable,
    received,
    sent,
    thoughtless,
)
from trunkline.dialects import Dialect
from trunkline.errors import CapabilityMissing, InputError, ProviderError
from trunkline.fold import Fold
from trunkline.types import (
    Audio,
    Chat,
    Cost,
    Deployment,
    Frame,
    Message,
    Prompt,
    Text,
    Thinking,
    ToolCall,
    say,
)

TO_RESPONSES = Deployment(
    provider="p", model="gpt-6", dialect="openai_responses", base_url="http://x.test/v1"
)
responses = newer.responses
CHAT = Chat(id="01J", model="m", body=Prompt(messages=(say("user", "Hi"),)))
RECORDED = pytest.mark.skipif(
    not gpt.RECORDINGS.is_dir(), reason="no recordings; set TRUNKLINE_RECORDINGS"
)
Json = dict[str, Any]


def told(prompt: Prompt) -> Essence:
    """Write down what a prompt says but its thoughts; a file without a name is given one."""
    system, turns = thoughtless(essence(prompt))
    return system, [(role, [known(item) for item in items]) for role, items in turns]


def known(item: tuple[Any, ...]) -> tuple[Any, ...]:
    """Write down an item as it is where the other dialect's own words do not reach."""
    if item[0] == "file":
        return *item[:2], item[2] or "file"
    if item[0] == "result":
        return *item[:2], [known(inner) for inner in readable(item[2])]
    return item


@settings(max_examples=200)
@given(prompts)
def test_a_typed_prompt_is_said_whole(prompt: Prompt) -> None:
    """Words, pictures, files, calls and results arrive in their order, and again the same."""
    there = sent(prompt, TO_RESPONSES)
    assert told(there) == told(prompt)
    assert sent(there, TO_RESPONSES) == there


@settings(max_examples=200)
@given(prompts)
def test_requests_of_other_dialects_are_said_whole(prompt: Prompt) -> None:
    """From a caller's bytes in a chat, or for Anthropic, to a provider's responses."""
    for dialect, row in ((openai_chat, TO_OPENAI), (anthropic, TO_ANTHROPIC)):
        wire = received(dialect, dialect.encode(Chat(model="m", body=prompt), row).body)
        assert told(sent(wire, TO_RESPONSES)) == told(wire.prompt)


@settings(max_examples=200)
@given(prompts)
def test_a_request_of_responses_is_said_whole_elsewhere(prompt: Prompt) -> None:
    """From a caller's bytes for responses to a chat, and to Anthropic."""
    wire = received(responses, responses.encode(Chat(model="m", body=prompt), TO_RESPONSES).body)
    for row in (TO_OPENAI, TO_ANTHROPIC):
        assert told(sent(wire, row)) == told(wire.prompt)


@RECORDED
def test_recorded_chats_are_said_whole_to_responses() -> None:
    """Every recorded request of every OpenAI-compatible provider, and of Anthropic's."""
    checked = 0
    recorded = [(openai_chat, gpt.records(provider)) for provider in gpt.ANSWERS]
    for dialect, records in [*recorded, (anthropic, claude.records("anthropic"))]:
        for record in records:
            try:
                wire = received(dialect, json.dumps(record["request"]).encode())
                before = told(wire.prompt)
            except InputError:
                continue  # refused for its own sake, or not recorded
            if "store" in wire.fields:
                continue  # which a provider can read, and we cannot
            assert told(sent(wire, TO_RESPONSES)) == before, record["id"]
            checked += 1
    print(f"{checked} recorded requests of other dialects")
    assert checked >= 1400


@RECORDED
def test_recorded_requests_of_responses_are_said_whole_elsewhere() -> None:
    """Every recorded request, but those that need what OpenAI's server holds."""
    checked = 0
    for provider in newer.ANSWERS:
        for record in newer.records(provider):
            try:
                wire = received(responses, json.dumps(record["request"]).encode())
                before = told(wire.prompt)
            except (CapabilityMissing, InputError):
                continue
            for row in (TO_OPENAI, TO_ANTHROPIC):
                again = sent(wire, row)
                assert told(again) == before, (record["id"], row.dialect)
                wanted = [tool.name for tool in wire.prompt.tools if tool.kind == "function"]
                assert [t.name for t in again.tools if t.kind == "function"] == wanted
            checked += 1
    print(f"{checked} recorded requests of responses")
    assert checked >= 310


# --- answers --------------------------------------------------------------------------------------


def spelled(dialect: Dialect, frames: list[Frame]) -> bytes:
    """Spell an answer whole in another dialect."""
    return dialect.write(CHAT, "another").whole(frames, Cost(7))


def message_of(frames: list[Frame]) -> Message:
    """Put an answer together."""
    fold = Fold()
    for event in (event for frame in frames for event in frame.events):
        fold.add(event)
    return fold.message()


@RECORDED
def test_recorded_answers_of_responses_reach_other_clients() -> None:
    """Words, calls and thoughts of every recorded answer, in types the SDKs take strictly."""
    checked = 0
    for id_, body in newer.answers(*newer.ANSWERS):
        frames, _ = newer.frames_of(body, newer.at_once)
        said = message_of(frames)
        thought = "".join(p.text for p in said.parts if isinstance(p, Thinking))
        chat = ChatCompletion.model_validate_json(spelled(openai_chat, frames), strict=True)
        assert (chat.choices[0].message.content or "") == said.text, id_
        made = chat.choices[0].message.tool_calls or []
        assert [call.id for call in made] == [call.id for call in said.tool_calls], id_
        extra = chat.choices[0].message.model_extra or {}
        assert extra.get("reasoning_content", "") == thought, id_
        claudes = SdkMessage.model_validate_json(spelled(anthropic, frames), strict=True)
        words = "".join(block.text for block in claudes.content if block.type == "text")
        assert words == said.text, id_
        names = [block.name for block in claudes.content if block.type == "tool_use"]
        assert names == [call.name for call in said.tool_calls], id_
        checked += 1
    print(f"{checked} recorded answers for other clients")
    assert checked >= 380


@RECORDED
def test_recorded_answers_of_others_reach_clients_of_responses() -> None:
    """Every recorded answer of the Messages API and of OpenAI, as the SDK's strict `Response`."""
    checked = 0
    for id_, body in [*claude.answers("anthropic"), *gpt.answers("openai")]:
        try:
            source = claude if b'"choices"' not in body[:4000] else gpt
            frames = source.frames_of(body, source.at_once)[0]
            said = message_of(frames)
        except ProviderError:
            continue
        response = Response.model_validate_json(spelled(responses, frames), strict=True)
        words = "".join(part.text for part in said.parts if isinstance(part, Text))
        if not any(isinstance(part, Audio) for part in said.parts):
            assert response.output_text == words, id_
        made = [item.call_id for item in response.output if item.type == "function_call"]
        wanted = [p.id for p in said.parts if isinstance(p, ToolCall) and p.kind == "function"]
        assert made == wanted, id_
        checked += 1
    print(f"{checked} recorded answers of others")
    assert checked >= 600

"""OpenAI <-> Anthropic: what is said in one dialect is said in the other.

`essence` writes down what a prompt says whatever its dialect: who said which words, pictures,
files, calls and results in which order. Prompts made up by hypothesis and every recorded request
keep it in both directions, and every recorded answer reaches a client of the other dialect as it
was. What is lost is named here, once:

- to Anthropic: names of messages, blanks, thoughts nobody signed; a refusal becomes words, ids are
  written in the letters the API takes, free text for a custom tool becomes an object;
- to OpenAI: thoughts in old messages, whether a result is an error, blocks only Anthropic knows
  (of those with words to read, the words stay); pictures inside a result follow it as the user's.
"""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from anthropic.types import Message as SdkMessage
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from tests.contract import test_recordings_anthropic as claude
from tests.contract import test_recordings_openai_chat as gpt
from trunkline.dialects import Dialect, load
from trunkline.dialects.anthropic.spell import fit, is_proven
from trunkline.errors import CapabilityMissing, InputError
from trunkline.fold import Fold
from trunkline.transport.sse import SseSplitter
from trunkline.types import (
    AnyPart,
    Audio,
    Chat,
    Cost,
    Deployment,
    File,
    Finish,
    Frame,
    Image,
    Memo,
    Message,
    Prompt,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Usage,
    UsageReport,
    Wire,
    say,
)

anthropic, openai_chat = load("anthropic"), load("openai_chat")
Json = dict[str, Any]
Essence = tuple[list[str], list[tuple[str, list[Any]]]]
TO_ANTHROPIC = Deployment(
    provider="p", model="claude-sonnet-4-5", dialect="anthropic", base_url="http://x.test/v1"
)
TO_OPENAI = Deployment(provider="p", model="gpt-4o", base_url="http://x.test/v1")


# --- what a prompt says ---------------------------------------------------------------------------


def essence(prompt: Prompt) -> Essence:
    """Return the system's words, and turns that alternate, results of tools first in each."""
    system: list[str] = []
    turns: list[tuple[str, list[Any]]] = []
    for message in prompt.messages:
        items = [item for part in message.parts for item in said(part)]
        if message.role in {"system", "developer"}:
            system += [item[1] for item in items]
        elif items:
            role = "assistant" if message.role == "assistant" else "user"
            if not turns or turns[-1][0] != role:
                turns.append((role, []))
            turns[-1][1].extend(items)
    for role, items in turns:
        if role == "user":
            items.sort(key=lambda item: item[0] != "result")
    if system and not turns:  # then they are the user's
        return [], [("user", [("text", words) for words in system])]
    if turns and turns[-1][0] == "assistant" and turns[-1][1][-1][0] == "text":
        turns[-1][1][-1] = ("text", turns[-1][1][-1][1].rstrip())
    return system, turns


def said(part: AnyPart) -> Iterable[tuple[Any, ...]]:
    """Write down one part; what says nothing is left out."""
    if isinstance(part, Text) and "anthropic" in part.extra:
        yield "own", part.extra["anthropic"], part.text
    elif isinstance(part, Text | Refusal):
        if part.text.strip():
            yield "text", part.text
    elif isinstance(part, Thinking):
        if is_proven(part):
            yield "thought", part.text, part.signature, part.redacted
    elif isinstance(part, Image):
        yield "image", part.url or part.data
    elif isinstance(part, File):
        yield "file", part.id or part.url or part.data, part.name
    elif isinstance(part, ToolCall):
        yield "call", fit(part.id), part.name, arguments(part.arguments)
    elif isinstance(part, ToolResult):
        yield "result", fit(part.id), [item for inner in part.parts for item in said(inner)]


def arguments(text: str) -> Json:
    """Return arguments as the object they are, or are made."""
    try:
        value = json.loads(text)
    except ValueError:
        return {"input": text}
    return value if isinstance(value, dict) else {"input": text}


def errors_told(prompt: Prompt) -> list[tuple[str, bool]]:
    """Return which results are errors."""
    return [(fit(p.id), p.is_error) for p in prompt.parts() if isinstance(p, ToolResult)]


def sent(body: Prompt | Wire, deployment: Deployment) -> Prompt:
    """Encode a request for a provider, and read it as the provider does."""
    dialect = load(deployment.dialect)
    outgoing = dialect.encode(Chat(model="m", body=body), deployment)
    return received(dialect, outgoing.body).prompt


def received(dialect: Dialect, body: bytes) -> Wire:
    """Read a request."""
    wire = dialect.read(body).body
    assert isinstance(wire, Wire)
    return wire


# --- prompts made up ------------------------------------------------------------------------------

words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
ids = st.text(st.sampled_from("abcZ019_-:. |"), min_size=1, max_size=9)
names = st.text(st.sampled_from("abc_1"), min_size=1, max_size=6)
data64 = st.sampled_from(["iVBORw0KGgo=", "/9j/4AAQ", "UklGRg==", "QUJD"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=6,
)
objects = st.dictionaries(words, values, max_size=3)
texts = st.builds(Text, text=words)
images = st.builds(Image, url=st.just("https://x.test/a.png")) | st.builds(
    Image, data=data64, media_type=st.just("image/png")
)
files = st.builds(File, data=data64, media_type=st.just("application/pdf"), name=names)
thoughts = st.builds(Thinking, text=st.just("") | words, signature=st.none() | words)
thoughts |= st.builds(Thinking, redacted=words)
calls = st.builds(ToolCall, id=ids, name=names, arguments=objects.map(json.dumps))


orders = st.builds(say, st.sampled_from(["system", "developer"]), words)


@st.composite
def exchanges(draw: st.DrawFn) -> list[Message]:
    """Make up one round: a question, an answer with calls, and a result for each call."""
    asked = draw(st.lists(texts | images | files, min_size=1, max_size=3))
    made = draw(st.lists(calls, max_size=3, unique_by=lambda call: fit(call.id)))
    told = draw(st.lists(thoughts, max_size=2)) + draw(st.lists(texts, max_size=1))
    results = [
        ToolResult(id=call.id, parts=tuple(draw(st.lists(texts, max_size=2)))) for call in made
    ]
    return [
        *draw(
            st.lists(st.builds(say, st.sampled_from(["system", "developer"]), words), max_size=1)
        ),
        Message(role="user", parts=tuple(asked)),
        Message(role="assistant", parts=(*told, *made)),
        *(Message(role="tool", parts=(result,)) for result in results),
    ]


prompts = (
    st.lists(exchanges(), min_size=1, max_size=3)
    .map(lambda rounds: Prompt(messages=tuple(message for one in rounds for message in one)))
    .filter(lambda prompt: essence(prompt)[1] != [])  # blanks alone are refused
)


@given(prompts)
def test_a_typed_prompt_is_said_whole_to_anthropic(prompt: Prompt) -> None:
    """Words, pictures, files, calls, results and proven thoughts arrive in their order."""
    assert essence(sent(prompt, TO_ANTHROPIC)) == essence(prompt)


@given(prompts)
def test_a_request_of_openai_is_said_whole_to_anthropic(prompt: Prompt) -> None:
    """From a caller's bytes in OpenAI's dialect to a provider's in Anthropic's."""
    wire = received(openai_chat, openai_chat.encode(Chat(model="m", body=prompt), TO_OPENAI).body)
    assert essence(sent(wire, TO_ANTHROPIC)) == essence(wire.prompt)
    assert thoughtless(essence(wire.prompt)) == thoughtless(essence(prompt))


@given(prompts)
def test_a_request_of_anthropic_is_said_whole_to_openai(prompt: Prompt) -> None:
    """From a caller's bytes in Anthropic's dialect to a provider's in OpenAI's."""
    wire = received(anthropic, anthropic.encode(Chat(model="m", body=prompt), TO_ANTHROPIC).body)
    assert thoughtless(essence(sent(wire, TO_OPENAI))) == thoughtless(essence(wire.prompt))


@given(prompts, st.booleans())
def test_errors_of_tools_are_told_to_anthropic(prompt: Prompt, failed: bool) -> None:
    """A result says whether it is an error, where the dialect has a word for it."""
    messages = tuple(
        Message(role="tool", parts=(ToolResult(id=p.id, parts=p.parts, is_error=failed),))
        if isinstance(p := message.parts[0], ToolResult)
        else message
        for message in prompt.messages
        if message.parts
    )
    changed = Prompt(messages=messages)
    assert errors_told(sent(changed, TO_ANTHROPIC)) == errors_told(changed)


def thoughtless(said_in: Essence) -> Essence:
    """Leave out what OpenAI's dialect has no place for."""
    system, turns = said_in
    kept = [(role, readable(items)) for role, items in turns]
    return system, joined((role, items) for role, items in kept if items)


def readable(items: list[Any]) -> list[Any]:
    """Leave thoughts out, and of blocks only Anthropic knows all but their words."""
    words_of = [("text", item[2]) if item[0] == "own" else item for item in items]
    return [item for item in words_of if item[0] != "thought" and item != ("text", "")]


def joined(turns: Iterable[tuple[str, list[Any]]]) -> list[tuple[str, list[Any]]]:
    """Join turns of one side that stand in a row now."""
    whole: list[tuple[str, list[Any]]] = []
    for role, items in turns:
        if whole and whole[-1][0] == role:
            whole[-1][1].extend(items)
        else:
            whole.append((role, list(items)))
    return whole


options = st.fixed_dictionaries(
    {},
    optional={
        "tool_choice": st.sampled_from(["auto", "none", "required", "tool:f"]),
        "parallel_tool_calls": st.just(False),
        "max_output_tokens": st.integers(1, 9999),
        "temperature": st.floats(0, 1),
        "top_k": st.integers(1, 100),
        "stop": st.lists(names, max_size=2).map(tuple),
        "end_user": words,
    },
)


@given(options)
def test_options_both_dialects_know_are_kept(options: Json) -> None:
    """Choice of tools, caps, sampling, stops and the user mean the same on both sides."""
    tool = Tool(name="f", description="d", parameters={"type": "object", "properties": {}})
    prompt = Prompt(messages=(say("user", "Hi"),), tools=(tool,), **options)
    there = sent(prompt, TO_ANTHROPIC)
    wire = received(openai_chat, openai_chat.encode(Chat(model="m", body=there), TO_OPENAI).body)
    for one in (there, sent(wire, TO_ANTHROPIC)):
        assert one.tools == prompt.tools
        for name, value in options.items():
            if name == "parallel_tool_calls" and options.get("tool_choice") == "none":
                continue  # nothing is called, so nothing can be called alone
            assert getattr(one, name) == value, name


# --- recorded requests ----------------------------------------------------------------------------


@pytest.mark.skipif(not gpt.RECORDINGS.is_dir(), reason="no recordings; set TRUNKLINE_RECORDINGS")
def test_recorded_requests_of_openai_are_said_whole_to_anthropic() -> None:
    """Every recorded request of every OpenAI-compatible provider."""
    checked, sounds = 0, 0
    for provider in gpt.ANSWERS:
        for record in gpt.records(provider):
            try:
                wire = received(openai_chat, json.dumps(record["request"]).encode())
                again = sent(wire, TO_ANTHROPIC)
            except CapabilityMissing:
                assert any(isinstance(part, Audio) for part in wire.prompt.parts())
                sounds += 1
                continue
            except InputError:
                continue  # refused for its own sake, or not recorded
            assert essence(again) == essence(wire.prompt), record["id"]
            functions = [tool.name for tool in wire.prompt.tools if tool.kind == "function"]
            assert [tool.name for tool in again.tools] == functions, record["id"]
            assert again.end_user == wire.prompt.end_user
            checked += 1
    print(f"{checked} recorded requests of OpenAI's dialect, {sounds} with sound")
    assert checked >= 1140


@pytest.mark.skipif(not gpt.RECORDINGS.is_dir(), reason="no recordings; set TRUNKLINE_RECORDINGS")
def test_recorded_requests_of_anthropic_are_said_whole_to_openai() -> None:
    """Every recorded request of the Messages API."""
    checked = 0
    for record in claude.records("anthropic"):
        try:
            wire = received(anthropic, json.dumps(record["request"]).encode())
        except InputError:
            continue
        again = sent(wire, TO_OPENAI)
        assert thoughtless(flat(again)) == thoughtless(flat(wire.prompt)), record["id"]
        functions = [tool.name for tool in wire.prompt.tools if tool.kind == "function"]
        assert [tool.name for tool in again.tools] == functions, record["id"]
        checked += 1
    print(f"{checked} recorded requests of Anthropic's dialect")
    assert checked >= 340


def flat(prompt: Prompt) -> Essence:
    """Write down a prompt as OpenAI's dialect can say it: pictures of a result behind it."""
    system, turns = essence(prompt)
    told = []
    for role, items in turns:
        results = [item for item in items if item[0] == "result"]
        inner = [(result[1], readable(result[2])) for result in results]
        shown = [item for _, items in inner for item in items if item[0] != "text"]
        texts = [("result", id_, [i for i in items if i[0] == "text"]) for id_, items in inner]
        told.append((role, [*texts, *shown, *(item for item in items if item[0] != "result")]))
    return system, told


# --- recorded answers -----------------------------------------------------------------------------

CHAT = Chat(
    id="01J",
    model="m",
    body=Prompt(messages=(say("user", "Hi"),), extra={"stream_options": {"include_usage": True}}),
)


def frames_of(dialect: Dialect, body: bytes) -> list[Frame]:
    """Decode an answer, whole or a stream."""
    memo = Memo()
    if body.lstrip().startswith(b"{"):
        return [dialect.decode(body, memo)]
    splitter = SseSplitter()
    blocks = [*splitter.feed(body), splitter.rest()]
    return [dialect.decode_frame(block, memo) for block in blocks if block.strip()]


def meaning(frames: list[Frame]) -> tuple[list[Any], str, Usage | None]:
    """Return what an answer says, why it ended, and its usage."""
    fold, finish, usage = Fold(), "", None
    for event in (event for frame in frames for event in frame.events):
        fold.add(event)
        if isinstance(event, Finish) and event.choice == 0:
            finish = event.reason
        elif isinstance(event, UsageReport):
            usage = event.usage
    return list(fold.message().parts), finish, usage


def answered(parts: list[Any]) -> dict[str, Any]:
    """Write down an answer as any dialect can say it."""
    calls = [part for part in parts if isinstance(part, ToolCall)]
    heard = (part.transcript or "" for part in parts if isinstance(part, Audio))
    spoken = (part.text for part in parts if isinstance(part, Text | Refusal))
    return {
        "text": "".join([*spoken, *heard]),
        "thinking": "".join(part.text for part in parts if isinstance(part, Thinking)),
        "calls": [(call.id, call.name, arguments(call.arguments)) for call in calls],
    }


FINISHES = {"unknown": "length", "error": "length", "pause": "length"}


@pytest.mark.skipif(not gpt.RECORDINGS.is_dir(), reason="no recordings; set TRUNKLINE_RECORDINGS")
def test_recorded_answers_of_anthropic_reach_clients_of_openai() -> None:
    """Text, thought, calls, finish and usage survive, whole and streamed."""
    checked = 0
    for id_, body in claude.answers("anthropic"):
        frames = frames_of(anthropic, body)
        parts, finish, usage = meaning(frames)
        writer = openai_chat.write(CHAT, "anthropic")
        stream = b"".join(writer.frame(frame) for frame in frames) + writer.end(Cost(7))
        whole = openai_chat.write(CHAT, "anthropic").whole(frames, Cost(7))
        ChatCompletion.model_validate_json(whole)
        for spelling in (stream, whole):
            again, reason, told = meaning(frames_of(openai_chat, spelling))
            assert answered(again) == answered(parts), id_
            assert reason == FINISHES.get(finish, finish), id_
            assert without_cost(told, hour=False) == without_cost(usage, hour=False), id_
        checked += 1
    print(f"{checked} recorded answers of Anthropic's dialect")
    assert checked >= 364


@pytest.mark.skipif(not gpt.RECORDINGS.is_dir(), reason="no recordings; set TRUNKLINE_RECORDINGS")
def test_what_proves_a_thought_survives_a_client_of_openai() -> None:
    """Claude's answer, sent back by a client of OpenAI's dialect, returns byte for byte."""
    checked = 0
    for id_, body in claude.answers("anthropic"):
        frames = frames_of(anthropic, body)
        parts, _, _ = meaning(frames)
        proofs = [(p.text, p.signature, p.redacted) for p in parts if isinstance(p, Thinking)]
        if not any(signature or redacted for _, signature, redacted in proofs):
            continue
        whole = json.loads(openai_chat.write(CHAT, "anthropic").whole(frames, Cost(7)))
        messages = [{"role": "user", "content": "Hi"}, whole["choices"][0]["message"]]
        messages.append({"role": "user", "content": "Go on."})
        back = sent(
            received(openai_chat, json.dumps({"messages": messages}).encode()), TO_ANTHROPIC
        )
        again = [p for message in back.messages for p in message.parts if isinstance(p, Thinking)]
        assert [(p.text, p.signature, p.redacted) for p in again] == proofs, id_
        checked += 1
    print(f"{checked} recorded answers with proven thoughts")
    assert checked >= 45


@pytest.mark.skipif(not gpt.RECORDINGS.is_dir(), reason="no recordings; set TRUNKLINE_RECORDINGS")
@pytest.mark.parametrize("provider", gpt.ANSWERS)
def test_recorded_answers_of_openai_reach_clients_of_anthropic(provider: str) -> None:
    """Text, thought, calls, finish and usage survive, whole and streamed."""
    for id_, body in gpt.answers(provider):
        frames = frames_of(openai_chat, body)
        parts, finish, usage = meaning(frames)
        refused = any(isinstance(part, Refusal) for part in parts)
        writer = anthropic.write(CHAT, "openai_chat")
        stream = b"".join(writer.frame(frame) for frame in frames) + writer.end(Cost(7))
        whole = anthropic.write(CHAT, "openai_chat").whole(frames, Cost(7))
        SdkMessage.model_validate_json(whole, strict=True)
        for spelling in (stream, whole):
            again, reason, told = meaning(frames_of(anthropic, spelling))
            assert answered(again) == answered(parts), id_
            expected = FINISHES.get(finish, finish)
            if refused and finish == "stop":
                expected = "content_filter"
            assert reason == expected, id_
            if usage is not None:
                assert without_cost(told) == without_cost(usage), id_


def without_cost(usage: Usage | None, *, hour: bool = True) -> Usage | None:
    """Leave out what has no place in the other dialect: cost, sound, OpenAI has one cache."""
    if usage is None:
        return None
    return Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens if hour else 0,
        reasoning_tokens=usage.reasoning_tokens,
    )

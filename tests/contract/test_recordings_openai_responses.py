"""Every recorded answer of the Responses API decodes to what its body says.

Nobody on this project wrote the recordings. What a body says is read here by plain JSON, apart
from the dialect's own code: items in their order with text, thought, proof, calls and whatever
only this API knows, why it ended, and usage; whole and streamed, also in random byte splits.
"""

import base64
import gzip
import json
import os
import random
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter, ValidationError

from tests.wire import ask
from trunkline.clock import SystemClock
from trunkline.dialects import load
from trunkline.errors import (
    AuthFailed,
    CapabilityMissing,
    ContextTooLong,
    ProviderError,
    QuotaExhausted,
    Refused,
    RequestTooLarge,
    UpstreamNotFound,
)
from trunkline.fold import Fold
from trunkline.testing import FakeUpstream, replay
from trunkline.transport import Transport
from trunkline.transport.sse import SseSplitter
from trunkline.types import (
    Chat,
    Cost,
    Deployment,
    Finish,
    Frame,
    Mark,
    Memo,
    Prompt,
    Started,
    Text,
    Thinking,
    ToolCall,
    Usage,
    UsageReport,
    say,
)

RECORDINGS = Path(__file__).parents[2] / os.environ.get(
    "TRUNKLINE_RECORDINGS", "../shared/recordings"
)
# How many answers (whole and streamed) of each provider must be checked at least.
ANSWERS = {
    "openai": 266,
    "azure_openai": 19,
    "xai": 62,
    "openai_codex": 10,
    "copilot": 7,
    "lmstudio_or_open_responses": 6,
    "bedrock": 4,
    "deepseek": 3,
    "openrouter": 2,
    "other_compat": 2,
    "llamacpp": 1,
    "mistralrs": 1,
    "other": 1,
}
FAILED = {"1469166ff0326a04": RequestTooLarge, "ce515ad08b564a26": QuotaExhausted}
"""Streams that fail under a 200."""
SHORTENED = "8e36ded1f634645d"
"""Whoever recorded this stream took most of its deltas out."""
responses = load("openai_responses")
CHAT = Chat(id="01J", model="m", body=Prompt(messages=(say("user", "Hi"),)))
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
Json = dict[str, Any]

pytestmark = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason=f"no recordings at {RECORDINGS}; set TRUNKLINE_RECORDINGS"
)


@cache
def records(provider: str) -> list[Json]:
    """Read the records of one provider that speak the Responses API, bodies as bytes."""
    found = []
    with gzip.open(RECORDINGS / f"{provider}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            if record["endpoint"] == "responses":
                body = record["response_body"]
                encoded = record["body_encoding"] == "base64"
                record["body"] = base64.b64decode(body) if encoded else body.encode()
                found.append(record)
    return found


def answers(*providers: str) -> Iterator[tuple[str, bytes]]:
    """Give the id and body of each answer that is no error.

    Some files of one project hold several streams in a row, as no server sends them.
    """
    for record in (record for provider in providers for record in records(provider)):
        several = record["body"].count(b"event: response.created") > 1
        if record["response_status"] < 400 and not several and record["id"] not in FAILED:
            yield record["id"], record["body"]


def is_whole(body: bytes) -> bool:
    """Tell a whole answer from a stream."""
    return body.lstrip().startswith(b"{")


def data_of(body: bytes) -> list[Json]:
    """Return the data of each event."""
    lines = [line[5:].strip() for line in body.split(b"\n") if line.startswith(b"data:")]
    return [json.loads(line) for line in lines if line not in {b"", b"[DONE]"}]


# --- the independent reading ----------------------------------------------------------------------


def said_in(body: bytes) -> Json:
    """Read an answer by plain JSON: the response; of a stream the last, with the items it did."""
    if is_whole(body):
        response: Json = json.loads(body)
        return response
    events = data_of(body)
    last: Json = next(
        e for e in events if e["type"] in {"response.completed", "response.incomplete"}
    )
    done = [e["item"] for e in events if e["type"] == "response.output_item.done"]
    response = dict(last["response"])
    return response | {"output": done or response["output"]}


def expected(item: Json) -> Iterator[tuple[Any, ...]]:
    """Write down what an item says."""
    kind = item["type"]
    if kind == "message":
        for part in item["content"]:
            if part.get("text") or part.get("refusal") or item.get("phase"):
                yield "text", part.get("text") or part.get("refusal")
    elif kind == "reasoning":
        words = [*(item.get("summary") or ()), *(item.get("content") or ())]
        text = "".join(part["text"] for part in words)
        yield "thought", text, item.get("encrypted_content") or None
    elif kind == "function_call":
        yield "call", item["call_id"], item["name"], item["arguments"] or "{}"
    elif kind == "custom_tool_call":
        yield "custom", item["call_id"], item["name"], item["input"]
    else:
        yield "own", item


def found_in(frames: list[Frame]) -> Iterator[tuple[Any, ...]]:
    """Write down what the dialect found."""
    fold = Fold()
    for event in (event for frame in frames for event in frame.events):
        fold.add(event)
    for part in fold.message().parts:
        own = part.extra.get("openai_responses", {})
        if isinstance(part, Text) and "type" in own:
            yield "own", own
        elif isinstance(part, Thinking):
            yield "thought", part.text.replace("\n\n", ""), part.signature
        elif isinstance(part, ToolCall):
            kind = "custom" if part.kind == "custom" else "call"
            yield kind, part.id, part.name, part.arguments
        else:
            assert isinstance(part, Text)
            yield "text", part.text


def plain(said: tuple[Any, ...]) -> tuple[Any, ...]:
    """Leave out how the parts of a thought are kept apart."""
    return (said[0], said[1].replace("\n\n", ""), said[2]) if said[0] == "thought" else said


def usage_in(response: Json) -> Usage:
    """Read usage by the rules of `wire.md`: cached is in input, reasoning is in output."""
    wire = response["usage"]
    given = wire.get("input_tokens_details") or {}
    made = wire.get("output_tokens_details") or {}
    cached = min(given.get("cached_tokens") or 0, wire["input_tokens"])
    cost = wire["cost_in_usd_ticks"] / 10 if "cost_in_usd_ticks" in wire else None
    if "cost" in wire:
        cost = wire["cost"] * 1e9
    tier = response.get("service_tier")
    searched = [
        item
        for item in response["output"]
        if item["type"] == "web_search_call"
        and (item.get("action") or {}).get("type", "search") == "search"
    ]
    counted = ((response.get("tool_usage") or {}).get("web_search") or {}).get("num_requests")
    theirs = (wire.get("server_side_tool_usage_details") or {}).get("web_search_calls")
    numbers = [number for number in (counted, theirs) if number is not None]
    return Usage(
        prompt_tokens=wire["input_tokens"],
        completion_tokens=wire["output_tokens"],
        cache_read_tokens=cached,
        cache_write_tokens=given.get("cache_write_tokens") or 0,
        reasoning_tokens=min(made.get("reasoning_tokens") or 0, wire["output_tokens"]),
        reported_cost_nusd=None if cost is None else round(cost),
        service_tier=tier if tier not in {None, "default", "auto"} else "",
        web_search_requests=numbers[0] if numbers else len(searched),
    )


def reason_in(response: Json) -> str:
    """Return why a response ended, in our words."""
    if response.get("status", "completed") == "incomplete":
        return {"max_output_tokens": "length"}[response["incomplete_details"]["reason"]]
    calls = {"function_call", "custom_tool_call"}
    called = any(item["type"] in calls for item in response["output"])
    return "tool_calls" if called else "stop"


def differences(body: bytes, frames: list[Frame]) -> Iterator[str]:
    """Say where the dialect's reading of an answer differs from the plain one."""
    response = said_in(body)
    wanted = [plain(said) for item in response["output"] for said in expected(item)]
    found = list(found_in(frames))
    if found != wanted:
        yield f"items {found} are not {wanted}"
    events = [event for frame in frames for event in frame.events]
    reasons = [event.reason for event in events if isinstance(event, Finish)]
    if reasons != [reason_in(response)]:
        yield f"finish {reasons} is not {reason_in(response)}"
    usages = [event.usage for event in events if isinstance(event, UsageReport)]
    if usages != ([usage_in(response)] if response.get("usage") else []):
        yield f"usage {usages} is not {response['usage']}"
    [started] = [event for event in events if isinstance(event, Started)]
    if started.model != response["model"] or bool(started.id) != bool(response["id"]):
        yield f"started {started} is not {response['id']}, {response['model']}"


# --- the tests ------------------------------------------------------------------------------------


def frames_of(body: bytes, split: Callable[[bytes], list[bytes]]) -> tuple[list[Frame], Memo]:
    """Decode an answer as transport does, up to its end, a stream in the pieces `split` makes."""
    memo = Memo()
    if is_whole(body):
        return [responses.decode(body, memo)], memo
    splitter = SseSplitter()
    frames: list[Frame] = []
    blocks = [block for piece in split(body) for block in splitter.feed(piece)]
    for block in [*blocks, splitter.rest()]:
        frames.append(responses.decode_frame(block, memo))
        if frames[-1].terminal:
            break
    return frames, memo


def at_once(body: bytes) -> list[bytes]:
    """Leave a body in one piece."""
    return [body]


@pytest.mark.acceptance("G23")
@pytest.mark.parametrize("provider", ANSWERS)
def test_answers_say_what_their_bodies_say(
    provider: str, record_property: Callable[[str, object], None]
) -> None:
    """Each recorded answer decodes to what a plain reading of its JSON finds."""
    whole, streamed, wrong = 0, 0, []
    for id_, body in answers(provider):
        frames, memo = frames_of(body, at_once)
        if id_ != SHORTENED:
            wrong += [f"{id_}: {difference}" for difference in differences(body, frames)]
        if not memo.finished or not frames[-1].terminal:
            wrong.append(f"{id_}: no end was seen")
        whole, streamed = whole + is_whole(body), streamed + (not is_whole(body))
    record_property("answers", whole + streamed)
    print(f"{provider}: {whole} whole and {streamed} streamed recorded answers")
    assert wrong == []
    assert whole + streamed >= ANSWERS[provider]


def test_streams_may_come_in_any_byte_splits() -> None:
    """A stream read in random pieces gives the same answer."""
    chance = random.Random("responses")

    def pieces(body: bytes) -> list[bytes]:
        cuts = sorted(chance.randrange(len(body)) for _ in range(len(body) // 400 + 2))
        return [body[start:end] for start, end in pairwise([0, *cuts, len(body)])]

    for id_, body in answers("openai", "xai"):
        frames, _ = frames_of(body, pieces)
        assert list(differences(body, frames)) == [] or id_ == SHORTENED, id_


def test_marks_tell_no_less_than_the_events() -> None:
    """What a scan says of a frame undecoded is what its events turn out to be."""
    lazy = 0
    for id_, body in answers(*ANSWERS):
        for frame in frames_of(body, at_once)[0]:
            lazy += frame._events is None
            kinds = {type(event) for event in frame.events}
            assert bool(frame.mark & Mark.USAGE) == (UsageReport in kinds), id_
            assert bool(frame.mark & Mark.FINISH) == (Finish in kinds), id_
            assert bool(frame.mark & Mark.SHOWN) >= bool(kinds - {UsageReport, Finish, Started})
    assert lazy >= 1000


def test_answers_can_be_spelled_for_a_client_of_openai() -> None:
    """Spelled anew, an answer satisfies OpenAI's own types; deltas add up to the whole.

    Two of xAI's searches lack what those types want; they came so and stay so.
    """
    unfit = 0
    for id_, body in answers(*ANSWERS):
        frames, _ = frames_of(body, at_once)
        writer = responses.write(CHAT, "another")
        stream = b"".join(writer.frame(frame) for frame in frames) + writer.end(Cost(7))
        whole = responses.write(CHAT, "another").whole(frames, Cost(7))
        events = data_of(stream)
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert events[-1]["response"] == json.loads(whole), id_
        done = [e["item"] for e in events if e["type"] == "response.output_item.done"]
        output = events[-1]["response"]["output"]
        assert sorted(done, key=json.dumps) == sorted(output, key=json.dumps), id_
        again, _ = frames_of(whole, at_once)
        assert list(map(plain, found_in(again))) == list(map(plain, found_in(frames))), id_
        try:
            Response.model_validate_json(whole, strict=True)
            for event in events:
                EVENT.validate_json(json.dumps(event), strict=True)
        except ValidationError:
            unfit += 1
    assert unfit <= 2


def test_relayed_answers_keep_their_bytes() -> None:
    """A caller of the same dialect gets an answer as it is, but for names of nameless events."""
    for id_, body in answers(*ANSWERS):
        frames, _ = frames_of(body, at_once)
        writer = responses.write(CHAT, "openai_responses")
        if is_whole(body):
            assert writer.whole(frames, Cost(7)) == body, id_
            continue
        sent = b"".join(writer.frame(frame) for frame in frames) + writer.end(Cost(7))
        assert data_of(sent) == data_of(b"".join(frame.raw for frame in frames)), id_
        if body.startswith(b"event:"):
            assert body.startswith(sent), id_
        assert sent.count(b"event: ") + sent.count(b"event:r") >= len(data_of(sent)), id_


async def test_streams_survive_the_wire() -> None:
    """Replayed over a socket in random pieces, a recording gives the same events or error."""
    dice, checked = random.Random(1), 0
    async with FakeUpstream() as up:
        transport = Transport(SystemClock())
        for record in (record for provider in ANSWERS for record in records(provider)):
            if not record["stream"] or record["response_status"] != 200:
                continue
            up.script(replay(record).split(dice, 400))
            chat = ask(up.url, stream=True, dialect="openai_responses")
            if record["id"] in FAILED:
                with pytest.raises(FAILED[record["id"]]):
                    await transport.send(chat)
                continue
            reply = await transport.send(chat)
            found = [event async for frame in reply for event in frame.events]
            frames, _ = frames_of(record["body"], at_once)
            assert found == [event for frame in frames for event in frame.events], record["id"]
            assert (reply.outcome, reply.finish is not None) == ("complete", True)
            checked += 1
        await transport.close()
    print(f"{checked} streams over a socket")
    assert checked >= 125


def test_streams_cut_short_have_no_end() -> None:
    """A recorded stream without its last event is not taken for an answer that ended."""
    checked = 0
    for id_, body in answers(*ANSWERS):
        if is_whole(body):
            continue
        last = max(body.rfind(b'"type":"response.' + kind) for kind in (b"completed", b"incomple"))
        last = max(last, body.rfind(b'"type": "response.completed'))
        frames, memo = frames_of(body[: body.rindex(b"\n\n", 0, last) + 2], at_once)
        assert not memo.finished, id_
        assert not any(frame.terminal for frame in frames), id_
        checked += 1
    assert checked >= 125


def test_errors_fall_into_their_class() -> None:
    """Every recorded error maps to the class a reader of its text would choose."""
    checked = 0
    for record in (record for provider in ANSWERS for record in records(provider)):
        status, body = record["response_status"], record["body"]
        if status < 400:
            continue
        error = responses.decode_error(status, {}, body)
        expected: type[ProviderError] = {401: AuthFailed, 400: Refused}[status]
        if b"model_not_found" in body or b"Model not found" in body:
            expected = UpstreamNotFound
        elif b"context window" in body:
            expected = ContextTooLong
        elif b"API key" in body:
            expected = AuthFailed
        assert type(error) is expected, (record["id"], body)
        checked += 1
    print(f"{checked} recorded errors")
    assert checked >= 25


def test_requests_are_relayed_and_understood() -> None:
    """Every recorded request is read, relayed as the same JSON, and typed without a loss.

    Typed, spelled and read again it is the same prompt. Five need what OpenAI's server holds.
    """
    relayed, held = 0, 0
    for record in (record for provider in ANSWERS for record in records(provider)):
        asked = record["request"]
        if not isinstance(asked, dict) or asked.get("input") is None:
            continue
        chat = responses.read(json.dumps(asked).encode())
        row = Deployment(
            provider="p", model=asked["model"], dialect="openai_responses", base_url="http://x/v1"
        )
        sent = json.loads(responses.encode(chat, row).body)
        kept = {k: v for k, v in asked.items() if v is not None and k != "stream"}
        assert {k: v for k, v in sent.items() if k != "stream"} == kept, record["id"]
        relayed += 1
        try:
            typed = replace(chat, body=chat.prompt)
        except CapabilityMissing:
            held += 1
            continue
        again = responses.read(responses.encode(typed, row).body).prompt
        extra = dict(chat.prompt.extra)
        if not extra.get("store"):  # which is said, with what follows from it
            include = [*extra.get("include", []), "reasoning.encrypted_content"]
            extra |= {"store": False, "include": list(dict.fromkeys(include))}
        assert again == replace(chat.prompt, extra=extra), record["id"]
    print(f"{relayed} recorded requests")
    assert relayed >= 320
    assert held == 5

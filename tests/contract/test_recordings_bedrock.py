"""Every recorded answer of Bedrock's Converse decodes to what its body says.

Nobody on this project wrote the recordings. What a body says is read here by plain JSON, and a
stream by botocore's own decoder, apart from the code under test; both readings must agree: blocks
in their order, finish reason and usage, whole and streamed, also in random byte splits and over a
real connection. InvokeModel's streams, which nobody here asks for, prove the framing.
"""

import base64
import gzip
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer

from tests.wire import ask
from trunkline.clock import SystemClock
from trunkline.dialects import bedrock
from trunkline.dialects.bedrock.usage import usage_of
from trunkline.errors import (
    AuthFailed,
    ContextTooLong,
    ProviderError,
    Refused,
    Truncated,
    UpstreamNotFound,
)
from trunkline.fold import Fold
from trunkline.testing import FakeUpstream, replay
from trunkline.transport import Transport
from trunkline.transport.eventstream import MessageSplitter
from trunkline.types import (
    AnyPart,
    Finish,
    Frame,
    Memo,
    Text,
    Thinking,
    ToolCall,
    Usage,
    UsageReport,
)

RECORDINGS = Path(__file__).parents[2] / os.environ.get(
    "TRUNKLINE_RECORDINGS", "../shared/recordings"
)
ENDPOINTS = {"converse", "converse-stream"}
REASONS = {
    "end_turn": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
}
Json = dict[str, Any]

pytestmark = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason=f"no recordings at {RECORDINGS}; set TRUNKLINE_RECORDINGS"
)


@cache
def recorded() -> list[Json]:
    """Read all records, bodies as bytes."""
    found = []
    with gzip.open(RECORDINGS / "bedrock.jsonl.gz", "rt", encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            body = record["response_body"]
            encoded = record["body_encoding"] == "base64"
            record["body"] = base64.b64decode(body) if encoded else body.encode()
            found.append(record)
    return found


def answered() -> Iterator[Json]:
    """Give each answer of Converse that is no error."""
    for record in recorded():
        if record["endpoint"] in ENDPOINTS and record["response_status"] < 400:
            yield record


def is_whole(body: bytes) -> bool:
    """Tell a whole answer from a stream."""
    return body.lstrip()[:1] == b"{"


# --- the independent reading ----------------------------------------------------------------------


def messages_in(body: bytes) -> list[tuple[str, Json]]:
    """Read a stream with botocore: the kind of each message, and what it says."""
    buffer = EventStreamBuffer()
    buffer.add_data(body)
    return [(m.headers[":event-type"], json.loads(m.payload)) for m in buffer]


def said_in(body: bytes) -> Json:
    """Read an answer: its blocks in their order, why it ended, its usage."""
    if is_whole(body):
        answer = json.loads(body)
        content = answer["output"]["message"]["content"]
        told = {"reason": answer["stopReason"], "usage": answer["usage"]}
        return told | {"blocks": content, "trace": answer.get("trace")}
    blocks: dict[int, Json] = {}
    said: Json = {"trace": None}
    for kind, data in messages_in(body):
        index = data.get("contentBlockIndex", 0)
        if kind == "contentBlockStart":
            blocks[index] = {name: {"input": ""} | of for name, of in data["start"].items()}
        elif kind == "contentBlockDelta":
            add(blocks.setdefault(index, {}), data["delta"])
        elif kind == "messageStop":
            said["reason"] = data["stopReason"]
        elif kind == "metadata":
            said["usage"] = data["usage"]
    for block in blocks.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"] or "{}")
        if "toolResult" in block:
            del block["toolResult"]["input"]
    return said | {"blocks": [blocks[index] for index in sorted(blocks)]}


def add(block: Json, delta: Json) -> None:
    """Add a piece to a block."""
    if "text" in delta:
        block["text"] = block.get("text", "") + delta["text"]
    elif "citation" in delta:
        block.setdefault("citations", []).append(delta["citation"])
    elif "toolUse" in delta:
        block["toolUse"]["input"] += delta["toolUse"]["input"]
    elif "toolResult" in delta:
        block["toolResult"].setdefault("content", []).extend(delta["toolResult"])
    else:
        thought = block.setdefault("reasoningContent", {})
        for name, value in delta["reasoningContent"].items():
            thought[name] = thought.get(name, "") + value


def plain(block: Json) -> Json:
    """Write a block down without the places in which whole answers and streams differ."""
    if cited := block.get("citationsContent"):
        text = "".join(one["text"] for one in cited.get("content", ()))
        return {"text": text, "citations": cited["citations"]}
    if thought := block.get("reasoningContent"):
        return {"reasoningContent": thought.get("reasoningText", thought)}
    if "citations" in block:
        return {"text": ""} | block
    call = block.get("toolUse", {})
    if call.get("type") not in {None, "server_tool_use"}:
        block = {"toolUse": {name: call[name] for name in ("toolUseId", "name", "input")}}
    return block


def part_of(part: AnyPart) -> Json:
    """Write down what a part says as the block it was."""
    if isinstance(part, Text):
        own: Json = part.extra.get("bedrock", {})
        if cited := own.get("citationsContent"):
            return {"text": part.text, "citations": cited["citations"]}
        return own or {"text": part.text}
    if isinstance(part, Thinking):
        if part.redacted is not None:
            return {"reasoningContent": {"redactedContent": part.redacted}}
        signed = {"signature": part.signature} if part.signature else {}
        return {"reasoningContent": {"text": part.text} | signed}
    assert isinstance(part, ToolCall)
    call = {"toolUseId": part.id, "name": part.name, "input": json.loads(part.arguments)}
    return {"toolUse": call}


def differences(body: bytes, frames: list[Frame]) -> Iterator[str]:
    """Say where the dialect's reading of an answer differs from the plain one."""
    said = said_in(body)
    fold, finishes, usage = Fold(), [], None
    for event in (event for frame in frames for event in frame.events):
        fold.add(event)
        if isinstance(event, UsageReport):
            usage = event.usage
        elif isinstance(event, Finish):
            finishes.append(event)
    message = fold.message()
    found = [part_of(part) for part in message.parts]
    expected = [plain(block) for block in said["blocks"] if block.get("text") != ""]
    if found != expected:
        yield f"parts {found} are not {expected}"
    wanted = (REASONS[said["reason"]], said["reason"])
    if [(finish.reason, finish.raw) for finish in finishes] != [wanted]:
        yield f"finish {finishes} is not {wanted}"
    if usage != usage_in(said["usage"]):
        yield f"usage {usage} is not {said['usage']}"
    if message.extra.get("trace") != said["trace"]:
        yield "the trace of a guardrail was lost"


def usage_in(wire: Json) -> Usage:
    """Add the numbers of the wire up: what the cache read and wrote stands outside."""
    read, written = wire.get("cacheReadInputTokens", 0), wire.get("cacheWriteInputTokens", 0)
    prompt = wire["inputTokens"] + read + written
    assert wire["totalTokens"] == prompt + wire["outputTokens"]
    long = sum(d["inputTokens"] for d in wire.get("cacheDetails", ()) if d["ttl"] == "1h")
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=wire["outputTokens"],
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=long,
    )


# --- the tests ------------------------------------------------------------------------------------


def frames_of(body: bytes, split: Callable[[bytes], list[bytes]]) -> tuple[list[Frame], Memo]:
    """Decode an answer as transport does, a stream in the pieces `split` makes of it."""
    memo = Memo()
    if is_whole(body):
        return [bedrock.decode(body, memo)], memo
    splitter = MessageSplitter()
    messages = [message for piece in split(body) for message in splitter.feed(piece)]
    assert b"".join(messages) + splitter.rest() == body
    return [bedrock.decode_frame(message, memo) for message in messages], memo


def test_answers_say_what_their_bodies_say(record_property: Callable[[str, object], None]) -> None:
    """Each recorded answer decodes to what a plain reading of it finds."""
    counts, wrong = Counter[str](), []
    for record in answered():
        frames, memo = frames_of(record["body"], lambda body: [body])
        wrong += [f"{record['id']}: {found}" for found in differences(record["body"], frames)]
        if not (memo.finished and frames[-1].terminal):
            wrong.append(f"{record['id']}: no end was seen")
        counts["whole" if is_whole(record["body"]) else "streamed"] += 1
        for block in said_in(record["body"])["blocks"]:
            counts.update(block.keys())
    record_property("answers", counts["whole"] + counts["streamed"])
    print(f"bedrock: {dict(counts)}")
    assert wrong == []
    assert (counts["whole"], counts["streamed"]) >= (94, 43)
    assert counts["reasoningContent"] >= 8


def test_streams_may_come_in_any_byte_splits() -> None:
    """A stream read in random pieces gives the same answer."""
    chance = random.Random("bedrock")

    def pieces(body: bytes) -> list[bytes]:
        cuts = sorted(chance.randrange(len(body)) for _ in range(len(body) // 200 + 2))
        return [body[start:end] for start, end in pairwise([0, *cuts, len(body)])]

    for record in answered():
        frames, _ = frames_of(record["body"], pieces)
        assert list(differences(record["body"], frames)) == [], record["id"]


def test_all_recorded_streams_are_cut_as_botocore_cuts_them() -> None:
    """Those of InvokeModel too: kinds, payloads and both checksums."""
    compared = 0
    for record in recorded():
        if record["body_encoding"] != "base64":
            continue
        found = [bedrock.messages.opened(m) for m in MessageSplitter().feed(record["body"])]
        ours = [(headers[":event-type"], json.loads(payload)) for headers, payload in found]
        assert ours == messages_in(record["body"]), record["id"]
        compared += 1
    print(f"{compared} streams")
    assert compared >= 74


@pytest.mark.slow
async def test_recordings_survive_the_wire_and_cuts_do_not() -> None:
    """Over a real connection every answer says the same; a stream cut before its end fails."""
    dice, counts = random.Random(1), Counter[str]()
    async with FakeUpstream() as up:
        transport = Transport(SystemClock())
        for record in answered():
            answer = replay(record | {"response_headers": {}})
            streamed = not is_whole(record["body"])
            chat = ask(up.url, stream=streamed, dialect="bedrock")
            up.script(answer.split(dice, 400))
            frames = [frame async for frame in await transport.send(chat)]
            assert list(differences(record["body"], frames)) == [], record["id"]
            counts["streamed" if streamed else "whole"] += 1
            if streamed:
                stop = record["body"].index(b"messageStop")
                up.script(replay(cut(record, stop)))
                with pytest.raises(Truncated):
                    async for _ in await transport.send(chat):
                        pass
                counts["cut"] += 1
        await transport.close()
    print(f"over a socket: {dict(counts)}")
    assert (counts["whole"], counts["streamed"], counts["cut"]) >= (94, 43, 43)


def cut(record: Json, size: int) -> Json:
    """Return a recording whose body ends early, in good order by its length."""
    body = base64.b64encode(record["body"][:size]).decode()
    return record | {"response_body": body, "response_headers": {}}


ERRORS = {
    "ExpiredTokenException": AuthFailed,
    "UnrecognizedClientException": AuthFailed,
    "AccessDeniedException": UpstreamNotFound,
    "ResourceNotFoundException": UpstreamNotFound,
}


def test_recorded_errors_are_named() -> None:
    """A model one may not use, or that ended, is not there; the words decide the rest."""
    seen = Counter[type[ProviderError]]()
    for record in recorded():
        if (status := record["response_status"]) < 400:
            continue
        headers = {name.lower(): value for name, value in record["response_headers"].items()}
        error = bedrock.decode_error(status, headers, record["body"])
        kind = headers["x-amzn-errortype"].partition(":")[0]
        wanted: type[ProviderError] = ERRORS.get(kind, UpstreamNotFound)
        if b"Input Tokens Exceeded" in record["body"]:
            wanted = ContextTooLong
        elif b"URL sources" in record["body"]:
            wanted = Refused
        assert type(error) is wanted, record["id"]
        assert error.upstream_code == kind
        seen[type(error)] += 1
    print({kind.__name__: count for kind, count in seen.items()})
    assert seen.total() >= 21


def test_an_independent_reader_finds_the_same_usage() -> None:
    """What pydantic's genai-prices reads from real bodies is what the dialect does."""
    rows = json.loads(gzip.decompress((RECORDINGS / "oracle-usages.json.gz").read_bytes()))
    bodies = [row for row in rows if "inputTokens" in (row["body"].get("usage") or {})]
    compared = 0
    for row in bodies:
        usage = usage_of(row["body"])
        for extracted in row["extracted"]:
            theirs = extracted["usage"]
            assert usage.prompt_tokens == theirs.get("input_tokens", 0)
            assert usage.completion_tokens == theirs.get("output_tokens", 0)
            assert usage.cache_read_tokens == theirs.get("cache_read_tokens", 0)
            assert usage.cache_write_tokens == theirs.get("cache_write_tokens", 0)
            compared += 1
    print(f"{compared} usages")
    assert compared >= 1

"""Every recorded answer of Gemini, of the Gemini API and of Vertex, decodes to what its body says.

Nobody on this project wrote the recordings. What a body says is read here by plain JSON, apart
from the dialect's own code, and both readings must agree: parts in their order with text, thought,
signatures, calls and whatever only Gemini knows, finish reason and usage, whole and streamed, also
in random byte splits and over a real connection.
"""

import base64
import gzip
import json
import os
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.wire import ask
from trunkline.clock import SystemClock
from trunkline.dialects import gemini
from trunkline.dialects.gemini.usage import usage_of
from trunkline.errors import (
    AuthFailed,
    ContextTooLong,
    ProviderError,
    Truncated,
    UpstreamNotFound,
    UpstreamRateLimited,
)
from trunkline.fold import Fold
from trunkline.testing import FakeUpstream, replay
from trunkline.transport import Transport
from trunkline.transport.sse import SseSplitter
from trunkline.types import (
    AnyPart,
    Finish,
    Frame,
    Memo,
    Started,
    Text,
    Thinking,
    ToolCall,
    Usage,
    UsageReport,
)

RECORDINGS = Path(__file__).parents[2] / os.environ.get(
    "TRUNKLINE_RECORDINGS", "../shared/recordings"
)
# How many answers (whole and streamed) of each provider must be checked at least.
ANSWERS = {"gemini": 260, "vertex": 56}
ENDPOINTS = {"generateContent", "streamGenerateContent"}
NUMBERS = {1: "STOP", 2: "MAX_TOKENS", 3: "SAFETY"}
TIERS = {1: "", "ON_DEMAND": "", "PROVISIONED_THROUGHPUT": "provisioned_throughput"}
Json = dict[str, Any]

pytestmark = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason=f"no recordings at {RECORDINGS}; set TRUNKLINE_RECORDINGS"
)


@cache
def records(provider: str) -> list[Json]:
    """Read the records of one provider that generate content, bodies as bytes."""
    found = []
    with gzip.open(RECORDINGS / f"{provider}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            body = record["response_body"]
            encoded = record["body_encoding"] == "base64"
            record["body"] = base64.b64decode(body) if encoded else body.encode()
            if record["endpoint"] in ENDPOINTS:
                found.append(record)
    return found


def answers(provider: str) -> Iterator[tuple[str, bytes]]:
    """Give the id and body of each answer that is no error."""
    for record in answered(provider):
        yield record["id"], record["body"]


def answered(provider: str) -> Iterator[Json]:
    """Give each record that is no error; one lost the blank lines between its events."""
    for record in records(provider):
        if record["response_status"] < 400 and b"}\ndata:" not in record["body"]:
            yield record


def is_whole(body: bytes) -> bool:
    """Tell a whole answer from a stream."""
    return body.lstrip()[:1] in (b"{", b"[")


# --- the independent reading ----------------------------------------------------------------------


def said_in(body: bytes) -> Json:
    """Read an answer by plain JSON: its parts in their order, why it ended, its last usage."""
    pieces = [json.loads(data) for data in re.findall(rb"^data:(.*?)\r?$", body, re.MULTILINE)]
    if is_whole(body):
        pieces = json.loads(body)
        pieces = pieces if isinstance(pieces, list) else [pieces]
    parts: list[Any] = []
    queries: set[str] = set()
    reason: Any = None
    usage = None
    for piece in pieces:
        usage = piece.get("usageMetadata", usage)
        for candidate in piece.get("candidates", ()):
            reason = candidate.get("finishReason", reason)
            queries |= set(candidate.get("groundingMetadata", {}).get("webSearchQueries", ()))
            for part in candidate.get("content", {}).get("parts", ()):
                add(parts, part)
    early = pieces[0].get("modelVersion", "").startswith(("gemini-1", "gemini-2"))
    searches = min(len(queries), 1) if early else len(queries)
    reason = NUMBERS.get(reason, reason)
    return {"parts": parts, "reason": reason, "usage": usage, "searches": searches}


def add(parts: list[Any], part: Json) -> None:
    """Add one part; words that are not signed go on where the last ones stopped."""
    part = {name: value for name, value in part.items() if value is not False}
    call = part.get("functionCall")
    if call is not None and "name" not in call:
        for piece in call.get("partialArgs", ()):
            put(parts[-1]["functionCall"].setdefault("args", {}), piece)
        return
    if "text" not in part:
        parts.append(part)
        return
    signed = "thoughtSignature" in part
    last = parts[-1] if parts else {}
    goes_on = last.keys() == part.keys() - {"thoughtSignature"}
    if goes_on and (not signed or part.get("thought")):
        last["text"] += part["text"]
        last.update({k: v for k, v in part.items() if k == "thoughtSignature"})
    elif part["text"] or signed:
        parts.append(part)


def put(args: Json, piece: Json) -> None:
    """Add a piece of an argument; the paths that were recorded are `$.a` and `$.a[0].b`."""
    value = piece.get("stringValue", piece.get("numberValue"))
    found = re.findall(r"^\$\.(\w+)(?:\[(\d)\]\.(\w+))?$", piece["jsonPath"])
    name, index, inner = found[0]
    if index:
        items = args.setdefault(name, [])
        items.extend({} for _ in range(len(items), int(index) + 1))
        args, name = items[int(index)], inner
    args[name] = args[name] + value if name in args else value


def part_of(part: AnyPart) -> Json:
    """Write down what a part says as the part it was."""
    content = part.extra.get("extra_content", {}).get("google", {})
    signed = {"thoughtSignature": content["thought_signature"]} if content else {}
    if isinstance(part, Text):
        own: Json | None = part.extra.get("gemini")
        return own or {"text": part.text} | signed
    if isinstance(part, Thinking):
        signed = {"thoughtSignature": part.signature} if part.signature else {}
        return {"text": part.text, "thought": True} | signed
    assert isinstance(part, ToolCall)
    call = {"name": part.name, "args": json.loads(part.arguments)}
    return {"functionCall": call} | signed


def plain(part: Json) -> Json:
    """Leave ids out, which may be ours, and that a part is no thought."""
    part = {name: value for name, value in part.items() if value is not False}
    if call := part.get("functionCall"):
        return part | {"functionCall": {"name": call["name"], "args": call.get("args") or {}}}
    return part


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
    found, expected = [part_of(p) for p in message.parts], [plain(p) for p in said["parts"]]
    if [plain(part) for part in found] != expected:
        yield f"parts {found} are not {expected}"
    if len({call.id for call in message.tool_calls}) != len(message.tool_calls):
        yield "two calls have the same id"
    called = any("functionCall" in part for part in said["parts"])
    reason = {"STOP": "tool_calls" if called else "stop", "MAX_TOKENS": "length"}
    wanted = (reason.get(said["reason"], "unknown"), said["reason"])
    if [(finish.reason, finish.raw) for finish in finishes] != [wanted]:
        yield f"finish {finishes} is not {wanted}"
    if usage != usage_in(said["usage"], said["searches"]):
        yield f"usage {usage} is not {said['usage']} with {said['searches']} searches"


def usage_in(wire: Json | None, searches: int) -> Usage | None:
    """Add the numbers of the wire up: thoughts and what tools gave to read stand outside."""
    if not wire:
        return None
    prompt = wire.get("promptTokenCount", 0) + wire.get("toolUsePromptTokenCount", 0)
    thoughts = wire.get("thoughtsTokenCount", 0)
    completion = wire.get("candidatesTokenCount", 0) + thoughts
    if prompt:
        assert wire["totalTokenCount"] == prompt + completion
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cache_read_tokens=wire.get("cachedContentTokenCount", 0),
        reasoning_tokens=thoughts,
        audio_input_tokens=audio_in(wire.get("promptTokensDetails", ())),
        audio_output_tokens=audio_in(wire.get("candidatesTokensDetails", ())),
        service_tier=TIERS[wire.get("trafficType", "ON_DEMAND")],
        web_search_requests=searches,
    )


def audio_in(details: list[Json]) -> int:
    """Count what was heard or spoken."""
    return sum(one["tokenCount"] for one in details if one["modality"] == "AUDIO")


# --- the tests ------------------------------------------------------------------------------------


def frames_of(body: bytes, split: Callable[[bytes], list[bytes]]) -> tuple[list[Frame], Memo]:
    """Decode an answer as transport does, a stream in the pieces `split` makes of it."""
    memo = Memo()
    if is_whole(body):
        return [gemini.decode(body, memo)], memo
    splitter = SseSplitter()
    blocks = [block for piece in split(body) for block in splitter.feed(piece)]
    if rest := splitter.rest():
        blocks.append(rest)
    assert b"".join(blocks) == body
    return [gemini.decode_frame(block, memo) for block in blocks], memo


@pytest.mark.parametrize("provider", ANSWERS)
def test_answers_say_what_their_bodies_say(
    provider: str, record_property: Callable[[str, object], None]
) -> None:
    """Each recorded answer decodes to what a plain reading of its JSON finds."""
    whole, streamed, wrong = 0, 0, []
    for id_, body in answers(provider):
        frames, memo = frames_of(body, lambda body: [body])
        wrong += [f"{id_}: {difference}" for difference in differences(body, frames)]
        if not memo.finished:
            wrong.append(f"{id_}: no end was seen")
        whole, streamed = whole + is_whole(body), streamed + (not is_whole(body))
    record_property("answers", whole + streamed)
    print(f"{provider}: {whole} whole and {streamed} streamed recorded answers")
    assert wrong == []
    assert whole + streamed >= ANSWERS[provider]


def test_streams_may_come_in_any_byte_splits() -> None:
    """A stream read in random pieces gives the same answer."""
    chance = random.Random("gemini")

    def pieces(body: bytes) -> list[bytes]:
        cuts = sorted(chance.randrange(len(body)) for _ in range(len(body) // 200 + 2))
        return [body[start:end] for start, end in pairwise([0, *cuts, len(body)])]

    for provider in ANSWERS:
        for id_, body in answers(provider):
            frames, _ = frames_of(body, pieces)
            assert list(differences(body, frames)) == [], id_


@pytest.mark.slow
async def test_recordings_survive_the_wire_and_cuts_do_not() -> None:
    """Over a real connection every answer says the same; a stream cut before its end fails."""
    dice, counts = random.Random(1), Counter[str]()
    async with FakeUpstream() as up:
        transport = Transport(SystemClock())
        for provider in ANSWERS:
            for record in answered(provider):
                answer = replay(record)
                streamed = not is_whole(record["body"])
                chat = ask(up.url, stream=streamed, dialect="gemini")
                up.script(answer.split(dice, 400))
                frames = [frame async for frame in await transport.send(chat)]
                assert list(differences(record["body"], frames)) == [], record["id"]
                counts[provider] += 1
                if streamed:
                    up.script(answer.cut_after(record["body"].rindex(b"data:")))
                    with pytest.raises(Truncated):
                        async for _ in await transport.send(chat):
                            pass
                    counts["cut"] += 1
        await transport.close()
    print(f"over a socket: {dict(counts)}")
    assert counts["gemini"] >= ANSWERS["gemini"]
    assert counts["cut"] >= 90


def test_signatures_come_as_they_are() -> None:
    """Signatures on calls, on words and on empty words are found, byte for byte."""
    found = Counter[str]()
    for provider in ANSWERS:
        for _, body in answers(provider):
            frames, _ = frames_of(body, lambda body: [body])
            fold = Fold()
            for event in (event for frame in frames for event in frame.events):
                fold.add(event)
            for part in fold.message().parts:
                if signature := part_of(part).get("thoughtSignature"):
                    assert signature.encode() in body
                    empty = isinstance(part, Text) and not part.text
                    found["empty" if empty else type(part).__name__] += 1
    print(dict(found))
    assert found["ToolCall"] >= 60
    assert found["empty"] >= 24
    assert found["Text"] >= 30


ERRORS = {
    ("gemini", 400): AuthFailed,
    ("gemini", 403): AuthFailed,
    ("gemini", 404): UpstreamNotFound,
    ("gemini", 429): UpstreamRateLimited,
    ("vertex", 400): ContextTooLong,
}


def test_recorded_errors_are_named() -> None:
    """A wrong key is an authentication error though it is a 400; a limit says when to return."""
    seen = Counter[type[ProviderError]]()
    for provider in ANSWERS:
        for record in records(provider):
            if (status := record["response_status"]) < 400:
                continue
            error = gemini.decode_error(status, record["response_headers"] or {}, record["body"])
            assert type(error) is ERRORS[provider, status], record["id"]
            if b"retryDelay" in record["body"]:
                assert error.retry_after_s == 48
            seen[type(error)] += 1
    print({kind.__name__: count for kind, count in seen.items()})
    assert seen.total() >= 14


def test_each_answer_says_whose_it_is() -> None:
    """The provider's id and model come once, at the beginning."""
    for provider in ANSWERS:
        for id_, body in answers(provider):
            frames, _ = frames_of(body, lambda body: [body])
            started = [e for frame in frames for e in frame.events if isinstance(e, Started)]
            assert len(started) == (b'"modelVersion"' in body), id_


def test_an_independent_reader_finds_the_same_usage() -> None:
    """What pydantic's genai-prices reads from real bodies is what the dialect does."""
    rows = json.loads(gzip.decompress((RECORDINGS / "oracle-usages.json.gz").read_bytes()))
    bodies = [row for row in rows if "usageMetadata" in row["body"]]
    compared = 0
    for row in bodies:
        usage = usage_of(row["body"]["usageMetadata"])
        for extracted in row["extracted"]:
            theirs = extracted["usage"]
            assert usage.prompt_tokens == theirs.get("input_tokens", 0)
            assert usage.completion_tokens == theirs.get("output_tokens", 0)
            assert usage.cache_read_tokens == theirs.get("cache_read_tokens", 0)
            assert usage.audio_input_tokens == theirs.get("input_audio_tokens", 0)
            assert usage.audio_output_tokens == theirs.get("output_audio_tokens", 0)
            compared += 1
    assert compared >= 451

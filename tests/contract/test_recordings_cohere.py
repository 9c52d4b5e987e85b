"""Every recorded answer of Cohere decodes to what its body says.

Nobody on this project wrote the recordings. What a body says is read here by plain JSON, apart
from the dialect's own code, and both readings must agree: words, thoughts, plan, calls, citations,
finish reason and usage, whole and streamed, in random byte splits and over a real connection.
"""

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
from trunkline.dialects import cohere, load
from trunkline.errors import AuthFailed, ContextTooLong, ProviderError, Truncated, UpstreamNotFound
from trunkline.fold import Fold
from trunkline.testing import FakeUpstream, replay
from trunkline.transport import Transport
from trunkline.transport.sse import SseSplitter
from trunkline.types import Embedded, Finish, Frame, Memo, Thinking, Usage, UsageReport

RECORDINGS = Path(__file__).parents[2] / os.environ.get(
    "TRUNKLINE_RECORDINGS", "../shared/recordings"
)
REASONS = {"COMPLETE": "stop", "MAX_TOKENS": "length", "TOOL_CALL": "tool_calls"}
ERRORS = {400: ContextTooLong, 401: AuthFailed, 404: UpstreamNotFound}
Json = dict[str, Any]

pytestmark = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason=f"no recordings at {RECORDINGS}; set TRUNKLINE_RECORDINGS"
)


@cache
def records() -> list[Json]:
    """Read all records, bodies as bytes."""
    with gzip.open(RECORDINGS / "cohere.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [
            record | {"body": record["response_body"].encode()} for record in map(json.loads, lines)
        ]


def answers() -> Iterator[Json]:
    """Give each answer of version 2 to a chat; one record among them is of embeddings."""
    for record in records():
        good = record["endpoint"] == "cohere.v2.chat" and record["response_status"] < 400
        if good and b'"embeddings"' not in record["body"][:500]:
            yield record


def is_whole(body: bytes) -> bool:
    """Tell a whole answer from a stream."""
    return body.lstrip()[:1] == b"{"


def said_in(body: bytes) -> Json:
    """Read an answer by plain JSON."""
    if is_whole(body):
        data = json.loads(body)
        message = data["message"]
        content = message.get("content") or []
        calls = [call["function"] for call in message.get("tool_calls") or []]
        return {
            "text": "".join(block.get("text", "") for block in content),
            "thought": "".join(block.get("thinking", "") for block in content),
            "plan": message.get("tool_plan") or "",
            "calls": [[call["name"], call["arguments"]] for call in calls],
            "citations": message.get("citations") or [],
            "reason": data["finish_reason"],
            "usage": data.get("usage"),
        }
    told: Json = {"text": "", "thought": "", "plan": "", "calls": [], "citations": []}
    for data in map(json.loads, re.findall(rb"^data: ?(\{.*?)\r?$", body, re.MULTILINE)):
        delta = data.get("delta", {})
        if data["type"] == "message-end":
            told |= {"reason": delta["finish_reason"], "usage": delta["usage"]}
            continue
        if data["type"] == "message-start":
            continue
        message = delta.get("message", {})
        content = message.get("content", {})
        told["text"] += content.get("text", "")
        told["thought"] += content.get("thinking", "")
        told["plan"] += message.get("tool_plan", "")
        if (call := message.get("tool_calls")) is not None:
            if data["type"] == "tool-call-start":
                told["calls"].append([call["function"]["name"], ""])
            told["calls"][data["index"]][1] += call["function"]["arguments"]
        if data["type"] == "citation-start":
            told["citations"].append(message["citations"])
    return told


def found_in(frames: list[Frame]) -> Json:
    """Write down what the dialect found in the same form."""
    fold, finish, usage = Fold(), None, None
    for event in (event for frame in frames for event in frame.events):
        fold.add(event)
        if isinstance(event, UsageReport):
            usage = event.usage
        elif isinstance(event, Finish):
            finish = event
    message = fold.message()
    thoughts = [part for part in message.parts if isinstance(part, Thinking)]
    assert finish is not None
    return {
        "text": message.text,
        "thought": "".join(t.text for t in thoughts if t.spelling != "tool_plan"),
        "plan": "".join(t.text for t in thoughts if t.spelling == "tool_plan"),
        "calls": [[call.name, call.arguments] for call in message.tool_calls],
        "citations": message.extra.get("citations", []),
        "finish": (finish.reason, finish.raw),
        "usage": usage,
    }


def expected(body: bytes) -> Json:
    """Say in that form what a body says; Cohere spells no arguments as null or as nothing."""
    said = said_in(body)
    raw, wire = said.pop("reason"), said["usage"]
    said["finish"] = (REASONS[raw], raw)
    said["calls"] = [[n, "{}" if a in {"null", "", None} else a] for n, a in said["calls"]]
    if wire:
        billed = wire["billed_units"]
        thought = wire["tokens"].get("reasoning_tokens", 0)
        said["usage"] = Usage(
            prompt_tokens=billed["input_tokens"],
            completion_tokens=billed["output_tokens"],
            reasoning_tokens=min(thought, billed["output_tokens"]),
        )
    return said


def frames_of(body: bytes, split: Callable[[bytes], list[bytes]]) -> list[Frame]:
    """Decode an answer as transport does, a stream in the pieces `split` makes of it."""
    memo = Memo()
    if is_whole(body):
        frames = [cohere.decode(body, memo)]
    else:
        splitter = SseSplitter()
        blocks = [block for piece in split(body) for block in splitter.feed(piece)]
        blocks.append(splitter.rest())
        frames = [cohere.decode_frame(block, memo) for block in blocks]
    assert memo.finished
    return frames


def test_answers_say_what_their_bodies_say() -> None:
    """Each recorded answer decodes to what a plain reading of its JSON finds."""
    counts = Counter[str]()
    for record in answers():
        frames = frames_of(record["body"], lambda body: [body])
        assert found_in(frames) == expected(record["body"]), record["id"]
        counts["whole" if is_whole(record["body"]) else "streamed"] += 1
        said = said_in(record["body"])
        counts.update(name for name in ("thought", "plan", "calls", "citations") if said[name])
    print(f"cohere: {dict(counts)}")
    assert (counts["whole"], counts["streamed"]) >= (33, 21)
    assert min(counts[name] for name in ("thought", "plan", "calls", "citations")) >= 8


def test_streams_may_come_in_any_byte_splits() -> None:
    """A stream read in random pieces gives the same answer."""
    chance = random.Random("cohere")

    def pieces(body: bytes) -> list[bytes]:
        cuts = sorted(chance.randrange(len(body)) for _ in range(len(body) // 200 + 2))
        return [body[start:end] for start, end in pairwise([0, *cuts, len(body)])]

    for record in answers():
        assert found_in(frames_of(record["body"], pieces)) == expected(record["body"])


@pytest.mark.slow
async def test_recordings_survive_the_wire_and_cuts_do_not() -> None:
    """Over a real connection every answer says the same; a stream cut before its end fails."""
    dice, counts = random.Random(1), Counter[str]()
    async with FakeUpstream() as up:
        transport = Transport(SystemClock())
        for record in answers():
            answer = replay(record)
            streamed = not is_whole(record["body"])
            chat = ask(up.url, stream=streamed, dialect="cohere")
            up.script(answer.split(dice, 400))
            frames = [frame async for frame in await transport.send(chat)]
            assert found_in(frames) == expected(record["body"]), record["id"]
            counts["all"] += 1
            if streamed:
                last = record["body"].rindex(b"data:", 0, record["body"].index(b"billed_units"))
                up.script(answer.cut_after(last))
                with pytest.raises(Truncated):
                    async for _ in await transport.send(chat):
                        pass
                counts["cut"] += 1
        await transport.close()
    assert counts["all"] >= 54
    assert counts["cut"] >= 15


def test_errors_are_named() -> None:
    """Each recorded refusal is of the class that its status and words mean."""
    seen = Counter[type[ProviderError]]()
    for record in records():
        if (status := record["response_status"]) >= 400:
            error = cohere.decode_error(status, {}, record["body"])
            assert type(error) is ERRORS[status], record["id"]
            seen[type(error)] += 1
    assert seen == {ContextTooLong: 1, AuthFailed: 1, UpstreamNotFound: 2}


def test_embeddings_decode() -> None:
    """Each recorded answer with vectors of words gives them all, and what is billed."""
    dialect, seen = load("cohere_embeddings"), 0
    for record in records():
        body = json.loads(record["body"]) if is_whole(record["body"]) else {}
        if "input_tokens" not in body.get("meta", {}).get("billed_units", {}):
            continue
        if "embeddings" in body:
            events = dialect.decode(record["body"], Memo()).events
            [vectors] = [event.vectors for event in events if isinstance(event, Embedded)]
            [report] = [event for event in events if isinstance(event, UsageReport)]
            assert list(vectors) == body["embeddings"]["float"]
            assert report.usage.prompt_tokens == body["meta"]["billed_units"]["input_tokens"]
            seen += 1
    assert seen >= 2

"""Every recorded text completion decodes to what its body says.

Nobody on this project wrote the recordings. What a body says is read here by plain JSON, apart
from the dialect's own code: the text of each choice, why it ended, log probabilities and usage,
whole and streamed, in random byte splits (over a socket: `test_recordings_over_a_socket`).
"""

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
from openai.types import Completion

from trunkline.dialects import load
from trunkline.errors import AuthFailed, InputError, ProviderError, Refused, UpstreamNotFound
from trunkline.fold import Fold
from trunkline.transport.sse import SseSplitter
from trunkline.types import Cost, Deployment, Finish, Frame, Memo, Started, UsageReport

RECORDINGS = Path(__file__).parents[2] / os.environ.get(
    "TRUNKLINE_RECORDINGS", "../shared/recordings"
)
PROVIDERS = ("azure_openai", "ollama_openai_compat", "openai", "other_compat", "vllm")
A_CHAT = "c8c22e541347e543"
"""Somebody's own endpoint, which ends like this one and answers with a chat."""
text = load("openai_text")
Json = dict[str, Any]

pytestmark = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason=f"no recordings at {RECORDINGS}; set TRUNKLINE_RECORDINGS"
)


@cache
def records() -> list[Json]:
    """Read the records of text completions, bodies as bytes."""
    found = []
    for provider in PROVIDERS:
        with gzip.open(RECORDINGS / f"{provider}.jsonl.gz", "rt", encoding="utf-8") as lines:
            for record in map(json.loads, lines):
                if record["endpoint"] == "completions" and record["id"] != A_CHAT:
                    found.append(record | {"body": record["response_body"].encode()})
    return found


def answers() -> Iterator[Json]:
    """Give each that is no error."""
    return (record for record in records() if record["response_status"] < 400)


def objects_in(body: bytes) -> list[Json]:
    """Read a body by plain JSON: the whole, or the data of each event."""
    if body.lstrip().startswith(b"{"):
        return [json.loads(body)]
    lines = (line[5:].strip() for line in body.split(b"\n") if line.startswith(b"data:"))
    return [json.loads(line) for line in lines if line != b"[DONE]"]


def said_in(body: bytes) -> Json:
    """Write down what a body says of each choice, and its usage."""
    words: dict[int, str] = {}
    reasons: dict[int, str | None] = {}
    logprobs: dict[int, Any] = {}
    usage = None
    for one in objects_in(body):
        usage = one.get("usage") or usage
        for choice in one["choices"]:
            index = choice["index"]
            words[index] = words.get(index, "") + choice["text"]
            reasons[index] = choice["finish_reason"] or reasons.get(index)
            if choice.get("logprobs"):
                logprobs[index] = choice["logprobs"]
    return {
        "texts": words,
        "reasons": reasons,
        "logprobs": logprobs,
        "usage": usage and (usage["prompt_tokens"], usage["completion_tokens"]),
        "model": objects_in(body)[0]["model"],
    }


def found_in(frames: list[Frame]) -> Json:
    """Write down in the same form what the dialect found."""
    events = [event for frame in frames for event in frame.events]
    reasons = {event.choice: event.reason for event in events if isinstance(event, Finish)}
    messages = {}
    for index in reasons:
        fold = Fold(index)
        for event in events:
            fold.add(event)
        messages[index] = fold.message()
    usages = [event.usage for event in events if isinstance(event, UsageReport)]
    return {
        "texts": {index: message.text for index, message in messages.items()},
        "reasons": reasons,
        "logprobs": {i: m.extra["logprobs"] for i, m in messages.items() if "logprobs" in m.extra},
        "usage": (usages[-1].prompt_tokens, usages[-1].completion_tokens) if usages else None,
        "model": next(event.model for event in events if isinstance(event, Started)),
    }


def frames_of(body: bytes, split: Callable[[bytes], list[bytes]]) -> list[Frame]:
    """Decode an answer as transport does, a stream in the pieces `split` makes of it."""
    memo = Memo()
    if body.lstrip().startswith(b"{"):
        return [text.decode(body, memo)]
    splitter = SseSplitter()
    blocks = [block for piece in split(body) for block in splitter.feed(piece)]
    frames = [text.decode_frame(block, memo) for block in [*blocks, splitter.rest()] if block]
    assert memo.finished
    return frames


def at_once(body: bytes) -> list[bytes]:
    """Leave a body in one piece."""
    return [body]


def test_answers_say_what_their_bodies_say() -> None:
    """Each recorded answer decodes to what a plain reading of its JSON finds, choice by choice."""
    counts = Counter[str]()
    for record in answers():
        found = found_in(frames_of(record["body"], at_once))
        assert found == said_in(record["body"]), record["id"]
        counts["streamed" if record["body"].startswith(b"data:") else "whole"] += 1
        counts["several"] += len(found["texts"]) > 1
        counts["logprobs"] += bool(found["logprobs"])
    print(f"openai_text: {dict(counts)}")
    assert (counts["whole"], counts["streamed"]) >= (11, 6)
    assert counts["several"] >= 5
    assert counts["logprobs"] >= 1


def test_streams_may_come_in_any_byte_splits() -> None:
    """A stream read in random pieces gives the same answer."""
    chance = random.Random("text")

    def pieces(body: bytes) -> list[bytes]:
        cuts = sorted(chance.randrange(len(body)) for _ in range(len(body) // 200 + 2))
        return [body[start:end] for start, end in pairwise([0, *cuts, len(body)])]

    for record in answers():
        found = found_in(frames_of(record["body"], pieces))
        assert found == said_in(record["body"]), record["id"]


def test_answers_reach_clients_of_openai() -> None:
    """Relayed byte for byte, and spelled anew in types the SDK takes, with the same meaning."""
    asked = {"prompt": "Hi", "stream_options": {"include_usage": True}}
    chat = text.read(json.dumps(asked).encode())
    for record in answers():
        frames, writer = frames_of(record["body"], at_once), text.write(chat, "another")
        stream = b"".join(writer.frame(frame) for frame in frames) + writer.end(Cost(7))
        whole = text.write(chat, "another").whole(frames, Cost(7))
        Completion.model_validate_json(whole)
        said = said_in(record["body"]) | {"model": None}
        for spelled in (stream, whole):
            again = said_in(spelled) | {"model": None}
            assert again == said | {"usage": again["usage"]}, record["id"]
            assert said["usage"] in {None, again["usage"]}


def test_errors_fall_into_their_class() -> None:
    """Every recorded error."""
    classes: dict[int, type[ProviderError]] = {
        400: Refused,
        401: AuthFailed,
        404: UpstreamNotFound,
    }
    refused = [record for record in records() if record["response_status"] >= 400]
    for record in refused:
        error = text.decode_error(record["response_status"], {}, record["body"])
        assert type(error) is classes[record["response_status"]], record["id"]
    assert len(refused) >= 6


def test_requests_are_relayed_and_understood() -> None:
    """Every recorded request goes up as the same JSON; what a chat can say becomes one."""
    row = Deployment(provider="p", model="m", dialect="openai_text", base_url="http://x.test/v1")
    relayed, typed = 0, 0
    for record in records():
        asked = record["request"]
        try:
            chat = text.read(json.dumps(asked).encode())
        except InputError:
            assert record["response_status"] == 400
            continue
        sent = json.loads(text.encode(chat, row).body)
        changed = ("model", "stream", "stream_options")
        kept = {k: v for k, v in asked.items() if v is not None and k not in changed}
        assert {k: v for k, v in sent.items() if k not in changed} == kept, record["id"]
        relayed += 1
        try:
            [message] = chat.prompt.messages
        except InputError:
            continue  # tokens, several prompts, ...
        assert message.text in (asked["prompt"], *asked["prompt"])
        typed += 1
    assert relayed >= 22
    assert typed >= 12

"""Every recorded answer of Ollama's own API decodes to what its body says.

Nobody on this project wrote the recordings. What a body says is read here by plain JSON, apart
from the dialect's own code, and both readings must agree: words, thoughts, calls, why it ended and
usage, whole and streamed, also in random byte splits and over a real connection.
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

from tests.wire import ask
from trunkline.clock import SystemClock
from trunkline.dialects import ollama
from trunkline.errors import BadAnswer, Truncated, UpstreamNotFound
from trunkline.fold import Fold
from trunkline.testing import FakeUpstream, replay
from trunkline.transport import Transport
from trunkline.transport.framing import LineSplitter
from trunkline.types import Finish, Frame, Memo, Started, Usage, UsageReport

RECORDINGS = Path(__file__).parents[2] / os.environ.get(
    "TRUNKLINE_RECORDINGS", "../shared/recordings"
)
WHOLE, STREAMED = 25, 18
Json = dict[str, Any]

pytestmark = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason=f"no recordings at {RECORDINGS}; set TRUNKLINE_RECORDINGS"
)


@cache
def records() -> list[Json]:
    """Read the records of chats, bodies as bytes."""
    with gzip.open(RECORDINGS / "ollama.jsonl.gz", "rt", encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    for record in found:
        record["body"] = record["response_body"].encode()
    return [record for record in found if record["endpoint"] == "ollama.chat"]


def answers() -> Iterator[tuple[str, bytes]]:
    """Give the id and body of each answer that is no error."""
    for record in records():
        if record["response_status"] < 400:
            yield record["id"], record["body"]


def objects_in(body: bytes) -> list[Json]:
    """Read an answer by plain JSON: its lines."""
    return [json.loads(line) for line in body.split(b"\n") if line.strip()]


def is_whole(body: bytes) -> bool:
    """Tell a whole answer from a stream."""
    return len(objects_in(body)) == 1


def differences(body: bytes, frames: list[Frame]) -> Iterator[str]:
    """Say where the dialect's reading of an answer differs from the plain one."""
    said = objects_in(body)
    fold = Fold()
    events = [event for frame in frames for event in frame.events]
    for event in events:
        fold.add(event)
    message, last = fold.message(), said[-1]
    for name, found in {"content": message.text, "thinking": message.thinking}.items():
        if found != (expected := "".join(one["message"].get(name, "") for one in said)):
            yield f"{name} {found!r} is not {expected!r}"
    calls = [call for one in said for call in one["message"].get("tool_calls", ())]
    wanted = [(call["function"]["name"], call["function"]["arguments"]) for call in calls]
    if [(call.name, json.loads(call.arguments)) for call in message.tool_calls] != wanted:
        yield f"calls {message.tool_calls} are not {wanted}"
    ids = [call.id for call in message.tool_calls]
    if len(set(ids)) != len(ids) or any(
        call.get("id", id_) != id_ for call, id_ in zip(calls, ids, strict=False)
    ):
        yield f"ids {ids} are not those of {calls}"
    raw = last["done_reason"]
    finishes = [(event.reason, event.raw) for event in events if isinstance(event, Finish)]
    if finishes != [("tool_calls" if calls else raw, raw)]:
        yield f"finish {finishes} is not {raw} with {len(calls)} calls"
    usage = Usage(
        prompt_tokens=last["prompt_eval_count"], completion_tokens=last.get("eval_count", 0)
    )
    if [event.usage for event in events if isinstance(event, UsageReport)] != [usage]:
        yield f"usage is not {usage}"
    if [event.model for event in events if isinstance(event, Started)] != [last["model"]]:
        yield "the model is not named once"


def frames_of(body: bytes, split: Callable[[bytes], list[bytes]]) -> list[Frame]:
    """Decode an answer as transport does, in the pieces `split` makes of it."""
    memo, splitter = Memo(), LineSplitter()
    lines = [line for piece in split(body) for line in splitter.feed(piece)]
    if rest := splitter.rest():
        lines.append(rest)
    assert b"".join(lines) == body
    return [ollama.decode_frame(line, memo) for line in lines]


def test_answers_say_what_their_bodies_say() -> None:
    """Each recorded answer decodes to what a plain reading of its JSON finds."""
    counts, wrong = Counter[str](), []
    for id_, body in answers():
        frames = frames_of(body, lambda body: [body])
        wrong += [f"{id_}: {difference}" for difference in differences(body, frames)]
        assert [frame.terminal for frame in frames].index(True) == len(frames) - 1, id_
        counts["whole" if is_whole(body) else "streamed"] += 1
        if is_whole(body):
            wrong += differences(body, [ollama.decode(body, Memo())])
    print(f"ollama: {dict(counts)}")
    assert wrong == []
    assert counts["whole"] >= WHOLE
    assert counts["streamed"] >= STREAMED


def test_streams_may_come_in_any_byte_splits() -> None:
    """A stream read in random pieces gives the same answer."""
    chance = random.Random("ollama")

    def pieces(body: bytes) -> list[bytes]:
        cuts = sorted(chance.randrange(len(body)) for _ in range(len(body) // 200 + 2))
        return [body[start:end] for start, end in pairwise([0, *cuts, len(body)])]

    for id_, body in answers():
        assert list(differences(body, frames_of(body, pieces))) == [], id_


@pytest.mark.slow
async def test_recordings_survive_the_wire_and_cuts_do_not() -> None:
    """Over a real connection every answer says the same; a stream cut before its end fails."""
    dice, counts = random.Random(1), Counter[str]()
    async with FakeUpstream() as up:
        transport = Transport(SystemClock())
        for record in records():
            if record["response_status"] >= 400:
                continue
            body = record["body"]
            answer = replay(record)
            chat = ask(up.url, stream=not is_whole(body), dialect="ollama")
            up.script(answer.split(dice, 400))
            frames = [frame async for frame in await transport.send(chat)]
            assert list(differences(body, frames)) == [], record["id"]
            counts["answers"] += 1
            end = body.rstrip().rfind(b"\n") + 1  # before the last line, then within it
            for cut, kind in ((end, Truncated), (end + 9, BadAnswer)):
                if not is_whole(body):
                    up.script(answer.cut_after(cut))
                    with pytest.raises(kind):
                        async for _ in await transport.send(chat):
                            pass
                    counts["cut"] += 1
        await transport.close()
    print(f"over a socket: {dict(counts)}")
    assert counts["answers"] >= WHOLE + STREAMED
    assert counts["cut"] >= 2 * STREAMED


def test_recorded_errors_are_named() -> None:
    """A model that is not there, with how to get it."""
    found = [
        ollama.decode_error(record["response_status"], {}, record["body"])
        for record in records()
        if record["response_status"] >= 400
    ]
    assert [type(error) for error in found] == [UpstreamNotFound]
    assert "ollama pull nonexistent-model:latest" in found[0].message

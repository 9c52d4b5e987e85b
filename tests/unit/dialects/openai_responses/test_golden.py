"""Golden answers, written by us from documentation: what the wire says, and what it means."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from trunkline.dialects import load
from trunkline.fold import Fold
from trunkline.transport.sse import SseSplitter
from trunkline.types import (
    AnyPart,
    Chat,
    Cost,
    Event,
    Finish,
    Frame,
    Memo,
    Prompt,
    Started,
    Thinking,
    Usage,
    UsageReport,
    say,
)

CASES = sorted((Path(__file__).parents[3] / "golden/openai_responses").glob("*.json"))
CHAT = Chat(id="01J", model="m1", body=Prompt(messages=(say("user", "Hi"),)))
responses = load("openai_responses")
EACH = pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)


def frames_of(body: bytes) -> list[Frame]:
    """Decode a whole body or a stream, up to its end."""
    memo = Memo()
    if body.startswith(b"{"):
        return [responses.decode(body, memo)]
    frames = []
    for block in SseSplitter().feed(body):
        frames.append(responses.decode_frame(block, memo))
        if frames[-1].terminal:
            break
    assert memo.finished
    return frames


def events_of(frames: list[Frame]) -> list[Event]:
    """Return all events."""
    return [event for frame in frames for event in frame.events]


def parts_of(events: list[Event]) -> tuple[AnyPart, ...]:
    """Put the parts together."""
    fold = Fold()
    for event in events:
        fold.add(event)
    return fold.message().parts


def test_there_are_golden_cases() -> None:
    """The folder is where it is looked for."""
    assert len(CASES) >= 6


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"], ids=["lf", "crlf"])
@EACH
def test_a_golden_answer_means_what_it_says(path: Path, line_end: bytes) -> None:
    """Parts in their order, finish and usage come out as written down."""
    case: dict[str, Any] = json.loads(path.read_bytes())
    says = case["says"]
    events = events_of(frames_of(line_end.join(s.encode() for s in case["wire"]) + line_end))
    (finish,) = (event for event in events if isinstance(event, Finish))
    (usage,) = (event.usage for event in events if isinstance(event, UsageReport))
    assert parts_of(events) == msgspec.convert(says["parts"], tuple[AnyPart, ...])
    assert [finish.reason, finish.raw] == says["finish"]
    assert usage == Usage(**says["usage"])
    assert [(e.id, e.model) for e in events if isinstance(e, Started)] == [("resp_1", "m1")]


@EACH
def test_a_golden_answer_spelled_anew_means_the_same(path: Path) -> None:
    """Through our own writer, whole and streamed, an answer keeps parts, finish and usage."""
    case: dict[str, Any] = json.loads(path.read_bytes())
    frames = frames_of("\n".join(case["wire"]).encode() + b"\n")
    before = parts_of(events_of(frames))
    writer = responses.write(CHAT, "another")
    stream = b"".join(writer.frame(frame) for frame in frames) + writer.end(Cost(7))
    whole = responses.write(CHAT, "another").whole(frames, Cost(7))
    for body in (stream, whole):
        events = events_of(frames_of(body))
        assert [bare(part) for part in parts_of(events)] == [bare(part) for part in before]
        (finish,) = (event for event in events if isinstance(event, Finish))
        assert finish.reason == case["says"]["finish"][0]
        (usage,) = (event.usage for event in events if isinstance(event, UsageReport))
        names = ("prompt_tokens", "completion_tokens", "cache_read_tokens", "reasoning_tokens")
        assert [getattr(usage, name) for name in names] == [
            case["says"]["usage"][name] for name in names
        ]


def bare(part: AnyPart) -> AnyPart:
    """Leave out the ids of thoughts, which are ours after a translation."""
    return replace(part, extra={}) if isinstance(part, Thinking) else part

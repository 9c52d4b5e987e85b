"""Golden answers, written by us from documentation: what the wire says, and what it means."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.unit.dialects.anthropic.wire import CHAT, fold
from trunkline.dialects.anthropic import decode, decode_frame, write
from trunkline.transport.sse import SseSplitter
from trunkline.types import AnyPart, Cost, Finish, Memo, Started, Usage, UsageReport

CASES = sorted((Path(__file__).parents[3] / "golden/anthropic").glob("*.json"))


def test_there_are_golden_cases() -> None:
    """The folder is where it is looked for."""
    assert len(CASES) >= 9


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_golden_answer_means_what_it_says(path: Path, line_end: bytes) -> None:
    """Blocks in their order, finish and usage come out as written down."""
    case: dict[str, Any] = json.loads(path.read_bytes())
    says = case["says"]
    body = line_end.join(line.encode() for line in case["wire"]) + line_end
    memo = Memo()
    if case["wire"][0].startswith("event:"):
        splitter = SseSplitter()
        blocks = [*splitter.feed(body), splitter.rest()]
        frames = [decode_frame(block, memo) for block in blocks]
        assert [frame.terminal for frame in frames].index(True) >= len(frames) - 3
    else:
        frames = [decode(body, memo)]
    events = [event for frame in frames for event in frame.events]
    (finish,) = (event for event in events if isinstance(event, Finish))
    usages = [event.usage for event in events if isinstance(event, UsageReport)]
    assert memo.finished
    parts = msgspec.convert(says["parts"], tuple[AnyPart, ...])
    assert fold(events).parts == parts
    assert [finish.reason, finish.raw] == says["finish"]
    assert finish.extra == says.get("finish_extra", {})
    assert usages[-1] == Usage(**says["usage"])
    assert [(e.id, e.model) for e in events if isinstance(e, Started)] == [("msg_1", "m1")]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_golden_answer_spelled_anew_means_the_same(path: Path) -> None:
    """Through our own writer, whole and streamed, an answer keeps its blocks, finish and usage."""
    case: dict[str, Any] = json.loads(path.read_bytes())
    body = "\n".join(case["wire"]).encode() + b"\n"
    memo = Memo()
    if case["wire"][0].startswith("event:"):
        frames = [decode_frame(block, memo) for block in SseSplitter().feed(body)]
    else:
        frames = [decode(body, memo)]
    before = [event for frame in frames for event in frame.events]
    writer = write(CHAT, "another")
    stream = b"".join(writer.frame(frame) for frame in frames) + writer.end(Cost(7))
    memo = Memo()
    spelled = [decode_frame(block, memo) for block in SseSplitter().feed(stream)]
    again = [event for frame in spelled for event in frame.events]
    (whole,) = [decode(write(CHAT, "another").whole(frames, Cost(7)), Memo())]
    for after in (again, list(whole.events)):
        assert fold(after).parts == fold(before).parts
        usage = [event.usage for event in after if isinstance(event, UsageReport)][-1]
        said = dict(case["says"]["usage"])
        said.pop("reported_cost_nusd", None)
        assert usage == Usage(**said)
        (finish,) = (event for event in after if isinstance(event, Finish))
        assert finish.reason == case["says"]["finish"][0]

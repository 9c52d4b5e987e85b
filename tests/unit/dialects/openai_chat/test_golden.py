"""Golden answers, written by us from documentation: what the wire says, and what it means."""

import json
from pathlib import Path
from typing import Any

import pytest

from trunkline.dialects.openai_chat import decode, decode_frame
from trunkline.fold import Fold
from trunkline.transport.sse import SseSplitter
from trunkline.types import Audio, Finish, Memo, Started, Usage, UsageReport

CASES = sorted((Path(__file__).parents[3] / "golden/openai_chat").glob("*.json"))


def test_there_are_golden_cases() -> None:
    """The folder is where it is looked for."""
    assert len(CASES) >= 8


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_golden_answer_means_what_it_says(path: Path, line_end: bytes) -> None:
    """Text, thought, calls, audio, finish, usage and extras come out as written down."""
    case: dict[str, Any] = json.loads(path.read_bytes())
    says = case["says"]
    body = line_end.join(line.encode() for line in case["wire"]) + line_end
    memo = Memo(frozenset(says.get("quirks", ())))
    if any(line.startswith("data:") for line in case["wire"]):
        splitter = SseSplitter()
        blocks = [*splitter.feed(body), splitter.rest()]
        frames = [decode_frame(block, memo) for block in blocks]
    else:
        frames = [decode(body, memo)]
    events = [event for frame in frames for event in frame.events]
    fold = Fold()
    for event in events:
        fold.add(event)
    message = fold.message()
    usages = [event.usage for event in events if isinstance(event, UsageReport)]
    heard = next((part for part in message.parts if isinstance(part, Audio)), None)
    assert memo.finished
    assert message.text == says.get("text", "")
    assert message.thinking == says.get("thinking", "")
    assert [[c.id, c.name, c.arguments] for c in message.tool_calls] == says.get("calls", [])
    assert heard == (Audio(**says["audio"]) if "audio" in says else None)
    assert [e.reason for e in events if isinstance(e, Finish)] == [says["finish"]]
    assert usages == ([Usage(**says["usage"])] if "usage" in says else [])
    assert {e.model for e in events if isinstance(e, Started)} == {says.get("model", "m1")}
    assert message.extra == says.get("extra", {})

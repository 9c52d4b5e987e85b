"""Golden answers, written by us from documentation: what the wire says, and what it means."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.unit.dialects.gemini.wire import fold
from trunkline.dialects.gemini import decode, decode_frame
from trunkline.transport.sse import SseSplitter
from trunkline.types import AnyPart, Finish, Memo, Started, Usage, UsageReport

CASES = sorted((Path(__file__).parents[3] / "golden/gemini").glob("*.json"))


def test_there_are_golden_cases() -> None:
    """The folder is where it is looked for."""
    assert len(CASES) >= 7


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_golden_answer_means_what_it_says(path: Path, line_end: bytes) -> None:
    """Parts in their order, finish and usage come out as written down."""
    case: dict[str, Any] = json.loads(path.read_bytes())
    says = case["says"]
    body = line_end.join(line.encode() for line in case["wire"]) + line_end
    memo = Memo()
    if case["wire"][0].startswith("data:"):
        splitter = SseSplitter()
        frames = [decode_frame(block, memo) for block in [*splitter.feed(body), splitter.rest()]]
    else:
        frames = [decode(body, memo)]
    events = [event for frame in frames for event in frame.events]
    (finish,) = (event for event in events if isinstance(event, Finish))
    usages = [event.usage for event in events if isinstance(event, UsageReport)]
    assert memo.finished
    assert fold(events).parts == msgspec.convert(says["parts"], tuple[AnyPart, ...])
    assert [finish.reason, finish.raw] == says["finish"]
    assert finish.extra == says.get("finish_extra", {})
    assert usages[-1] == Usage(**says["usage"])
    assert [(e.id, e.model) for e in events if isinstance(e, Started)] == [("r1", "m1")]

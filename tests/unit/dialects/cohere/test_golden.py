"""Golden answers, written by us from documentation: what the wire says, and what it means."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from trunkline.dialects.cohere import decode, decode_frame
from trunkline.fold import Fold
from trunkline.transport.sse import SseSplitter
from trunkline.types import AnyPart, Finish, Memo, Usage, UsageReport

CASES = sorted((Path(__file__).parents[3] / "golden/cohere").glob("*.json"))


def test_there_are_golden_cases() -> None:
    """The folder is where it is looked for."""
    assert len(CASES) >= 3


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_golden_answer_means_what_it_says(path: Path, line_end: bytes) -> None:
    """Parts in their order, fields beside them, finish and usage come out as written down."""
    case: dict[str, Any] = json.loads(path.read_bytes())
    says, memo, fold = case["says"], Memo(), Fold()
    body = line_end.join(line.encode() for line in case["wire"]) + line_end
    if body.startswith(b"{"):
        frames = [decode(body, memo)]
    else:
        splitter = SseSplitter()
        frames = [decode_frame(block, memo) for block in [*splitter.feed(body), splitter.rest()]]
    events = [event for frame in frames for event in frame.events]
    for event in events:
        fold.add(event)
    message = fold.message()
    assert memo.finished
    assert message.parts == msgspec.convert(says["parts"], tuple[AnyPart, ...])
    assert message.extra == says.get("extra", {})
    finishes = [[event.reason, event.raw] for event in events if isinstance(event, Finish)]
    assert finishes == [says["finish"]]
    usages = [event.usage for event in events if isinstance(event, UsageReport)]
    assert usages == [Usage(**says["usage"])]

"""Golden answers, written by us from documentation: what the wire says, and what it means."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.unit.dialects.ollama.wire import fold
from trunkline.dialects.ollama import decode, decode_frame
from trunkline.transport.framing import LineSplitter
from trunkline.types import AnyPart, Finish, Memo, Started, Usage, UsageReport

CASES = sorted((Path(__file__).parents[3] / "golden/ollama").glob("*.json"))


def test_there_are_golden_cases() -> None:
    """The folder is where it is looked for."""
    assert len(CASES) >= 4


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_golden_answer_means_what_it_says(path: Path, line_end: bytes) -> None:
    """Its parts in their order, why it ended and its usage, as written down."""
    case: dict[str, Any] = json.loads(path.read_bytes())
    says = case["says"]
    body = line_end.join(line.encode() for line in case["wire"])
    memo = Memo()
    splitter = LineSplitter()
    lines = [*splitter.feed(body), splitter.rest()]
    events = [event for line in lines for event in decode_frame(line, memo).events]
    assert memo.finished
    assert fold(events).parts == msgspec.convert(says["parts"], tuple[AnyPart, ...])
    finishes = [[event.reason, event.raw] for event in events if isinstance(event, Finish)]
    assert finishes == [says["finish"]]
    usages = [event.usage for event in events if isinstance(event, UsageReport)]
    assert usages == ([] if says["usage"] is None else [Usage(**says["usage"])])
    assert {event.model for event in events if isinstance(event, Started)} == {"m1"}
    if len(lines) == 1:
        assert fold(decode(body, Memo()).events) == fold(events)

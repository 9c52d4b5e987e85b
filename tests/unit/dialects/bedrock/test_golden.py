"""Golden answers, written by us from documentation: what the wire says, and what it means."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.unit.dialects.bedrock.wire import frames, message
from trunkline.dialects.bedrock import decode
from trunkline.types import AnyPart, Finish, Memo, Usage, UsageReport

CASES = sorted((Path(__file__).parents[3] / "golden/bedrock").glob("*.json"))


def test_there_are_golden_cases() -> None:
    """The folder is where it is looked for."""
    assert len(CASES) >= 6


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_golden_answer_means_what_it_says(path: Path) -> None:
    """Parts in their order, finish and usage come out as written down."""
    case: dict[str, Any] = json.loads(path.read_bytes())
    wire, says, memo = case["wire"], case["says"], Memo()
    if isinstance(wire, list):  # the messages of a stream: what kind, and what they say
        found = frames(*map(tuple, wire), memo=memo)
    else:
        found = [decode(json.dumps(wire).encode(), memo)]
    events = [event for frame in found for event in frame.events]
    [finish] = [event for event in events if isinstance(event, Finish)]
    usages = [event.usage for event in events if isinstance(event, UsageReport)]
    told = message(events)
    assert memo.finished
    assert found[-1].terminal
    assert told.parts == msgspec.convert(says["parts"], tuple[AnyPart, ...])
    assert told.extra == says.get("extra", {})
    assert [finish.reason, finish.raw] == says["finish"]
    assert usages == [Usage(**says["usage"])]

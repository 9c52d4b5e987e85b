"""Golden answers, written by us from documentation: what the wire says, and what it means."""

import json
from pathlib import Path
from typing import Any

import pytest

from trunkline.dialects.openai_chat.text import decode, decode_frame
from trunkline.fold import Fold
from trunkline.transport.sse import SseSplitter
from trunkline.types import Finish, Memo, Started, Usage, UsageReport

CASES = sorted((Path(__file__).parents[3] / "golden/openai_text").glob("*.json"))


def test_there_are_golden_cases() -> None:
    """The folder is where it is looked for."""
    assert len(CASES) >= 4


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_golden_answer_means_what_it_says(path: Path, line_end: bytes) -> None:
    """The text, finish and log probabilities of each choice, and the usage, as written down."""
    case: dict[str, Any] = json.loads(path.read_bytes())
    says = case["says"]
    body = line_end.join(line.encode() for line in case["wire"]) + line_end
    memo = Memo()
    if case["wire"][0].startswith("data:"):
        splitter = SseSplitter()
        blocks = [*splitter.feed(body), splitter.rest()]
        frames = [decode_frame(block, memo) for block in blocks]
    else:
        frames = [decode(body, memo)]
    events = [event for frame in frames for event in frame.events]
    folds = [Fold(number) for number in range(len(says["texts"]))]
    for fold in folds:
        for event in events:
            fold.add(event)
    finishes = {event.choice: event.reason for event in events if isinstance(event, Finish)}
    assert memo.finished
    assert [fold.message().text for fold in folds] == says["texts"]
    assert [reason for _, reason in sorted(finishes.items())] == says["finishes"]
    assert folds[0].message().extra.get("logprobs") == says.get("logprobs")
    assert [e.usage for e in events if isinstance(e, UsageReport)][-1] == Usage(**says["usage"])
    assert {event.model for event in events if isinstance(event, Started)} == {"m1"}

"""Rows as they are printed."""

import json

from tests.journal_records import called
from trunkline.storage.rows import CallRow
from trunkline.types import Attempt, Cost, Usage
from trunkline.types.record import Called


def test_a_call_is_printed_with_every_field_by_its_name() -> None:
    """Nothing is left out, and what the journal keeps as lists has names here."""
    attempt = Attempt(
        n=1,
        deployment="openai/gpt-4o",
        started_ns=1_000,
        usage=Usage(prompt_tokens=10),
        cost=Cost(120),
    )
    printed = json.loads(json.dumps(CallRow(call=called(), attempts=[attempt]).to_dict()))
    assert list(printed["call"]) == list(Called.__struct_fields__)
    assert printed["call"]["call_id"] == "c1"
    (told,) = printed["attempts"]
    assert list(told) == list(Attempt.__struct_fields__)
    assert list(told["usage"]) == list(Usage.__struct_fields__)
    assert (told["usage"]["prompt_tokens"], told["cost"]) == (10, {"nusd": 120, "state": "exact"})

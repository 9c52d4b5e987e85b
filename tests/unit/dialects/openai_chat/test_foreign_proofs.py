"""What proves a thought of another provider says whose it is."""

import json

import pytest

from trunkline.dialects.openai_chat import write
from trunkline.types import Chat, Cost, Frame, Prompt, ThinkingDelta, say

CHAT = Chat(id="01J", model="m", body=Prompt(messages=(say("user", "Hi"),)))


@pytest.mark.parametrize(
    ("spelling", "whose"),
    [
        ("anthropic", "anthropic-claude-v1"),
        ("gemini", "google-gemini-v1"),
        ("openai_responses", "openai-responses-v1"),
        ("reasoning", None),
    ],
)
def test_a_proof_says_whose_it_is(spelling: str, whose: str | None) -> None:
    """So that no other provider is sent it when it comes back."""
    thought = ThinkingDelta(text="Hm.", signature="sig", spelling=spelling)
    frame = Frame(b"", 0, events=(thought,))
    body = json.loads(write(CHAT, "another").whole([frame], Cost(1)))
    [detail] = body["choices"][0]["message"]["reasoning_details"]
    assert detail["signature"] == "sig"
    assert detail.get("format") == whose
    assert (whose or "sig").encode() in write(CHAT, "another").frame(frame)

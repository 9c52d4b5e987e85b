"""Messages as Ollama takes them: words, pictures, thoughts, calls and results."""

import pytest

from tests.unit.dialects.ollama.wire import HI, sent
from trunkline.errors import CapabilityMissing
from trunkline.types import (
    Audio,
    File,
    Image,
    Message,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    say,
)


def test_words_and_pictures_of_a_message() -> None:
    """Pictures are bare base64; texts stand apart, those of the model as it wrote them."""
    parts = (Text(text="Look"), Image(data="YWJj", media_type="image/png"), Text(text="here"))
    answer = (Thinking(text="hm", signature="s"), Text(text="I "), Refusal(text="won't."))
    body = sent(
        say("developer", "Be brief."),
        Message(role="user", parts=parts),
        Message(role="assistant", parts=answer),
        Message(role="user", parts=(Text(text=""),)),
    )
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Look\n\nhere", "images": ["YWJj"]},
        {"role": "assistant", "content": "I won't.", "thinking": "hm"},
    ]


def test_calls_are_objects_and_results_name_their_tool() -> None:
    """Ids are sent for servers that know them; each result is a message, before further words."""
    calls = (
        ToolCall(id="c1", name="f", arguments='{"a": 1.50}'),
        ToolCall(id="c2", name="g", arguments="free text"),
    )
    results = (
        ToolResult(id="c1", parts=(Text(text="one"),)),
        ToolResult(id="c2", parts=(Image(data="YWJj"),)),
        ToolResult(id="lost", is_error=True),
        Text(text="go on"),
    )
    asked, *said = sent(
        Message(role="assistant", parts=calls), Message(role="user", parts=results)
    )["messages"]
    assert asked["tool_calls"] == [
        {"id": "c1", "function": {"name": "f", "arguments": {"a": 1.50}}},
        {"id": "c2", "function": {"name": "g", "arguments": {"input": "free text"}}},
    ]
    assert said == [
        {"role": "tool", "tool_call_id": "c1", "tool_name": "f", "content": "one"},
        {
            "role": "tool",
            "tool_call_id": "c2",
            "tool_name": "g",
            "content": "",
            "images": ["YWJj"],
        },
        {"role": "tool", "tool_call_id": "lost", "content": ""},
        {"role": "user", "content": "go on"},
    ]


@pytest.mark.parametrize(
    ("part", "why"),
    [
        (Image(url="https://x.test/a.png"), "does not fetch pictures"),
        (Audio(data="YWJj", format="wav"), "no sound"),
        (File(data="YWJj", media_type="application/pdf"), "no files"),
    ],
)
def test_what_has_no_form_is_refused(part: Image | Audio | File, why: str) -> None:
    """Nothing is left out in silence; of an answer that was spoken the words are kept."""
    with pytest.raises(CapabilityMissing, match=why):
        sent(Message(role="user", parts=(part,)))
    spoken = Message(role="assistant", parts=(Audio(id="a", transcript="I said"),))
    assert sent(HI, spoken)["messages"][1] == {"role": "assistant", "content": "I said"}

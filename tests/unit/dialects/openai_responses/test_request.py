"""A caller's request: what is kept, what it needs, and what of it is proven."""

import json
from typing import Any

import pytest

from trunkline.dialects import load
from trunkline.errors import CapabilityMissing, InputError
from trunkline.types import File, Image, Message, Text, Thinking, ToolCall, ToolResult, Wire

responses = load("openai_responses")


def wire(**fields: Any) -> Wire:
    """Read a request."""
    body = responses.read(json.dumps({"model": "m", "input": "Hi", **fields}).encode()).body
    assert isinstance(body, Wire)
    return body


def test_a_string_is_what_the_user_says() -> None:
    """Instructions stand before it, as the system's words."""
    prompt = wire(instructions="Be brief.", user="u", max_output_tokens=9).prompt
    assert [(message.role, message.text) for message in prompt.messages] == [
        ("system", "Be brief."),
        ("user", "Hi"),
    ]
    assert (prompt.end_user, prompt.max_output_tokens) == ("u", 9)


def test_what_the_model_said_in_a_row_is_one_message() -> None:
    """Thoughts, words and calls keep their order; a result is a message of its own."""
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "?"}]},
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "Hm."}],
            "encrypted_content": "gAAAA",
        },
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "phase": "commentary",
            "content": [{"type": "output_text", "text": "Wait.", "annotations": []}],
        },
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": ""},
        {
            "type": "function_call_output",
            "call_id": "c",
            "output": [
                {"type": "input_text", "text": "See"},
                {"type": "input_image", "image_url": "data:image/png;base64,QUJD"},
            ],
        },
    ]
    asked, said, result = wire(input=items).prompt.messages
    assert asked == Message(role="user", parts=(Text(text="?"),))
    thought, words, call = said.parts
    assert isinstance(thought, Thinking)
    assert (thought.text, thought.signature) == ("Hm.", "gAAAA")
    assert isinstance(words, Text)
    assert words.extra["openai_responses"]["item"] == {"id": "msg_1", "phase": "commentary"}
    assert call == ToolCall(id="c", name="f", arguments="{}")
    assert result.role == "tool"
    shown = (Text(text="See"), Image(data="QUJD", media_type="image/png"))
    assert result.parts == (ToolResult(id="c", parts=shown),)


def test_files_and_sounds_are_needs() -> None:
    """What a deployment must be able to take is known without decoding the parts."""
    part = {"type": "input_file", "file_data": "data:application/pdf;base64,QUJD", "filename": "a"}
    read = wire(input=[{"role": "user", "content": [part]}], tools=[{"type": "web_search"}])
    assert read.needs == {"files", "tools"}
    assert read.prompt.messages[0].parts == (
        File(data="QUJD", media_type="application/pdf", name="a"),
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"tools": [{"type": "web_search"}]},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
        {"prompt": {"id": "pmpt_1"}},
    ],
)
def test_what_others_hold_proves_no_bound(fields: dict[str, Any]) -> None:
    """A strict budget cannot know what it adds to the prompt, or to the bill."""
    assert wire().bounded
    assert not wire(**fields).bounded


@pytest.mark.parametrize(
    "fields",
    [
        {"previous_response_id": "resp_1"},
        {"store": True},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
    ],
)
def test_what_only_openai_holds_has_no_typed_view(fields: dict[str, Any]) -> None:
    """Whoever is not OpenAI's API is not asked; nothing is left out in silence."""
    with pytest.raises(CapabilityMissing):
        _ = wire(**fields).prompt


def test_a_job_in_the_background_is_refused() -> None:
    """Whoever is asked: it would go on, and be charged, when the call has been settled."""
    with pytest.raises(InputError, match="leave it out and wait for the answer") as caught:
        wire(background=True)
    assert caught.value.param == "background"
    assert wire(background=False).bounded


def test_a_forged_seal_is_no_proof() -> None:
    """What cannot be opened is a thought without proof; its words stay."""
    item = {"type": "reasoning", "summary": [], "encrypted_content": 'trunkline:{"text": 1}'}
    broken = item | {"encrypted_content": "trunkline:nonsense"}
    for one in (item, broken):
        [message] = wire(input=[one]).prompt.messages
        [thought] = message.parts
        assert isinstance(thought, Thinking)
        assert (thought.signature, thought.redacted) == (None, None)


def test_an_item_of_another_shape_is_refused() -> None:
    """Nobody is shown how our code met what is of another type."""
    with pytest.raises(InputError, match="has a field of another type") as caught:
        _ = wire(input=[{"type": "reasoning", "summary": "abc"}]).prompt
    assert caught.value.param == "input[0]"

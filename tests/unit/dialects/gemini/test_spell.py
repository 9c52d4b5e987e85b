"""Messages become turns of `user` and `model`, and nothing that was said is lost."""

import json

import pytest
from msgspec.structs import replace

from tests.unit.dialects.gemini.wire import HI, ROW, SIGNED, outgoing, sent
from trunkline.errors import CapabilityMissing, InputError
from trunkline.types import (
    AnyPart,
    Audio,
    File,
    Image,
    Message,
    Prompt,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    say,
)

CALL = ToolCall(id="c1", name="f", arguments='{"a": 1.50}')


def assistant(*parts: AnyPart, **more: object) -> Message:
    """Say something as the model."""
    return Message(role="assistant", parts=parts, extra=dict(more))


def result(id_: str, *parts: AnyPart, is_error: bool = False) -> Message:
    """Give a tool's result."""
    return Message(role="tool", parts=(ToolResult(id=id_, parts=parts, is_error=is_error),))


def parts_of(*messages: Message, model: str = "gemini-3.5-flash") -> list[object]:
    """Return the parts of the last turn that is sent."""
    parts: list[object] = sent(*messages, model=model)["contents"][-1]["parts"]
    return parts


def test_a_system_prompt_is_an_instruction() -> None:
    """Wherever it stands, the developer's too; the turns beside it alternate."""
    body = sent(say("system", "Be brief."), HI, say("developer", "In verse."), say("user", "Yes?"))
    assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}, {"text": "In verse."}]}
    assert body["contents"] == [{"role": "user", "parts": [{"text": "Hi"}, {"text": "Yes?"}]}]


@pytest.mark.parametrize("model", ["gemini-3.5-flash", "gemma-3-27b-it"])
def test_a_system_prompt_alone_is_the_users(model: str) -> None:
    """There must be a turn; and some models take no instruction at all."""
    assert sent(say("system", "Hi"), model=model) == {
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}]
    }
    body = sent(say("system", "Be brief."), HI, model="gemma-3-27b-it")
    assert body["contents"][0]["parts"] == [{"text": "Be brief."}, {"text": "Hi"}]
    assert "systemInstruction" not in body


@pytest.mark.parametrize(
    ("part", "wire"),
    [
        (Image(data="/9j/4AA"), {"inlineData": {"mimeType": "image/jpeg", "data": "/9j/4AA"}}),
        (
            Image(data="AAAA", media_type="image/heic"),
            {"inlineData": {"mimeType": "image/heic", "data": "AAAA"}},
        ),
        (
            Image(url="https://x.test/a.webp?b=1"),
            {"fileData": {"mimeType": "image/webp", "fileUri": "https://x.test/a.webp?b=1"}},
        ),
        (
            File(data="JVBE", media_type="application/pdf"),
            {"inlineData": {"mimeType": "application/pdf", "data": "JVBE"}},
        ),
        (
            File(id="https://g.test/v1beta/files/1"),
            {
                "fileData": {
                    "mimeType": "application/pdf",
                    "fileUri": "https://g.test/v1beta/files/1",
                }
            },
        ),
        (
            Audio(data="UklG", format="mp3"),
            {"inlineData": {"mimeType": "audio/mp3", "data": "UklG"}},
        ),
    ],
)
def test_pictures_files_and_sound_are_sent(part: AnyPart, wire: object) -> None:
    """What is at an address goes as an address, with the media type that its name tells."""
    assert parts_of(Message(role="user", parts=(part,))) == [wire]


def test_signatures_go_back_to_where_they_came_from() -> None:
    """On a thought, on words, on empty words and on the first of two calls, byte for byte."""
    other = ToolCall(id="c2", name="g")
    message = assistant(
        Thinking(text="Hm", signature="dA==", spelling="gemini"),
        Text(text="So", extra=SIGNED),
        Text(text="", extra=SIGNED),
        ToolCall(id="c1", name="f", arguments="{}", extra=SIGNED),
        other,
    )
    assert parts_of(HI, message) == [
        {"text": "Hm", "thought": True, "thoughtSignature": "dA=="},
        {"text": "So", "thoughtSignature": "c2ln+/=="},
        {"text": "", "thoughtSignature": "c2ln+/=="},
        {"functionCall": {"id": "c1", "name": "f", "args": {}}, "thoughtSignature": "c2ln+/=="},
        {"functionCall": {"id": "c2", "name": "g", "args": {}}},
    ]


def test_a_signature_beside_the_message_belongs_to_its_words() -> None:
    """There a client of OpenAI's dialect has it; on words of its own it counts for more."""
    assert parts_of(HI, assistant(Text(text="So"), **SIGNED)) == [
        {"text": "So", "thoughtSignature": "c2ln+/=="}
    ]
    kept = {"extra_content": {"google": {"thought_signature": "b3du"}}}
    assert parts_of(HI, assistant(Text(text="So", extra=kept), **SIGNED)) == [
        {"text": "So", "thoughtSignature": "b3du"}
    ]


def test_a_call_without_its_signature_gets_the_documented_placeholder() -> None:
    """From Gemini 3 on, on the first call of each turn; earlier models want none."""
    turns = (HI, assistant(CALL, ToolCall(id="c2", name="g")), result("c1"), result("c2"))
    first, second = sent(*turns)["contents"][1]["parts"]
    assert first["thoughtSignature"] == "skip_thought_signature_validator"
    assert "thoughtSignature" not in second
    old, _ = sent(*turns, model="gemini-2.5-flash")["contents"][1]["parts"]
    assert "thoughtSignature" not in old


@pytest.mark.parametrize("spelling", [None, "anthropic", "reasoning_content"])
def test_thoughts_of_others_stay_out(spelling: str | None) -> None:
    """Nobody here can prove them."""
    thought = Thinking(text="Hm", signature="s", spelling=spelling)
    assert parts_of(HI, assistant(thought, Text(text="So"))) == [{"text": "So"}]


def test_parts_only_gemini_knows_go_back_whole() -> None:
    """Code that ran, and what came of it."""
    own = {"executableCode": {"language": "PYTHON", "code": "1"}, "thoughtSignature": "s"}
    assert parts_of(HI, assistant(Text(text="", extra={"gemini": own}))) == [own]


def test_arguments_go_out_as_they_are() -> None:
    """The JSON text itself; what is none becomes the one field of an object."""
    assert b'"args":{"a": 1.50}' in outgoing(Prompt(messages=(HI, assistant(CALL)))).body
    free = assistant(ToolCall(id="c", name="f", arguments="SELECT 1", kind="custom"))
    assert sent(HI, free)["contents"][1]["parts"][0]["functionCall"]["args"] == {
        "input": "SELECT 1"
    }


@pytest.mark.parametrize(
    ("text", "is_error", "response"),
    [
        ("fine", False, {"output": "fine"}),
        ('{"x": [1]}', False, {"x": [1]}),
        ("[1, 2]", False, {"output": "[1, 2]"}),
        ("", False, {"output": ""}),
        ("broken", True, {"error": "broken"}),
        ('{"why": 1}', True, {"error": {"why": 1}}),
    ],
)
def test_a_result_is_always_an_object(text: str, is_error: bool, response: object) -> None:
    """Words go under the names that Google gives them."""
    turns = (HI, assistant(CALL), result("c1", Text(text=text), is_error=is_error))
    assert parts_of(*turns) == [
        {"functionResponse": {"id": "c1", "name": "f", "response": response}}
    ]


def test_results_stand_in_the_order_of_their_calls() -> None:
    """All of them in one turn, before anything else that is said in it."""
    calls = [ToolCall(id=f"c{n}", name=f"f{n}") for n in range(3)]
    turns = [HI, assistant(*calls), say("user", "And?")]
    turns += [result(f"c{n}", Text(text=str(n))) for n in (2, 0, 1)]
    parts = parts_of(*turns)
    names = [part["functionResponse"]["name"] for part in parts[:3]]  # type: ignore[index]
    assert names == ["f0", "f1", "f2"]
    assert parts[3] == {"text": "And?"}


@pytest.mark.parametrize(("model", "ids"), [("gemini-2.5-pro", False), ("gemini-3.5-flash", True)])
def test_ids_stay_out_where_vertex_knows_none(model: str, ids: bool) -> None:
    """Results are in the order of their calls all the same; the Gemini API knows ids throughout."""
    calls = [ToolCall(id=f"c{n}", name=f"f{n}") for n in range(2)]
    turns = (HI, assistant(*calls), result("c1"), result("c0"))
    for quirks, known in ((frozenset({"vertex"}), ids), (frozenset[str](), True)):
        row = replace(ROW, model=model, quirks=quirks)
        contents = json.loads(outgoing(Prompt(messages=turns), row).body)["contents"]
        asked = [part["functionCall"] for part in contents[1]["parts"]]
        answers = [part["functionResponse"] for part in contents[2]["parts"]]
        assert [one["name"] for one in answers] == ["f0", "f1"]
        assert [one.get("id") for one in (*asked, *answers)] == 2 * (
            ["c0", "c1"] if known else [None, None]
        )


def test_sound_that_somebody_else_holds_is_refused() -> None:
    """Left out, the conversation would be another one."""
    with pytest.raises(CapabilityMissing, match="transcript"):
        parts_of(HI, assistant(Audio(id="audio_1")))
    assert parts_of(HI, assistant(Audio(id="audio_1", transcript="Hm"))) == [{"text": "Hm"}]


@pytest.mark.parametrize(
    "message",
    [
        Message(role="user", parts=(Image(url="gs://mine/a.png"),)),
        Message(role="user", parts=(File(id="gs://mine/a.pdf"),)),
        result("c1", Image(url="gs://mine/a.png")),
        Message(
            role="user",
            parts=(Text(text="", extra={"gemini": {"fileData": {"fileUri": "gs://mine/a"}}}),),
        ),
    ],
)
def test_only_listed_buckets_are_read(message: Message) -> None:
    """They are read with the rights of the account; who only speaks of one is free to."""
    for buckets in ((), ("others",)):
        with pytest.raises(InputError, match="list 'mine' in 'buckets'"):
            outgoing(Prompt(messages=(message,)), replace(ROW, buckets=buckets))
    outgoing(Prompt(messages=(message,)), replace(ROW, buckets=("others", "mine")))
    tool = Tool(name="f", parameters={"properties": {"a": {"type": "string", "uri": "gs://x"}}})
    outgoing(Prompt(messages=(say("user", "gs://mine/a"),), tools=(tool,)))


def test_a_picture_of_a_tool_stands_in_its_result() -> None:
    """From Gemini 3 on; an earlier model is shown it behind the result."""
    picture = Image(data="AAAA", media_type="image/png")
    turns = (HI, assistant(CALL), result("c1", Text(text="see"), picture))
    wire = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    answer = {"id": "c1", "name": "f", "response": {"output": "see"}}
    assert parts_of(*turns) == [{"functionResponse": answer | {"parts": [wire]}}]
    assert parts_of(*turns, model="gemini-2.5-flash") == [{"functionResponse": answer}, wire]

"""Parts as blocks: names and ids made to fit, formats found, nothing proven thrown away."""

import pytest

from tests.unit.dialects.bedrock.wire import HI, LLAMA, NOVA, row, sent
from trunkline.dialects.bedrock import encode
from trunkline.dialects.bedrock.spell import fit
from trunkline.errors import CapabilityMissing, InputError
from trunkline.types import (
    AnyPart,
    Audio,
    Chat,
    File,
    Image,
    Message,
    Prompt,
    Refusal,
    Text,
    Thinking,
    ToolCall,
)


def block(part: AnyPart) -> dict[str, object]:
    """Spell one part of a user."""
    [wire] = sent(Message(role="user", parts=(part,)))["messages"][0]["content"]
    return dict(wire)


def thoughts(*parts: Thinking, model: str) -> list[object]:
    """Return the thoughts that are sent back."""
    turns = (HI, Message(role="assistant", parts=(*parts, Text(text="x"))), HI)
    content = sent(*turns, model=model)["messages"][1]["content"]
    return [one["reasoningContent"] for one in content if "reasoningContent" in one]


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        (Image(data="/9j/4AAQ"), "jpeg"),
        (Image(data="R0lGODlh"), "gif"),
        (Image(data="QUJD"), "png"),
        (Image(data="QUJD", media_type="image/jpg"), "jpeg"),
        (Image(data="QUJD", media_type="image/webp"), "webp"),
    ],
)
def test_a_picture_says_its_format(part: Image, kind: str) -> None:
    """By its media type, else by its first bytes."""
    assert block(part) == {"image": {"format": kind, "source": {"bytes": part.data}}}


@pytest.mark.parametrize(
    ("media_type", "name", "kind"),
    [
        ("application/pdf", None, "pdf"),
        ("text/plain; charset=utf-8", None, "txt"),
        ("text/markdown", None, "md"),
        ("text/x-python", "a.py", "txt"),
        ("application/octet-stream", "a.DOCX", "docx"),
        ("application/vnd.ms-excel", None, "xls"),
        (None, None, "pdf"),
    ],
)
def test_a_document_says_its_format(media_type: str | None, name: str | None, kind: str) -> None:
    """By its media type, else by its name."""
    wire = block(File(data="QUJD", media_type=media_type, name=name))["document"]
    assert isinstance(wire, dict)
    assert wire["format"] == kind


def test_names_of_documents_fit_and_differ() -> None:
    """In the letters that are taken; what else a document says stays with it."""
    extra = {"citations": {"enabled": True}, "context": "c"}
    names = ("a__b  (1).pdf", None, "a b (1)-pdf", "\u00e4")
    parts = tuple(File(data="QQ==", name=name, extra=extra) for name in names)
    content = sent(Message(role="user", parts=parts))["messages"][0]["content"]
    found = [one["document"]["name"] for one in content]
    assert found == ["a b (1) pdf", "document", "a b (1)-pdf", "document 2"]
    assert extra.items() <= content[0]["document"].items()


def test_films_and_sounds_have_blocks_of_their_own() -> None:
    """And a file that is a picture is one."""
    film = block(File(data="QQ==", media_type="video/quicktime"))
    assert film == {"video": {"format": "mov", "source": {"bytes": "QQ=="}}}
    assert "image" in block(File(data="QQ==", media_type="image/png"))
    sound = block(Audio(data="QQ==", format="mp3"))
    assert sound == {"audio": {"format": "mp3", "source": {"bytes": "QQ=="}}}
    assert block(Audio(transcript="Hm")) == {"text": "Hm"}
    assert block(Refusal(text="No")) == {"text": "No"}


def test_sound_that_somebody_else_holds_is_refused() -> None:
    """Left out, the conversation would be another one."""
    with pytest.raises(CapabilityMissing, match="transcript"):
        block(Audio(id="audio_1"))


@pytest.mark.parametrize(
    "part",
    [
        Image(url="s3://mine/a.png"),
        File(url="s3://mine/a.pdf"),
        Text(
            text="", extra={"bedrock": {"image": {"source": {"s3Location": {"uri": "s3://mine/"}}}}}
        ),
    ],
)
def test_only_listed_buckets_are_read(part: AnyPart) -> None:
    """They are read with the rights of the account."""
    chat = Chat(model="m", body=Prompt(messages=(Message(role="user", parts=(part,)),)))
    for buckets in ((), ("others",)):
        with pytest.raises(InputError, match="list 'mine' in 'buckets'"):
            encode(chat, row(buckets=buckets))
    assert b'"uri":"s3://mine/' in encode(chat, row(buckets=("mine",))).body


@pytest.mark.parametrize("part", [File(url="https://x.test/a.pdf"), File(id="file-1")])
def test_what_cannot_be_fetched_is_refused(part: File) -> None:
    """With a word about what to do instead."""
    with pytest.raises(CapabilityMissing, match="base64"):
        block(part)


def test_ids_fit() -> None:
    """Odd letters and long ones; two that differ stay different."""
    assert fit("tooluse_a-B.1:2") == "tooluse_a-B.1:2"
    assert fit("a b|") == "a_b_"
    assert fit("") == "_"
    long = [fit("x" * 70 + end) for end in "ab"]
    assert long[0] != long[1]
    assert {len(one) for one in long} == {64}


def test_whose_thoughts_go_back() -> None:
    """Claude's when they are proven, Nova's own, and nobody else's."""
    proven = Thinking(text="a", signature="s", spelling="anthropic")
    foreign = Thinking(
        text="b",
        signature="s",
        spelling="reasoning_details",
        extra={"reasoning_details": {"format": "openai-responses-v1"}},
    )
    own, bare = Thinking(text="c", spelling="bedrock"), Thinking(text="d")
    every = (proven, foreign, own, bare)
    claude = "us.anthropic.claude-sonnet-5"
    assert thoughts(*every, model=claude) == [{"reasoningText": {"text": "a", "signature": "s"}}]
    assert thoughts(*every, model=NOVA) == [{"reasoningText": {"text": "c"}}]
    assert thoughts(*every, model=LLAMA) == []


def test_free_text_for_a_tool_becomes_an_object() -> None:
    """Objects stay byte for byte; a beginning does not end in blanks."""
    said = Message(role="assistant", parts=(ToolCall(id="a", name="f", arguments="ls -l"),))
    [call] = sent(HI, said)["messages"][1]["content"]
    assert call["toolUse"]["input"] == {"input": "ls -l"}
    begun = Message(role="assistant", parts=(Text(text="So "),))
    assert sent(HI, begun)["messages"][1]["content"] == [{"text": "So"}]


def test_blocks_only_bedrock_knows_go_back_whole() -> None:
    """Words with sources get these back, at their place."""
    cited = {"citationsContent": {"citations": [{"title": "t"}]}}
    part = Text(text="x", extra={"bedrock": cited})
    assert block(part) == {
        "citationsContent": {"content": [{"text": "x"}], "citations": [{"title": "t"}]}
    }
    guarded = {"guardContent": {"text": {"text": "x"}}}
    assert block(Text(text="", extra={"bedrock": guarded})) == guarded

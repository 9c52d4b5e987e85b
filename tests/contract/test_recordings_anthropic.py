"""Every recorded answer of the Messages API decodes to what its body says.

Nobody on this project wrote the recordings. What a body says is read here by plain JSON, apart
from the dialect's own code, and both readings must agree: blocks in their order with text, thought,
signatures, calls, citations and whatever only Anthropic knows, stop reason and usage, whole and
streamed, also in random byte splits.
"""

import base64
import gzip
import json
import os
import random
import re
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from anthropic.types import Message as SdkMessage
from anthropic.types import RawMessageStreamEvent
from anthropic.types.beta import BetaMessage
from msgspec.structs import replace
from pydantic import TypeAdapter, ValidationError

from tests.wire import ask
from trunkline.clock import SystemClock
from trunkline.dialects import anthropic
from trunkline.dialects.anthropic.usage import usage_of
from trunkline.errors import (
    AuthFailed,
    ContextTooLong,
    InputError,
    ProviderError,
    Refused,
    UpstreamNotFound,
)
from trunkline.fold import Fold
from trunkline.testing import FakeUpstream, replay
from trunkline.transport import Transport
from trunkline.transport.sse import SseSplitter
from trunkline.types import (
    AnyPart,
    Chat,
    Cost,
    Deployment,
    Finish,
    Frame,
    Mark,
    Memo,
    Prompt,
    Started,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    UsageReport,
    say,
)

RECORDINGS = Path(__file__).parents[2] / os.environ.get(
    "TRUNKLINE_RECORDINGS", "../shared/recordings"
)
# How many answers (whole and streamed) of each provider must be checked at least.
ANSWERS = {"anthropic": 364, "ollama_openai_compat": 4, "bedrock": 5}
ERRORS = 25
SHAPE = rb'"type": ?"message"'
Json = dict[str, Any]

pytestmark = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason=f"no recordings at {RECORDINGS}; set TRUNKLINE_RECORDINGS"
)


@cache
def records(provider: str) -> list[Json]:
    """Read the records of one provider that speak the Messages API, bodies as bytes."""
    found = []
    with gzip.open(RECORDINGS / f"{provider}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            body = record["response_body"]
            encoded = record["body_encoding"] == "base64"
            record["body"] = base64.b64decode(body) if encoded else body.encode()
            # Claude on Bedrock answers `invoke` in the same shape; its streams are framed otherwise
            same = record["endpoint"] == "invoke" and re.search(SHAPE, record["body"])
            if record["endpoint"] == "messages" or same:
                found.append(record)
    return found


def answers(provider: str) -> Iterator[tuple[str, bytes]]:
    """Give the id and body of each answer that is no error.

    Two files of one project hold several streams in a row, as no server sends them.
    """
    for record in records(provider):
        if record["response_status"] < 400 and record["body"].count(b"event: message_start") < 2:
            yield record["id"], record["body"]


def is_whole(body: bytes) -> bool:
    """Tell a whole answer from a stream."""
    return body.lstrip().startswith(b"{")


# --- the independent reading ----------------------------------------------------------------------


def said_in(body: bytes) -> Json:
    """Read an answer by plain JSON: the message, of a stream as its events build it."""
    if is_whole(body):
        message: Json = json.loads(body)
        return message
    message = {}
    for data in data_lines(body):
        one = json.loads(data)
        if one["type"] == "message_start":
            message = one["message"]
        elif one["type"] == "content_block_start":
            message["content"].append(one["content_block"])
        elif one["type"] == "content_block_delta":
            add(message["content"][one["index"]], one["delta"])
        elif one["type"] == "message_delta":
            told = {k: v for k, v in one["usage"].items() if v is not None}
            message |= one["delta"] | {"usage": message["usage"] | told}
    for block in message["content"]:
        if text := block.pop("json", ""):
            try:
                block["input"] = json.loads(text)
            except ValueError:
                block["input"] = {"input": text}
    return message


def add(block: Json, delta: Json) -> None:
    """Add one delta to its block."""
    kind = delta["type"]
    if kind == "input_json_delta":
        block["json"] = block.get("json", "") + delta["partial_json"]
    elif kind == "citations_delta":
        block["citations"] = [*(block.get("citations") or []), delta["citation"]]
    elif kind == "signature_delta":
        block["signature"] = delta["signature"]
    else:
        for name in delta.keys() - {"type"}:
            block[name] = (block.get(name) or "") + delta[name]


def data_lines(body: bytes) -> list[bytes]:
    """Return the data of each event but an end mark that does not belong here."""
    found = re.findall(rb"^data:(.*?)\r?$", body, re.MULTILINE)
    return [data for data in map(bytes.strip, found) if data not in {b"", b"[DONE]"}]


def reasons(message: Json) -> str:
    """Return why a message ended, in our words."""
    called = any(block["type"] == "tool_use" for block in message["content"])
    return {
        "end_turn": "tool_calls" if called else "stop",
        "stop_sequence": "stop",
        "max_tokens": "length",
        "tool_use": "tool_calls",
    }[message["stop_reason"]]


def block_of(part: AnyPart) -> Json:
    """Write down what a part says as the block it was."""
    if isinstance(part, Text):
        own: Json | None = part.extra.get("anthropic")
        return own or {"type": "text", "text": part.text, **part.extra}
    if isinstance(part, Thinking):
        if part.redacted is not None:
            return {"type": "redacted_thinking", "data": part.redacted}
        signed = {"signature": part.signature} if part.signature else {}
        return {"type": "thinking", "thinking": part.text, **signed}
    assert isinstance(part, ToolCall)
    try:
        arguments = json.loads(part.arguments)
    except ValueError:
        arguments = {"input": part.arguments}
    return {"type": "tool_use", "id": part.id, "name": part.name, "input": arguments, **part.extra}


def plain(block: Json) -> Json:
    """Leave out of a block what says nothing."""
    quiet: tuple[Any, ...] = ({"type": "direct"}, None, [], "")
    if block["type"] in {"text", "thinking", "tool_use"}:
        keep = ("text", "thinking", "input")
        return {k: v for k, v in block.items() if k in keep or v not in quiet}
    return block


def differences(body: bytes, frames: list[Frame]) -> Iterator[str]:
    """Say where the dialect's reading of an answer differs from the plain one."""
    said = said_in(body)
    fold, finish, usage = Fold(), None, None
    for event in (event for frame in frames for event in frame.events):
        fold.add(event)
        if isinstance(event, UsageReport):
            usage = event.usage
        elif isinstance(event, Finish):
            finish = event
    blocks = [plain(block_of(part)) for part in fold.message().parts]
    expected = [plain(block) for block in said["content"]]
    empty: tuple[Json, ...] = ({"type": "text", "text": ""}, {"type": "thinking", "thinking": ""})
    expected = [block for block in expected if block not in empty]
    if blocks != expected:
        yield f"blocks {blocks} are not {expected}"
    if finish is None or (finish.reason, finish.raw) != (reasons(said), said["stop_reason"]):
        yield f"finish {finish} is not {said['stop_reason']}"
    elif finish.extra.get("stop_sequence") != said.get("stop_sequence"):
        yield f"stopped at {finish.extra}, not {said['stop_sequence']!r}"
    yield from usage_differences(usage, said["usage"])


def usage_differences(usage: Usage | None, wire: Json) -> Iterator[str]:
    """Say where usage is not what the numbers of the wire add up to."""
    read = wire.get("cache_read_input_tokens") or 0
    written = wire.get("cache_creation_input_tokens") or 0
    split = wire.get("cache_creation") or {}
    details = wire.get("output_tokens_details") or {}
    expected = Usage(
        prompt_tokens=wire["input_tokens"] + read + written,
        completion_tokens=wire["output_tokens"],
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=split.get("ephemeral_1h_input_tokens") or 0,
        reasoning_tokens=details.get("thinking_tokens") or 0,
        reported_cost_nusd=round(wire["cost"] * 1e9) if "cost" in wire else None,
        web_search_requests=(wire.get("server_tool_use") or {}).get("web_search_requests", 0),
    )
    if usage != expected:
        yield f"usage {usage} is not {expected}"


# --- the tests ------------------------------------------------------------------------------------


def frames_of(body: bytes, split: Callable[[bytes], list[bytes]]) -> tuple[list[Frame], Memo]:
    """Decode an answer as transport does, a stream in the pieces `split` makes of it."""
    memo = Memo()
    if is_whole(body):
        return [anthropic.decode(body, memo)], memo
    splitter = SseSplitter()
    blocks = [block for piece in split(body) for block in splitter.feed(piece)]
    if rest := splitter.rest():
        blocks.append(rest)
    assert b"".join(blocks) == body
    return [anthropic.decode_frame(block, memo) for block in blocks], memo


def at_once(body: bytes) -> list[bytes]:
    """Leave a body in one piece."""
    return [body]


@pytest.mark.parametrize("provider", ANSWERS)
def test_answers_say_what_their_bodies_say(
    provider: str, record_property: Callable[[str, object], None]
) -> None:
    """Each recorded answer decodes to what a plain reading of its JSON finds."""
    whole, streamed, wrong = 0, 0, []
    for id_, body in answers(provider):
        frames, memo = frames_of(body, at_once)
        wrong += [f"{id_}: {difference}" for difference in differences(body, frames)]
        if not memo.finished or not any(frame.terminal for frame in frames):
            wrong.append(f"{id_}: no end was seen")
        whole, streamed = whole + is_whole(body), streamed + (not is_whole(body))
    record_property("answers", whole + streamed)
    print(f"{provider}: {whole} whole and {streamed} streamed recorded answers")
    assert wrong == []
    assert whole + streamed >= ANSWERS[provider]


def test_streams_may_come_in_any_byte_splits() -> None:
    """A stream read in random pieces gives the same frames and the same answer."""
    chance = random.Random("anthropic")

    def pieces(body: bytes) -> list[bytes]:
        cuts = sorted(chance.randrange(len(body)) for _ in range(len(body) // 200 + 2))
        return [body[start:end] for start, end in pairwise([0, *cuts, len(body)])]

    for id_, body in answers("anthropic"):
        frames, _ = frames_of(body, pieces)
        assert list(differences(body, frames)) == [], id_


def test_marks_tell_no_less_than_the_events() -> None:
    """What a scan says of a frame undecoded is what its events turn out to be."""
    lazy = 0
    for id_, body in answers("anthropic"):
        for frame in frames_of(body, at_once)[0]:
            lazy += frame._events is None
            kinds = {type(event) for event in frame.events}
            shown = bool(kinds & {TextDelta, ThinkingDelta, ToolCallDelta})
            assert bool(frame.mark & Mark.USAGE) == (UsageReport in kinds), id_
            assert bool(frame.mark & Mark.FINISH) == (Finish in kinds), id_
            assert bool(frame.mark & Mark.SHOWN) == (shown or is_whole(body)), id_
    assert lazy >= 400  # the recorders that sorted keys left the rest


CHAT = Chat(id="01J", model="m", body=Prompt(messages=(say("user", "Hi"),)))


def spelled(frames: list[Frame]) -> tuple[bytes, bytes]:
    """Spell an answer anew from its events, as a stream and as a whole."""
    writer = anthropic.write(CHAT, "another")
    stream = b"".join(writer.frame(frame) for frame in frames) + writer.end(Cost(7))
    return stream, anthropic.write(CHAT, "another").whole(frames, Cost(7))


def test_answers_can_be_spelled_for_a_client_of_anthropic() -> None:
    """Spelled anew from events, whole and streamed, an answer satisfies Anthropic's own types."""
    adapter: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
    beta = 0
    for id_, body in answers("anthropic"):
        frames, _ = frames_of(body, at_once)
        stream, whole = spelled(frames)
        try:
            SdkMessage.model_validate_json(whole, strict=True)
            for data in data_lines(stream):
                adapter.validate_json(data, strict=True)
        except ValidationError:
            BetaMessage.model_validate_json(whole, strict=True)
            beta += 1
        assert said_in(stream) == said_in(whole), id_
        # Changed on purpose: a call that ended in `end_turn`. Left out: a gateway's cost.
        changed = ("raw='end_turn'", "reported_cost_nusd=112000")
        told = differences(whole, frames)
        assert [one for one in told if not any(word in one for word in changed)] == [], id_
    assert beta <= 3  # a compaction, a fallback, a call of an MCP server


def test_relayed_answers_keep_their_bytes() -> None:
    """A caller of the same dialect gets an answer as it is, but for an end mark of a gateway."""
    for id_, body in answers("anthropic"):
        frames, _ = frames_of(body, at_once)
        writer = anthropic.write(CHAT, "anthropic")
        if is_whole(body):
            assert writer.whole(frames, Cost(7)) == body, id_
            continue
        frames = frames[: next(n for n, frame in enumerate(frames) if frame.terminal) + 1]
        sent = b"".join(writer.frame(frame) for frame in frames) + writer.end(Cost(7))
        assert body.startswith(sent), id_
        assert body[len(sent) :].strip() in {b"", b"event: data\ndata: [DONE]"}, id_


async def test_streams_survive_the_wire() -> None:
    """Replayed over a socket in random pieces, a recording gives the same events."""
    dice, checked = random.Random(1), 0
    async with FakeUpstream() as up:
        transport = Transport(SystemClock())
        for record in records("anthropic"):
            if not record["stream"] or record["response_status"] != 200:
                continue
            up.script(replay(record).split(dice, 400))
            reply = await transport.send(ask(up.url, stream=True, dialect="anthropic"))
            found = [event async for frame in reply for event in frame.events]
            frames, _ = frames_of(record["body"], at_once)
            frames = frames[: next(n for n, frame in enumerate(frames) if frame.terminal) + 1]
            assert found == [event for frame in frames for event in frame.events], record["id"]
            assert (reply.outcome, reply.finish is not None) == ("complete", True)
            checked += 1
        await transport.close()
    assert checked >= 102


CLASSES: dict[int, type[ProviderError]] = {401: AuthFailed, 404: UpstreamNotFound, 400: Refused}


def test_errors_fall_into_their_class() -> None:
    """Every recorded error maps to the class a reader of its text would choose."""
    checked = 0
    for record in records("anthropic"):
        status, body = record["response_status"], record["body"]
        if status < 400:
            continue
        headers = {k.lower(): str(v) for k, v in (record["response_headers"] or {}).items()}
        error = anthropic.decode_error(status, headers, body)
        expected = CLASSES[status]
        if b"prompt is too long" in body:
            expected = ContextTooLong
        assert type(error) is expected, (record["id"], body)
        assert error.upstream_status == status
        assert error.message
        if expected is AuthFailed:
            assert "key" not in error.message
        checked += 1
    print(f"{checked} recorded errors")
    assert checked >= ERRORS


def test_requests_are_relayed_and_understood() -> None:
    """Every recorded request is read, relayed as the same JSON, and typed without a loss.

    Typed, spelled and read again it is the same prompt, down to cache marks and server tools, but
    for four: a system message in the midst goes to the top, two turns of the user in a row become
    one, and two schemas that Anthropic refused are told to be objects. The one request it refused
    for its shape is refused.
    """
    relayed, refused, changed = 0, 0, {}
    for record in records("anthropic"):
        asked = record["request"]
        if not isinstance(asked, dict):
            continue
        try:
            chat = anthropic.read(json.dumps(asked).encode())
        except InputError:
            refused += 1
            assert record["response_status"] == 400
            continue
        row = Deployment(
            provider="p", model=asked["model"], dialect="anthropic", base_url="http://x.test/v1"
        )
        sent = json.loads(anthropic.encode(chat, row).body)
        kept = {k: v for k, v in asked.items() if v is not None and k != "stream"}
        assert {k: v for k, v in sent.items() if k != "stream"} == kept, record["id"]
        assert sent.get("stream", False) == bool(asked.get("stream"))
        relayed += 1
        typed = replace(chat, body=chat.prompt)
        again = anthropic.read(anthropic.encode(typed, row).body).prompt
        if again != chat.prompt:
            changed[record["id"]] = [
                name
                for name in Prompt.__struct_fields__
                if getattr(again, name) != getattr(chat.prompt, name)
            ]
    print(f"{relayed} recorded requests")
    assert relayed >= 349
    assert refused == 1
    assert changed == {
        "8502013a30e2203f": ["messages"],
        "c915138a84dc81c7": ["messages"],
        "b5ec531582ac331f": ["tools"],
        "dfb3a91906351cb7": ["tools"],
    }


def test_streams_cut_short_have_no_end() -> None:
    """A recorded stream without its last events is not taken for an answer that ended."""
    checked = 0
    for id_, body in answers("anthropic"):
        if is_whole(body):
            continue
        cut = body[: body.index(b"event: message_delta")]
        frames, memo = frames_of(cut, at_once)
        assert not memo.finished, id_
        assert not any(frame.terminal for frame in frames), id_
        checked += 1
    assert checked >= 100


def test_usage_agrees_with_genai_prices() -> None:
    """Our arithmetic reads real usage bodies as pydantic/genai-prices does.

    It does not know that the tokens of a compaction are billed and stand in `iterations` only.
    """
    checked = 0
    with gzip.open(RECORDINGS / "oracle-usages.json.gz", "rt") as file:
        cases = json.load(file)
    for case in cases:
        wire = case["body"].get("usage") or {}
        for extracted in case["extracted"]:
            flavors = {(e["provider_id"], e["api_flavor"]) for e in extracted["extractors"]}
            ours = "cache_creation_input_tokens" in wire or "service_tier" in wire
            if ("anthropic", "default") not in flavors or "total_tokens" in wire or not ours:
                continue
            if any(one["type"] == "compaction" for one in wire.get("iterations") or []):
                continue
            want, got = extracted["usage"], usage_of(wire)
            assert got.prompt_tokens == want.get("input_tokens", 0), wire
            assert got.completion_tokens == want.get("output_tokens", 0), wire
            assert got.cache_read_tokens == want.get("cache_read_tokens", 0), wire
            assert got.cache_write_tokens == want.get("cache_write_tokens", 0), wire
            assert got.cache_write_1h_tokens == want.get("cache_write_1h_tokens", 0), wire
            assert got.reasoning_tokens == want.get("output_reasoning_tokens", 0), wire
            assert got.web_search_requests == want.get("web_searches", 0), wire
            checked += 1
    print(f"{checked} usage bodies of the oracle")
    assert checked >= 224


def test_every_answer_names_its_model() -> None:
    """The provider's own model name is read from every answer."""
    for id_, body in answers("anthropic"):
        frames, _ = frames_of(body, at_once)
        started = [e for frame in frames for e in frame.events if isinstance(e, Started)]
        said = said_in(body)
        assert [(e.id, e.model) for e in started] == [(said["id"], said["model"])], id_

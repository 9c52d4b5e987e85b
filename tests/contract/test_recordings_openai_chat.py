"""Every recorded chat answer of an OpenAI-compatible provider decodes to what its body says.

Nobody on this project wrote the recordings. What a body says is read here by plain JSON, apart
from the dialect's own code, and both readings must agree: text, reasoning, tool calls, finish and
usage, whole and streamed, also in random byte splits.
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

import msgspec
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from trunkline.dialects import openai_chat
from trunkline.dialects.openai_chat.usage import usage_of
from trunkline.errors import (
    AuthFailed,
    ContextTooLong,
    InputError,
    ProviderError,
    Refused,
    UpstreamFailed,
    UpstreamNotFound,
    UpstreamRateLimited,
)
from trunkline.fold import Fold
from trunkline.transport.sse import SseSplitter
from trunkline.types import (
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
    ToolResult,
    Usage,
    UsageReport,
    say,
)

RECORDINGS = Path(__file__).parents[2] / os.environ.get(
    "TRUNKLINE_RECORDINGS", "../shared/recordings"
)
# How many answers (whole and streamed) of each provider must be checked at least.
ANSWERS = {
    "azure_openai": 64,
    "bedrock": 10,
    "copilot": 14,
    "deepseek": 101,
    "gateway_self_hosted": 3,
    "groq": 33,
    "huggingface": 11,
    "llamacpp": 62,
    "local_other": 18,
    "mistral": 144,
    "mistralrs": 4,
    "ollama_openai_compat": 82,
    "openai": 291,
    "openrouter": 192,
    "other": 1,
    "other_compat": 65,
    "perplexity": 8,
    "together": 3,
    "venice": 26,
    "vllm": 7,
    "xai": 8,
    "zai": 5,
}
ERRORS = 72
Json = dict[str, Any]

pytestmark = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason=f"no recordings at {RECORDINGS}; set TRUNKLINE_RECORDINGS"
)


@cache
def records(provider: str) -> list[Json]:
    """Read the chat records of one provider, bodies as bytes."""
    found = []
    with gzip.open(RECORDINGS / f"{provider}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            if record["endpoint"] != "chat.completions":
                continue
            body = record["response_body"]
            encoded = record["body_encoding"] == "base64"
            record["body"] = base64.b64decode(body) if encoded else body.encode()
            found.append(record)
    return found


def answers(provider: str) -> Iterator[tuple[str, bytes]]:
    """Give the id and body of each answer that is no error."""
    for record in records(provider):
        if record["response_status"] < 400:
            yield record["id"], record["body"]


# --- the independent reading ----------------------------------------------------------------------


def said_in(body: bytes) -> Json:
    """Read an answer's first choice by plain JSON: whole, or every delta of a stream joined."""
    whole = body.lstrip().startswith(b"{")
    key = "message" if whole else "delta"
    objects = [json.loads(body)] if whole else [json.loads(d) for d in data_lines(body)]
    said: Json = {"text": "", "reasoning": "", "calls": {}, "finish": None, "usage": None}
    for data in objects:
        said["usage"] = (
            data.get("usage") or (data.get("x_groq") or {}).get("usage") or said["usage"]
        )
        for choice in data.get("choices") or []:
            if choice.get("index", 0) == 0:
                said["finish"] = choice.get("finish_reason") or said["finish"]
                read_message(choice.get(key) or {"content": choice.get("text")}, said)
    return said


def data_lines(body: bytes) -> list[bytes]:
    """Return the data of each event but the end mark."""
    found = re.findall(rb"^data:(.*?)\r?$", body, re.MULTILINE)
    return [data for data in map(bytes.strip, found) if data not in {b"", b"[DONE]"}]


def read_message(message: Json, said: Json) -> None:
    """Add one message or delta to what was said."""
    content = message.get("content")
    if isinstance(content, dict):
        text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
        content = [{"type": "text", "text": text}]
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    for part in content or []:
        if part["type"] == "text":
            said["text"] += part["text"]
        elif part["type"] == "thinking":
            said["reasoning"] += "".join(item["text"] for item in part["thinking"])
    details = "".join(
        d.get("text") or d.get("summary") or "" for d in message.get("reasoning_details") or []
    )
    said["reasoning"] += message.get("reasoning_content") or message.get("reasoning") or details
    calls = message.get("tool_calls") or []
    if message.get("function_call"):
        calls = [{"index": 0, "function": message["function_call"]}]
    for position, call in enumerate(calls):
        inner = call.get("function") or call["custom"]
        place = call.get("index", call.get("id", position))
        known = said["calls"].setdefault(place, {"name": "", "arguments": ""})
        known["id"] = known.get("id") or call.get("id")
        known["name"] = known["name"] or inner.get("name") or ""
        known["arguments"] += inner.get("arguments") or inner.get("input") or ""


FINISHES = {"function_call": "tool_calls", "eos": "stop", None: "unknown"}


def differences(body: bytes, frames: list[Frame]) -> Iterator[str]:
    """Say where the dialect's reading of an answer differs from the plain one."""
    said = said_in(body)
    fold, finish, usage = Fold(), None, None
    for event in (event for frame in frames for event in frame.events):
        fold.add(event)
        if isinstance(event, UsageReport):
            usage = event.usage
        elif isinstance(event, Finish) and event.choice == 0:
            finish = event.reason
    message = fold.message()
    calls = [(call.name, call.arguments) for call in message.tool_calls]
    expected = [(c["name"], c["arguments"] or "{}") for c in said["calls"].values()]
    expected = [(name, "{}" if text == "null" else text) for name, text in expected]
    reason = FINISHES.get(said["finish"], said["finish"])
    if calls and reason == "stop":
        reason = "tool_calls"
    if message.text != said["text"]:
        yield f"text {message.text!r} is not {said['text']!r}"
    if message.thinking != said["reasoning"]:
        yield f"thinking {message.thinking!r} is not {said['reasoning']!r}"
    if calls != expected:
        yield f"calls {calls} are not {expected}"
    ids = [c["id"] for c in said["calls"].values()]
    if any(want and call.id != want for call, want in zip(message.tool_calls, ids, strict=True)):
        yield f"ids of {message.tool_calls} are not {ids}"
    if finish != reason:
        yield f"finish {finish} is not {reason}"
    yield from usage_differences(usage, said["usage"])


def usage_differences(usage: Usage | None, wire: Json | None) -> Iterator[str]:
    """Say where usage breaks an inclusion or does not add up to the provider's own total."""
    if wire is None or usage is None:
        if wire or usage:
            yield f"usage {usage} is not {wire}"
        return
    parts = (wire.get("prompt_tokens") or 0) + (wire.get("completion_tokens") or 0)
    total = wire.get("total_tokens") or parts
    if usage.total_tokens != total:
        yield f"{usage.total_tokens} tokens in all, {wire} says {total}"
    if usage.cache_read_tokens + usage.cache_write_tokens > usage.prompt_tokens:
        yield f"more cached than prompt tokens: {usage}"
    if usage.reasoning_tokens > usage.completion_tokens:
        yield f"more reasoning than completion tokens: {usage}"
    cached = (wire.get("prompt_tokens_details") or {}).get("cached_tokens")
    if cached and usage.cache_read_tokens != min(cached, usage.prompt_tokens):
        yield f"{usage.cache_read_tokens} cached, {wire}"


# --- the tests ------------------------------------------------------------------------------------


def frames_of(body: bytes, split: Callable[[bytes], list[bytes]]) -> tuple[list[Frame], Memo]:
    """Decode an answer as transport does, a stream in the pieces `split` makes of it."""
    memo = Memo()
    if body.lstrip().startswith(b"{"):
        return [openai_chat.decode(body, memo)], memo
    splitter = SseSplitter()
    blocks = [block for piece in split(body) for block in splitter.feed(piece)]
    if rest := splitter.rest():
        blocks.append(rest)
    assert b"".join(blocks) == body
    return [openai_chat.decode_frame(block, memo) for block in blocks], memo


def at_once(body: bytes) -> list[bytes]:
    """Leave a body in one piece."""
    return [body]


@pytest.mark.parametrize("provider", ANSWERS)
def test_answers_say_what_their_bodies_say(
    provider: str, record_property: Callable[[str, object], None]
) -> None:
    """Each recorded answer of a provider decodes to what a plain reading of its JSON finds."""
    checked, wrong = 0, []
    for id_, body in answers(provider):
        frames, memo = frames_of(body, at_once)
        wrong += [f"{id_}: {difference}" for difference in differences(body, frames)]
        if not memo.finished:
            wrong.append(f"{id_}: no end was seen")
        checked += 1
    record_property("answers", checked)
    print(f"{provider}: {checked} recorded answers")
    assert wrong == []
    assert checked >= ANSWERS[provider]


@pytest.mark.parametrize("provider", ANSWERS)
def test_streams_may_come_in_any_byte_splits(provider: str) -> None:
    """A stream read in random pieces gives the same frames and the same answer."""
    chance = random.Random(provider)

    def pieces(body: bytes) -> list[bytes]:
        cuts = sorted(chance.randrange(len(body)) for _ in range(len(body) // 200 + 2))
        return [body[start:end] for start, end in pairwise([0, *cuts, len(body)])]

    for id_, body in answers(provider):
        frames, _ = frames_of(body, pieces)
        assert list(differences(body, frames)) == [], id_


@pytest.mark.parametrize("provider", ANSWERS)
def test_marks_tell_no_less_than_the_events(provider: str) -> None:
    """What a scan says of a frame undecoded is what its events turn out to be."""
    for id_, body in answers(provider):
        for frame in frames_of(body, at_once)[0]:
            kinds = {type(event) for event in frame.events}
            assert bool(frame.mark & Mark.USAGE) == (UsageReport in kinds), id_
            assert bool(frame.mark & Mark.FINISH) == (Finish in kinds), id_
            quiet = all(
                kind.__name__ in {"Started", "Extra", "Finish", "UsageReport"} for kind in kinds
            )
            assert bool(frame.mark & Mark.SHOWN) == (not quiet or body.lstrip().startswith(b"{")), (
                id_
            )


@pytest.mark.parametrize("provider", ANSWERS)
def test_answers_can_be_spelled_for_a_client_of_openai(provider: str) -> None:
    """Spelled anew from events, whole and streamed, an answer satisfies OpenAI's own types."""
    chat = Chat(
        id="01J",
        model="m",
        body=Prompt(
            messages=(say("user", "Hi"),), extra={"stream_options": {"include_usage": True}}
        ),
    )
    for id_, body in answers(provider):
        frames, _ = frames_of(body, at_once)
        writer = openai_chat.write(chat, "another")
        stream = b"".join(writer.frame(frame) for frame in frames) + writer.end(Cost(7))
        for data in data_lines(stream):
            if b'"type":"custom"' not in data:  # the SDK's type of a chunk does not know it yet
                ChatCompletionChunk.model_validate_json(data)
        assert stream.endswith(b"data: [DONE]\n\n")
        again = said_in(stream)
        whole = openai_chat.write(chat, "another").whole(frames, Cost(7))
        if b'"annotations":[{"type":"file"' not in whole:  # OpenRouter's own kind of annotation
            ChatCompletion.model_validate_json(whole)
        before, after = said_in(whole), said_in(body)
        for name in ("text", "reasoning"):
            assert again[name] == after[name] == before[name], id_
        assert again["finish"] == before["finish"], id_
        assert again["usage"] == before["usage"], id_


@pytest.mark.parametrize("provider", ANSWERS)
def test_relayed_answers_keep_their_bytes(provider: str) -> None:
    """A caller who asked for usage gets an answer of this dialect as it is, plus the cost."""
    chat = openai_chat.read(
        b'{"messages":[{"role":"user","content":"Hi"}],"stream":true,'
        b'"stream_options":{"include_usage":true}}'
    )
    extension = re.compile(rb',?"trunkline":\{"cost_nusd":7,"cost_state":"exact"\}')
    for id_, body in answers(provider):
        frames, _ = frames_of(body, at_once)
        writer = openai_chat.write(chat, "openai_chat")
        if body.lstrip().startswith(b"{"):
            sent = writer.whole(frames, Cost(7))
            assert json.loads(extension.sub(b"", sent)) == json.loads(body), id_
            continue
        sent = b"".join(writer.frame(frame) for frame in frames) + writer.end(Cost(7))
        assert sent.endswith(b"data: [DONE]\n\n")
        plain = data_lines(extension.sub(b"", sent))
        assert [json.loads(data) for data in plain] == [json.loads(d) for d in data_lines(body)], (
            id_
        )


CLASSES: dict[int, type[ProviderError] | None] = {
    401: AuthFailed,
    403: AuthFailed,
    404: UpstreamNotFound,
    429: UpstreamRateLimited,
    500: UpstreamFailed,
}


def test_errors_fall_into_their_class() -> None:
    """Every recorded error status maps to the class a reader of its text would choose."""
    checked = 0
    for provider in ANSWERS:
        for record in records(provider):
            status, body = record["response_status"], record["body"]
            if status < 400:
                continue
            headers = {k.lower(): str(v) for k, v in (record["response_headers"] or {}).items()}
            error = openai_chat.decode_error(status, headers, body)
            text = body.decode()
            expected = CLASSES.get(status)
            if expected is None:
                long = re.search(
                    r"maximum context length|context size|prompt too long|too_many", text
                )
                lost = re.search(r"nvalid model|not a valid model|API model names", text)
                expected = ContextTooLong if long else UpstreamNotFound if lost else Refused
            assert type(error) is expected, (record["id"], text)
            assert error.upstream_status == status
            assert error.message
            assert "\ufffd" not in error.message
            if expected is AuthFailed:
                assert "key" not in error.message
            checked += 1
    print(f"{checked} recorded errors")
    assert checked >= ERRORS


def test_requests_are_relayed_and_understood() -> None:
    """Every recorded request is read, relayed as the same JSON, and typed without a loss.

    Typed, spelled and read again it is the same prompt. Ollama's `max_tokens: 0` is refused.
    """
    row = Deployment(provider="p", model="m", base_url="http://x.test/v1")
    relayed, refused = 0, 0
    for provider in ANSWERS:
        for record in records(provider):
            asked = record["request"]
            if not isinstance(asked, dict):
                continue
            try:
                chat = openai_chat.read(json.dumps(asked).encode())
            except InputError:
                refused += 1
                assert record["response_status"] == 400 or asked["max_tokens"] == 0
                continue
            sent = json.loads(openai_chat.encode(chat, row).body)
            changed = ("model", "stream", "stream_options")
            kept = {k: v for k, v in asked.items() if v is not None and k not in changed}
            assert {k: v for k, v in sent.items() if k not in changed} == kept, record["id"]
            assert (sent["model"], sent.get("stream", False)) == ("m", bool(asked.get("stream")))
            relayed += 1
            results = [
                p for m in chat.prompt.messages for p in m.parts if isinstance(p, ToolResult)
            ]
            if all(isinstance(part, Text) for result in results for part in result.parts):
                typed = msgspec.structs.replace(chat, body=chat.prompt)
                again = openai_chat.read(openai_chat.encode(typed, row).body).prompt
                assert again == chat.prompt, record["id"]
    print(f"{relayed} recorded requests")
    assert relayed >= 1150
    assert refused == 5


def test_a_wait_of_a_millisecond_does_not_beat_one_of_a_second() -> None:
    """Azure's `retry-after-ms: 0` beside `retry-after: 1` means one second."""
    record = next(r for r in records("azure_openai") if r["response_status"] == 429)
    error = openai_chat.decode_error(429, record["response_headers"], record["body"])
    assert error.retry_after_s == 1


def test_streams_cut_short_have_no_end() -> None:
    """A recorded stream without its last events is not taken for an answer that ended."""
    checked = 0
    for id_, body in answers("openai"):
        if body.startswith(b"data:"):
            finish = re.search(rb'"finish_reason": ?"', body)
            assert finish is not None
            cut = body[: body.rfind(b"\n\n", 0, finish.start()) + 2]
            frames, memo = frames_of(cut, at_once)
            assert not memo.finished, id_
            assert not any(frame.terminal for frame in frames), id_
            checked += 1
    assert checked >= 76


def test_usage_agrees_with_genai_prices() -> None:
    """Our arithmetic reads real usage bodies as pydantic/genai-prices does.

    It does not know Mistral's `num_cached_tokens`.
    """
    checked = 0
    with gzip.open(RECORDINGS / "oracle-usages.json.gz", "rt") as file:
        cases = json.load(file)
    for case in cases:
        wire = case["body"].get("usage") or {}
        for extracted in case["extracted"]:
            flavors = {(e["provider_id"], e["api_flavor"]) for e in extracted["extractors"]}
            if "prompt_tokens" not in wire or ("openai", "chat") not in flavors:
                continue
            want, got = extracted["usage"], usage_of(wire, frozenset())
            assert got.prompt_tokens == want.get("input_tokens", 0)
            assert got.completion_tokens == want.get("output_tokens", 0)
            assert got.reasoning_tokens == want.get("output_reasoning_tokens", 0)
            cached = wire.get("num_cached_tokens") or want.get("cache_read_tokens", 0)
            assert got.cache_read_tokens == cached
            assert got.cache_write_tokens == want.get("cache_write_tokens", 0)
            assert got.audio_input_tokens == want.get("input_audio_tokens", 0)
            assert got.audio_output_tokens == want.get("output_audio_tokens", 0)
            assert got.web_search_requests == want.get("web_searches", 0)
            checked += 1
    assert checked >= 400


def test_every_answer_names_its_model() -> None:
    """The provider's own model name is read from every answer that has one."""
    for provider in ANSWERS:
        for id_, body in answers(provider):
            frames, _ = frames_of(body, at_once)
            started = [e for frame in frames for e in frame.events if isinstance(e, Started)]
            names = set(re.findall(r'"model": ?"([^"]+)"', body.decode()))
            assert {event.model for event in started} - {None} <= names, id_
            assert bool(started) == bool(names), id_

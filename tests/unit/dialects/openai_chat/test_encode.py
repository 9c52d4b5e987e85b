"""`encode`: the caller's own bytes, the edits, the quirks, URL and headers."""

import json
import re
import tomllib
from importlib.resources import files
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from trunkline.dialects.openai_chat import QUIRKS, continues, encode, read
from trunkline.dialects.openai_chat.quirks import applying
from trunkline.types import Chat, Deployment, Outgoing, Prompt, Secret, Wire, say

BODY = (
    b'{"model": "alias", "messages": [{"role":"user",  "content":"H\\u00e9", "x": 1.0}],'
    b' "big": 12345678901234567890123, "temperature": 0.70, "unknown": {"b":1,"a":[ ]}}'
)


def row(*quirks: str, **fields: Any) -> Deployment:
    """Make a deployment."""
    defaults: dict[str, Any] = {"provider": "p", "model": "gpt-4o", "base_url": "http://x.test/v1"}
    return Deployment(quirks=frozenset(quirks), **(defaults | fields))


def sent(chat: Chat, *quirks: str, **fields: Any) -> tuple[dict[str, Any], Outgoing]:
    """Encode and return the decoded body beside the request."""
    out = encode(chat, row(*quirks, **fields))
    return json.loads(out.body), out


def ask(**fields: Any) -> Chat:
    """Read a request with `fields`."""
    asked = {"model": "a", "messages": [{"role": "user", "content": "Hi"}]} | fields
    return read(json.dumps(asked).encode())


def test_only_the_model_changes() -> None:
    """A body of the same dialect keeps every other field byte for byte, and their order."""
    out = encode(read(BODY), row())
    assert out.body == (
        b'{"model":"gpt-4o","messages":[{"role":"user",  "content":"H\\u00e9", "x": 1.0}],'
        b'"big":12345678901234567890123,"temperature":0.70,"unknown":{"b":1,"a":[ ]}}'
    )
    assert out.dropped == ()


def test_a_stream_always_asks_for_usage() -> None:
    """Streaming sets include_usage and keeps the caller's other stream options."""
    chat = ask(stream=True, stream_options={"include_obfuscation": False})
    body, out = sent(chat)
    assert body["stream"] is True
    assert body["stream_options"] == {"include_obfuscation": False, "include_usage": True}
    assert out.headers["accept"] == "text/event-stream"


def test_a_whole_answer_is_asked_for_without_stream_fields() -> None:
    """`Call.stream` decides, whatever the body says; stream options would be refused without it."""
    chat = msgspec.structs.replace(
        ask(stream=True, stream_options={"include_usage": True}), stream=False
    )
    body, out = sent(chat)
    assert "stream" not in body
    assert "stream_options" not in body
    assert out.headers["accept"] == "application/json"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"max_tokens": 50}),
        ({"max_tokens": 80}, {"max_tokens": 50}),
        ({"max_completion_tokens": 80}, {"max_completion_tokens": 50}),
        ({"max_completion_tokens": 50}, {"max_completion_tokens": 50}),
        (
            {"max_completion_tokens": 80, "max_tokens": 90},
            {"max_completion_tokens": 50, "max_tokens": 50},
        ),
        (
            {"max_completion_tokens": 80, "max_tokens": 9},
            {"max_completion_tokens": 50, "max_tokens": 9},
        ),
    ],
)
def test_a_cap_that_a_layer_set_is_sent(fields: dict[str, Any], expected: dict[str, int]) -> None:
    """`Wire.max_output_tokens` decides the cap, under the name the caller used."""
    chat = ask(**fields)
    assert isinstance(chat.body, Wire)
    capped = msgspec.structs.replace(
        chat, body=msgspec.structs.replace(chat.body, max_output_tokens=50)
    )
    body, _ = sent(capped)
    assert {name: body[name] for name in body if name.startswith("max_")} == expected
    assert capped.prompt.max_output_tokens == 50


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("http://x.test/v1", "http://x.test/v1/chat/completions"),
        ("http://x.test/v1/", "http://x.test/v1/chat/completions"),
        ("http://x.test/v1?api-version=1", "http://x.test/v1/chat/completions?api-version=1"),
    ],
)
def test_the_path_joins_any_base(base: str, url: str) -> None:
    """A trailing slash and a query of the base URL are respected."""
    assert encode(ask(), row(base_url=base)).url == url


def test_the_key_is_a_bearer_and_the_rows_headers_win() -> None:
    """Without a key there is no authorization; a row's own headers replace ours in any case."""
    assert "authorization" not in encode(ask(), row()).headers
    out = encode(ask(), row(api_key=Secret("sk-1")))
    assert out.headers["authorization"] == "Bearer sk-1"
    assert out.headers["content-type"] == "application/json"
    out = encode(ask(), row("api_key_header", api_key=Secret("k")))
    assert out.headers["api-key"] == "k"
    assert "authorization" not in out.headers
    own = row(api_key=Secret("sk-1"), headers=(("Authorization", "Basic x"), ("X-Org", "o")))
    out = encode(ask(), own)
    assert out.headers["authorization"] == "Basic x"
    assert out.headers["x-org"] == "o"


@pytest.mark.parametrize(
    ("quirks", "model", "asked", "expected", "dropped"),
    [
        (["openai_strict"], "gpt-4o", {"top_k": 1, "seed": 2}, {"seed": 2}, ["top_k"]),
        (["no_top_k"], "x", {"top_k": 1, "min_p": 0.1}, {"min_p": 0.1}, ["top_k"]),
        (["max_completion_tokens"], "x", {"max_tokens": 5}, {"max_completion_tokens": 5}, []),
        (
            ["max_completion_tokens"],
            "x",
            {"max_tokens": 5, "max_completion_tokens": 4},
            {"max_completion_tokens": 4},
            [],
        ),
        (["max_tokens"], "x", {"max_completion_tokens": 5}, {"max_tokens": 5}, []),
        (["random_seed"], "x", {"seed": 5}, {"random_seed": 5}, []),
        (["no_sampling"], "x", {"temperature": 1, "stop": "x"}, {}, ["stop", "temperature"]),
        (["no_penalties"], "x", {"temperature": 1, "stop": "x"}, {"temperature": 1}, ["stop"]),
        (["no_logprobs"], "x", {"logprobs": True, "seed": 1}, {"seed": 1}, ["logprobs"]),
        (
            ["minimal"],
            "x",
            {"tool_choice": "auto", "temperature": 1},
            {"temperature": 1},
            ["tool_choice"],
        ),
        (
            ["openai_reasoning_models"],
            "gpt-5-mini",
            {"temperature": 0.5, "max_tokens": 5, "seed": 1},
            {"max_completion_tokens": 5, "seed": 1},
            ["temperature"],
        ),
        (
            ["openai_reasoning_models"],
            "openai/o3",
            {"top_p": 0.5},
            {},
            ["top_p"],
        ),
        (
            ["openai_reasoning_models"],
            "gpt-5.2",
            {"temperature": 0.5, "reasoning_effort": "none"},
            {"temperature": 0.5, "reasoning_effort": "none"},
            [],
        ),
        (
            ["mistral_strict"],
            "mistral-small-latest",
            {"top_k": 1, "min_p": 0.1, "user": "u", "safe_prompt": True},
            {"top_k": 1, "safe_prompt": True},
            ["min_p", "user"],
        ),
        (["kimi_sampling"], "kimi-k3", {"top_p": 0.5, "seed": 1}, {"seed": 1}, ["top_p"]),
        (["kimi_sampling"], "moonshot-v1-8k", {"top_p": 0.5}, {"top_p": 0.5}, []),
        (["no_foreign_switches"], "x", {"min_p": 1, "options": {}}, {"min_p": 1}, ["options"]),
        (["openai_reasoning_models"], "gpt-4o", {"temperature": 0.5}, {"temperature": 0.5}, []),
        (["openai_reasoning_models"], "gpt-5-chat-latest", {"top_p": 1}, {"top_p": 1}, []),
    ],
)
def test_quirks_drop_and_rename(
    quirks: list[str],
    model: str,
    asked: dict[str, Any],
    expected: dict[str, Any],
    dropped: list[str],
) -> None:
    """A quirk edits exactly the options it names, for the models it names, relayed or typed."""
    chat = ask(**asked)
    typed = msgspec.structs.replace(chat, body=chat.prompt)
    for body, out in (sent(chat, *quirks, model=model), sent(typed, *quirks, model=model)):
        del body["model"], body["messages"]
        assert body == expected
        assert list(out.dropped) == dropped


def test_stream_options_can_be_kept_away() -> None:
    """A provider that refuses stream_options is not sent them, and nobody is told of a loss."""
    body, out = sent(ask(stream=True), "no_stream_options")
    assert "stream_options" not in body
    assert body["stream"] is True
    assert out.dropped == ()


@pytest.mark.parametrize("quirk", ["openai_strict", "no_reasoning_back"])
def test_old_reasoning_is_not_sent_to_who_refuses_it(quirk: str) -> None:
    """Reasoning fields of old assistant messages are taken out; the rest of them stays."""
    said = {
        "role": "assistant",
        "content": "A",
        "reasoning_content": "Hm.",
        "reasoning_details": [],
    }
    chat = ask(messages=[{"role": "user", "content": "Hi"}, said])
    body, _ = sent(chat, quirk)
    assert body["messages"][1] == {"role": "assistant", "content": "A"}
    body, _ = sent(chat)
    assert body["messages"][1] == said


def test_proofs_of_thoughts_are_not_sent_to_who_refuses_them() -> None:
    """Gemini's stand beside its calls; where they are refused the call goes up without."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    proof = {"extra_content": {"google": {"thought_signature": "c2ln"}}}
    said = {"role": "assistant", "content": None, "tool_calls": [call | proof]}
    result = {"role": "tool", "tool_call_id": "c1", "content": "1"}
    chat = ask(messages=[{"role": "user", "content": "Hi"}, said, result])
    body, _ = sent(chat, "openai_strict")
    assert body["messages"][1:] == [said | {"tool_calls": [call]}, result]
    body, _ = sent(chat)
    assert body["messages"][1] == said


def test_messages_without_reasoning_keep_their_bytes() -> None:
    """Where there is nothing to take out, the messages go up as they came."""
    messages = read(BODY).body.fields["messages"]  # type: ignore[union-attr]
    assert b'"messages":%b,' % bytes(messages) in encode(read(BODY), row("openai_strict")).body


def test_every_quirk_says_why_and_where_that_is_known() -> None:
    """Each row of the table has a reason and a dated source, and holds where it is named."""
    for name, quirk in QUIRKS.items():
        assert quirk.why
        assert re.fullmatch(r"https://\S+ \d{4}-\d\d-\d\d", quirk.source), name
        model = (quirk.models or ("any",))[0]
        assert applying(row(name, model=model)) == (quirk,)


def test_rows_of_the_catalog_name_quirks_that_exist() -> None:
    """A misspelled quirk would change nothing, silently."""
    rows = tomllib.loads(files("trunkline.catalog").joinpath("providers.toml").read_text())
    named = {
        quirk
        for row in rows.values()
        if row.get("dialect", "openai_chat") == "openai_chat"
        for quirk in row.get("quirks", ())
    }
    assert named
    assert named <= QUIRKS.keys()


def test_a_typed_prompt_sends_nothing_it_does_not_say() -> None:
    """Options left at None are not sent at all."""
    body, _ = sent(Chat(model="m", stream=True, body=Prompt(messages=(say("user", "Hi"),))))
    assert body == {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_extra_options_of_a_typed_prompt_are_sent() -> None:
    """What a library user passes beyond the neutral form reaches the provider."""
    prompt = Prompt(messages=(say("user", "Hi"),), extra={"service_tier": "flex", "top_a": 1})
    body, out = sent(Chat(model="m", body=prompt), "openai_strict")
    assert body["service_tier"] == "flex"
    assert out.dropped == ("top_a",)


GOES_ON: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "prefix": ({"prefix": True}, {}),
    "continue_final_message": (
        {},
        {"continue_final_message": True, "add_generation_prompt": False},
    ),
    "last_message_open": ({}, {}),
}


@pytest.mark.parametrize("quirk", list(GOES_ON))
@pytest.mark.parametrize("typed", [False, True], ids=["relayed", "typed"])
def test_the_beginning_of_an_answer_is_handed_on(quirk: str, typed: bool) -> None:
    """As the last message, in the provider's way; the caller's own messages stay as they are."""
    chat = replace(ask(), partial="Once")
    chat = replace(chat, body=chat.prompt) if typed else chat
    message, beside = GOES_ON[quirk]
    fields, _ = sent(chat, quirk)
    last = {"role": "assistant", "content": "Once", **message}
    assert fields["messages"] == [{"role": "user", "content": "Hi"}, last]
    assert fields.keys() - {"model", "messages"} == beside.keys()
    assert beside.items() <= fields.items()
    assert continues(chat, row(quirk))


def test_who_may_begin_anew_is_not_asked_to_go_on() -> None:
    """Only where it is documented; DeepSeek only below its beta URL."""
    assert not continues(ask(), row("max_tokens"))
    assert not continues(ask(), row("beta_prefix"))
    assert continues(ask(), row("beta_prefix", base_url="https://x.test/beta/"))


def test_no_option_asks_for_more_than_money_was_held_for() -> None:
    """Neither what proxies merge over the rest nor a local server's own name for the cap."""
    inner = {"max_tokens": 9000, "n": 4, "google": {"cached_content": "c"}}
    body, out = sent(ask(max_tokens=20, n_predict=9000, extra_body=inner))
    assert (body["max_tokens"], "n_predict" in body) == (20, False)
    assert body["extra_body"] == {"google": {"cached_content": "c"}}
    assert out.dropped == ("extra_body.max_tokens", "extra_body.n")
    assert sent(ask(n_predict=30))[0]["max_tokens"] == 30
    typed = Prompt(messages=(say("user", "Hi"),), max_output_tokens=20, extra={"max_tokens": 9000})
    assert sent(Chat(model="m", body=typed))[0]["max_tokens"] == 20

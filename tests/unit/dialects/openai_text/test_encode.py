"""`encode`: the caller's own bytes, the edits, URL and headers; and the way into a chat."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from trunkline.dialects import load
from trunkline.errors import InputError
from trunkline.types import Chat, Deployment, Prompt, Secret, say

text = load("openai_text")
BODY = (
    b'{"model": "alias", "prompt": [1,  2], "big": 12345678901234567890123, "echo":true,'
    b' "best_of": 3, "top_k": 5, "suffix":"\\u00e9", "max_tokens": 0, "unknown": {"b":1,"a":[ ]}}'
)
ROW = Deployment(
    provider="openai",
    model="davinci-002",
    dialect="openai_text",
    base_url="http://x.test/v1/?v=1",
    api_key=Secret("sk-1"),
    quirks=frozenset({"openai_strict"}),
)


def ask(**fields: Any) -> Chat:
    """Read a request with `fields`."""
    chat: Chat = text.read(json.dumps({"model": "a", "prompt": "Hi"} | fields).encode())
    return chat


def test_only_the_model_changes() -> None:
    """Every other field goes up byte for byte, in its order, those that chat never knew too."""
    out = text.encode(text.read(BODY), ROW)
    assert out.body == (
        b'{"model":"davinci-002","prompt":[1,  2],"big":12345678901234567890123,"echo":true,'
        b'"best_of":3,"top_k":5,"suffix":"\\u00e9","max_tokens":0,"unknown":{"b":1,"a":[ ]}}'
    )
    assert (out.url, out.dropped) == ("http://x.test/v1/completions?v=1", ())
    assert out.headers["authorization"] == "Bearer sk-1"


def test_a_stream_always_asks_for_usage() -> None:
    """Streaming sets include_usage and keeps the caller's other stream options."""
    chat = ask(stream=True, stream_options={"x": 1})
    body = json.loads(text.encode(chat, ROW).body)
    assert body["stream_options"] == {"x": 1, "include_usage": True}
    whole = json.loads(text.encode(replace(chat, stream=False), ROW).body)
    assert whole.keys() == {"model", "prompt"}


@pytest.mark.parametrize("fields", [{}, {"max_tokens": 900}])
def test_a_cap_that_a_layer_set_is_sent(fields: dict[str, Any]) -> None:
    """It replaces the caller's own."""
    chat = ask(**fields)
    assert "max_tokens" not in fields or chat.body.max_output_tokens == 900
    capped = replace(chat, body=replace(chat.body, max_output_tokens=5))
    assert json.loads(text.encode(capped, ROW).body)["max_tokens"] == 5


def test_a_chat_is_no_text_completion() -> None:
    """A deployment that is asked at /completions cannot take it."""
    with pytest.raises(InputError, match="openai/davinci-002"):
        text.encode(Chat(model="m", body=Prompt(messages=(say("user", "Hi"),))), ROW)


def test_an_openai_chat_deployment_is_sent_a_chat() -> None:
    """Options of the family keep their names, also those that have no neutral one."""
    chat = ask(n=2, logit_bias={"5": 1}, stop=["X"], min_p=0.5)
    row = replace(ROW, model="m", dialect="openai_chat", quirks=frozenset())
    out = load("openai_chat").encode(chat, row)
    assert json.loads(out.body) == {
        "messages": [{"role": "user", "content": "Hi"}],
        "stop": ["X"],
        "n": 2,
        "logit_bias": {"5": 1},
        "min_p": 0.5,
        "model": "m",
    }
    assert out.url == "http://x.test/v1/chat/completions?v=1"


def test_an_anthropic_deployment_is_sent_a_message() -> None:
    """What it has no name for is dropped, and said so."""
    row = replace(ROW, dialect="anthropic", model="claude")
    out = load("anthropic").encode(ask(temperature=0.5, logit_bias={"5": 1}, max_tokens=9), row)
    body = json.loads(out.body)
    assert body["messages"] == [{"role": "user", "content": "Hi"}]
    assert (body["max_tokens"], body["temperature"]) == (9, 0.5)
    assert "logit_bias" in out.dropped


def test_no_option_asks_for_more_than_money_was_held_for() -> None:
    """Neither what proxies merge over the rest nor a local server's own name for the cap."""
    more = {"n_predict": 9000, "extra_body": {"max_tokens": 9000, "a": 1}}
    out = text.encode(ask(max_tokens=20, **more), ROW)
    wire = json.loads(out.body)
    assert (wire["max_tokens"], wire["extra_body"]) == (20, {"a": 1})
    assert "n_predict" not in wire
    assert out.dropped == ("extra_body.max_tokens",)

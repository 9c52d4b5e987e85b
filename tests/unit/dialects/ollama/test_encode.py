"""The request as a whole: where it goes, with what key, and what it says however it was asked."""

import json

import pytest

from tests.unit.dialects.ollama.wire import HI, outgoing, row
from trunkline.dialects import load
from trunkline.dialects.ollama import encode
from trunkline.types import Chat, Prompt, Secret


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("http://h:11434", "http://h:11434/api/chat"),
        ("http://h:11434/v1", "http://h:11434/api/chat"),
        ("http://h:11434/v1/", "http://h:11434/api/chat"),
        ("http://h:11434/api", "http://h:11434/api/chat"),
        ("https://h/proxy/ollama", "https://h/proxy/ollama/api/chat"),
        ("https://h/proxy/ollama?a=1", "https://h/proxy/ollama/api/chat?a=1"),
    ],
)
def test_every_usual_address_means_the_same(base_url: str, url: str) -> None:
    """With or without `/v1` or `/api`; another path is kept."""
    assert outgoing(Prompt(messages=(HI,)), row(base_url=base_url)).url == url


def test_a_key_is_sent_where_there_is_one() -> None:
    """Ollama's cloud wants one, a server of one's own none."""
    prompt = Prompt(messages=(HI,))
    assert "authorization" not in outgoing(prompt).headers
    keyed = row(api_key=Secret("ollama-key-1234"), headers=(("X-Team", "a"),))
    headers = outgoing(prompt, keyed).headers
    assert (headers["authorization"], headers["x-team"]) == ("Bearer ollama-key-1234", "a")


@pytest.mark.parametrize("stream", [False, True])
def test_stream_is_always_said(stream: bool) -> None:
    """Who says nothing gets a stream from Ollama."""
    made = outgoing(Prompt(messages=(HI,)), stream=stream)
    body = json.loads(made.body)
    assert (body["model"], body["stream"]) == ("qwen3:8b", stream)
    assert ("ndjson" in made.headers["accept"]) is stream


def test_an_answer_goes_on_from_its_beginning() -> None:
    """It stands last, as the model's own; Ollama leaves such a message open."""
    chat = Chat(model="m", body=Prompt(messages=(HI,)), partial="Once upon")
    assert load("ollama").continues(chat, row())
    body = json.loads(encode(chat, row()).body)
    assert body["messages"][-1] == {"role": "assistant", "content": "Once upon"}


def test_options_of_another_dialect_are_dropped_and_named() -> None:
    """Except those that only Ollama has, and those that only say how to answer."""
    asked = {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream_options": {"include_usage": True},
        "logit_bias": {"1": 2},
        "n": 2,
        "tool_choice": "required",
        "user": "me",
        "keep_alive": "1h",
        "num_ctx": 9000,
        "options": {"num_gpu": 1},
        "min_p": 0.1,
    }
    wire = load("openai_chat").read(json.dumps(asked).encode()).body
    made = encode(Chat(model="m", body=wire), row())
    body = json.loads(made.body)
    assert made.dropped == ("logit_bias", "n", "tool_choice", "user")
    assert body["keep_alive"] == "1h"
    assert body["options"] == {"num_ctx": 9000, "num_gpu": 1, "min_p": 0.1}
    assert not body.keys() & {"logit_bias", "n", "tool_choice", "user", "stream_options"}

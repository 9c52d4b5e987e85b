"""`read` and `parse`: what a text completion asks, what it may cost, and what a chat can say."""

import json
from typing import Any

import pytest

from trunkline.dialects import load
from trunkline.errors import InputError
from trunkline.types import Chat, Deployment, Prompt, Wire, say

text = load("openai_text")


def ask(**fields: Any) -> Chat:
    """Read a request with `fields`."""
    chat: Chat = text.read(json.dumps({"model": "m", "prompt": "Hi"} | fields).encode())
    return chat


def wire(**fields: Any) -> Wire:
    """Read a request and return its body."""
    body = ask(**fields).body
    assert isinstance(body, Wire)
    return body


@pytest.mark.parametrize(
    ("prompt", "count"),
    [
        ("Hi", 1),
        ("", 1),
        (["Hi", "Ho"], 2),
        ([1, 2, 3], 1),
        ([[1, 2], [3]], 2),
        ([12, 34, "mixed"], 3),
    ],
)
def test_every_kind_of_prompt_is_counted(prompt: Any, count: int) -> None:
    """Token numbers in one list are one prompt; llama.cpp's mixed one is never counted too low."""
    body = wire(prompt=prompt)
    assert (body.message_count, body.choices) == (count, count)
    assert json.loads(bytes(body.fields["prompt"])) == prompt


@pytest.mark.parametrize(
    ("fields", "choices", "cap"),
    [
        ({}, 1, None),
        ({"n": 3}, 3, None),
        ({"prompt": ["a", "b"], "n": 3, "max_tokens": 5}, 6, 5),
        ({"prompt": [[1], [2]], "best_of": 4}, 8, None),
        ({"n": 4, "best_of": 2}, 4, None),
        ({"max_tokens": 0}, 1, 1),
    ],
)
def test_what_it_may_cost(fields: dict[str, Any], choices: int, cap: int | None) -> None:
    """Each prompt is answered n times or `best_of` times; only a cap that was sent is one."""
    body = wire(**fields)
    assert (body.choices, body.max_output_tokens) == (choices, cap)


def test_a_proven_bound_of_input_holds_for_a_chat_too() -> None:
    """What the request grows to when it is said as a chat counts."""
    chat = text.read(b'{"model":"m","prompt":"x"}')
    sent = load("openai_chat").encode(chat, Deployment(provider="p", model="m")).body
    assert isinstance(chat.body, Wire)
    assert len(sent) <= chat.body.size_bytes <= len(sent) + 9


def test_model_stream_and_end_user() -> None:
    """They are taken from the body; a null says nothing."""
    chat = ask(model="a/b", stream=True, user="u7", suffix=None)
    assert (chat.model, chat.stream, chat.body.end_user) == ("a/b", True, "u7")
    assert "suffix" not in wire(suffix=None).fields


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": {"text": "x"}}, "prompt"),
        ({"prompt": ["a", 1.5]}, "prompt[1]"),
        ({"prompt": ["a", None]}, "prompt[1]"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"best_of": 0}, "best_of"),
        ({"logprobs": True}, "logprobs"),
        ({"echo": "yes"}, "echo"),
        ({"suffix": 1}, "suffix"),
        ({"stop": [1]}, "stop[0]"),
        ({"temperature": "hot"}, "temperature"),
        ({"stream": 1}, "stream"),
        ({"model": 1}, "model"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str) -> None:
    """The error says which it is and what to write instead."""
    with pytest.raises(InputError, match="write ") as caught:
        ask(**fields)
    assert caught.value.param == param


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"prompt": "\xff"}'])
def test_what_is_no_json_object(body: bytes) -> None:
    """It is refused as any other request is."""
    with pytest.raises(InputError, match="request body"):
        text.read(body)


@pytest.mark.parametrize("prompt", ["Héllo", ["Héllo"]])
def test_a_text_becomes_one_user_message(prompt: Any) -> None:
    """What chat has too is taken along, under its own name; what says nothing is left out."""
    options = {"suffix": "", "echo": False, "best_of": 2, "n": 2, "stop": "X", "max_tokens": 9}
    rest = {"temperature": 0.5, "seed": 7, "user": "u", "logit_bias": {"5": 1}, "min_p": 0.1}
    assert wire(prompt=prompt, **options, **rest).prompt == Prompt(
        messages=(say("user", "Héllo"),),
        stop=("X",),
        max_output_tokens=9,
        temperature=0.5,
        seed=7,
        end_user="u",
        choices=2,
        extra={"logit_bias": {"5": 1}, "min_p": 0.1},
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": ["a", "b"]},
        {"prompt": [1, 2]},
        {"prompt": [[1, 2]]},
        {"prompt": ""},
        {"suffix": "end"},
        {"echo": True},
        {"logprobs": 0},
        {"best_of": 2},
        {"max_tokens": 0},
        {"max_completion_tokens": 5},
        {"tools": []},
        {"functions": []},
    ],
)
def test_what_a_chat_cannot_say_is_refused_by_name(fields: dict[str, Any]) -> None:
    """It is readable for who has the endpoint; else the error tells what to do."""
    body = wire(**fields)
    with pytest.raises(InputError, match="chat only; ") as caught:
        _ = body.prompt
    assert caught.value.param == next(iter(fields))


def test_a_field_of_chat_is_checked_before_it_is_sent_on() -> None:
    """Text completions know nothing of it, so it may be anything until then."""
    with pytest.raises(InputError) as caught:
        _ = wire(response_format=5).prompt
    assert caught.value.param == "response_format"

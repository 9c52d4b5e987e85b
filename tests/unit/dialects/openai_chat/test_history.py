"""`history`: what is done to old messages for providers that insist on it."""

import json
import re
from typing import Any

import msgspec
import pytest

from trunkline.dialects.openai_chat import encode, read
from trunkline.types import Deployment

CALL = {"id": "call_8675309", "type": "function", "function": {"name": "f", "arguments": "{ }"}}
TALK: list[dict[str, Any]] = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": None, "tool_calls": [CALL, CALL | {"id": "aB3456789"}]},
    {"role": "tool", "tool_call_id": "call_8675309", "content": "1"},
    {"role": "tool", "tool_call_id": "aB3456789", "content": "2"},
    {"role": "user", "content": "And?"},
]


def sent(messages: list[dict[str, Any]], quirk: str, *, typed: bool = False) -> list[Any]:
    """Return the messages as they go up."""
    chat = read(json.dumps({"model": "m", "messages": messages}).encode())
    if typed:
        chat = msgspec.structs.replace(chat, body=chat.prompt)
    row = Deployment(provider="p", model="m", base_url="http://h/v1", quirks=frozenset({quirk}))
    found: list[Any] = json.loads(encode(chat, row).body)["messages"]
    return found


@pytest.mark.parametrize("typed", [False, True], ids=["relayed", "typed"])
def test_ids_become_short_on_both_sides(typed: bool) -> None:
    """A foreign id is replaced by the same one each time; one that fits stays, as all else does."""
    messages = sent(TALK, "short_tool_ids", typed=typed)
    short, own = (call["id"] for call in messages[1]["tool_calls"])
    assert re.fullmatch("[a-zA-Z0-9]{9}", short)
    assert own == "aB3456789"
    assert [messages[2]["tool_call_id"], messages[3]["tool_call_id"]] == [short, own]
    assert messages[1]["tool_calls"][0] == CALL | {"id": short}
    assert sent(TALK, "short_tool_ids", typed=typed) == messages
    other = [{**TALK[2], "tool_call_id": "call_8675310"}]
    assert sent(other, "short_tool_ids")[0]["tool_call_id"] != short


@pytest.mark.parametrize("typed", [False, True], ids=["relayed", "typed"])
def test_an_assistant_speaks_between_a_tool_and_a_user(typed: bool) -> None:
    """Only there: where the assistant spoke, nothing is added."""
    messages = sent(TALK, "replies_to_tools", typed=typed)
    assert [m["role"] for m in messages[2:]] == ["tool", "tool", "assistant", "user"]
    assert messages[4] == {"role": "assistant", "content": "OK."}
    spoken = [*TALK[:4], {"role": "assistant", "content": "3"}, TALK[4]]
    assert sent(spoken, "replies_to_tools") == spoken


def test_nulls_of_sdks_stay() -> None:
    """A message that is dumped with every field has null for what it has not, and odd ids stay."""
    talk = [TALK[0], {"role": "assistant", "content": "A", "tool_calls": None}, TALK[4]]
    assert sent(talk, "short_tool_ids") == talk
    assert sent(talk, "replies_to_tools") == talk
    odd = [{"role": "assistant", "content": None, "tool_calls": [CALL | {"id": 5}]}]
    assert sent(odd, "short_tool_ids") == odd


def test_a_talk_without_tools_keeps_its_bytes() -> None:
    """Most requests are not even looked into."""
    body = b'{"model":"m","messages":[{"role":"user",  "content":"Hi"}]}'
    quirks = frozenset({"short_tool_ids", "replies_to_tools"})
    row = Deployment(provider="p", model="m", base_url="http://h/v1", quirks=quirks)
    assert b'[{"role":"user",  "content":"Hi"}]' in encode(read(body), row).body

"""What names the account's own things at a provider is found, and nothing else is taken for it."""

import json
from typing import Any

import pytest

from trunkline.dialects import load
from trunkline.errors import InputError
from trunkline.gateway.stored import refuse_stored

FILE = {"file_id": "file-1"}
OWN_TOOL = {"type": "function", "name": "f", "parameters": {"properties": {"file_id": {}}}}
PICTURE = {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}
GEMINI_FILE = "https://generativelanguage.googleapis.com/v1beta/files/abc"


def said(*parts: Any, **more: Any) -> dict[str, Any]:
    """Make a chat whose user says these parts."""
    return {"messages": [{"role": "user", "content": list(parts) or "Hi"}], **more}


def given(*items: Any, **more: Any) -> dict[str, Any]:
    """Make a request for a response."""
    return {"input": list(items) or "Hi", **more}


def check(dialect: str, asked: dict[str, Any]) -> None:
    """Read a request as a surface does, and check it."""
    refuse_stored(load(dialect).read(json.dumps(asked).encode()))


@pytest.mark.parametrize(
    ("dialect", "asked", "field"),
    [
        ("openai_responses", given(previous_response_id="r1"), "previous_response_id"),
        ("openai_responses", given(conversation={"id": "c"}), "conversation"),
        ("openai_responses", {"prompt": {"id": "p"}}, "prompt"),
        ("openai_responses", given({"type": "item_reference", "id": "i"}), "input[0]"),
        (
            "openai_responses",
            given(tools=[OWN_TOOL, {"type": "file_search", "vector_store_ids": ["v"]}]),
            "tools[1]",
        ),
        (
            "openai_responses",
            given(tools=[{"type": "code_interpreter", "container": "cntr_1"}]),
            "tools[0]",
        ),
        (
            "openai_responses",
            given(tools=[{"type": "code_interpreter", "container": {"file_ids": ["f"]}}]),
            "tools[0]",
        ),
        (
            "openai_responses",
            given({"role": "user", "content": [{"type": "input_image", **FILE}]}),
            "input[0]",
        ),
        (
            "openai_responses",
            given(
                {"role": "user", "content": "Hi"},
                {
                    "type": "function_call_output",
                    "call_id": "c",
                    "output": [{"type": "input_file", **FILE}],
                },
            ),
            "input[1]",
        ),
        ("openai_chat", said(cachedContent="cachedContents/1"), "cachedContent"),
        ("openai_chat", said({"type": "file", "file": FILE}), "messages[0]"),
        (
            "openai_chat",
            said({"type": "image_url", "image_url": {"url": GEMINI_FILE}}),
            "messages[0]",
        ),
        ("openai_chat", said(tools=[{"type": "retrieval", "retrieval": {}}]), "tools[0]"),
        ("anthropic", said(max_tokens=9, container="container_1"), "container"),
        ("anthropic", said(max_tokens=9, container={"id": "container_1"}), "container"),
        (
            "anthropic",
            said({"type": "document", "source": {"type": "file", **FILE}}, max_tokens=9),
            "messages[0]",
        ),
        (
            "anthropic",
            said(
                {
                    "type": "tool_result",
                    "tool_use_id": "t",
                    "content": [{"type": "image", "source": {"type": "file", **FILE}}],
                },
                max_tokens=9,
            ),
            "messages[0]",
        ),
    ],
)
def test_what_a_provider_holds_is_refused(dialect: str, asked: dict[str, Any], field: str) -> None:
    """The error names the field, and the setting for those who have one tenant."""
    with pytest.raises(InputError, match=r"server\.stored_state") as caught:
        check(dialect, asked)
    assert caught.value.param == field


@pytest.mark.parametrize(
    ("dialect", "asked"),
    [
        ("openai_chat", said(PICTURE, user="file_id", tools=None)),
        ("openai_chat", said({"type": "text", "text": f'"file_id" {GEMINI_FILE}'}, PICTURE)),
        ("openai_chat", said(tools=[{"type": "function", "function": OWN_TOOL}], odd=1)),
        ("openai_text", {"prompt": "Hi"}),
        ("openai_responses", given(previous_response_id=None, tools=[OWN_TOOL], future=1)),
        (
            "openai_responses",
            given(tools=[{"type": "code_interpreter", "container": {"type": "auto"}}], store=True),
        ),
        ("anthropic", said(max_tokens=9, container={"skills": []})),
        (
            "anthropic",
            {
                "max_tokens": 9,
                "messages": [
                    {"role": "user", "content": [PICTURE | {"type": "text", "text": "Hi"}]},
                    {
                        "role": "assistant",
                        "content": [
                            {"type": "tool_use", "id": "t", "name": "f", "input": FILE},
                        ],
                    },
                ],
            },
        ),
    ],
)
def test_nothing_else_is_taken_for_it(dialect: str, asked: dict[str, Any]) -> None:
    """Words, schemas and arguments of the caller's own tools may have such names in them."""
    check(dialect, asked)


def test_a_name_in_escapes_is_the_same_name() -> None:
    """JSON may write any letter as a number."""
    file = rb'{"type": "file", "file": {"file\u005fid": "f"}}'
    body = b'{"messages": [{"role": "user", "content": [%b]}]}' % file
    with pytest.raises(InputError, match="messages"):
        refuse_stored(load("openai_chat").read(body))


def test_vectors_name_nothing() -> None:
    """Texts to embed are all in the request."""
    check("openai_embeddings", {"model": "m", "input": "previous_response_id"})

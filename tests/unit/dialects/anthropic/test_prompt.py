"""The typed view of a request: blocks, tools and options in no provider's words."""

import json
from base64 import b64encode
from typing import Any

import pytest

from trunkline.dialects.anthropic import read
from trunkline.types import (
    File,
    Image,
    Message,
    OutputFormat,
    Prompt,
    Reasoning,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)

CACHED = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


def typed(**fields: Any) -> Prompt:
    """Read a request and return its typed view."""
    given = {"max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    return read(json.dumps(given | fields).encode()).prompt


def parts(*blocks: dict[str, Any], role: str = "user") -> tuple[Any, ...]:
    """Return the parts of one message of blocks."""
    (message,) = typed(messages=[{"role": role, "content": list(blocks)}]).messages
    return message.parts


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        ("Be brief.", (Text(text="Be brief."),)),
        (
            [{"type": "text", "text": "A"}, {"type": "text", "text": "B", **CACHED}],
            (Text(text="A"), Text(text="B", extra=CACHED)),
        ),
    ],
)
def test_the_system_prompt_is_the_first_message(system: Any, expected: tuple[Text, ...]) -> None:
    """A string or blocks; marks for the cache stay on theirs."""
    first, second = typed(system=system).messages
    assert first == Message(role="system", parts=expected)
    assert second.role == "user"
    assert len(typed(system="").messages) == 1


def test_results_of_tools_are_messages_of_their_own() -> None:
    """A turn of results and words becomes one message for each result, then the words."""
    content = [
        {"type": "tool_result", "tool_use_id": "a", "content": "1", "is_error": True, **CACHED},
        {"type": "tool_result", "tool_use_id": "b"},
        {"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "3"}]},
        {"type": "text", "text": "Go on."},
    ]
    got = typed(messages=[{"role": "user", "content": content}]).messages
    assert got == (
        Message(
            role="tool",
            parts=(ToolResult(id="a", parts=(Text(text="1"),), is_error=True, extra=CACHED),),
        ),
        Message(role="tool", parts=(ToolResult(id="b"),)),
        Message(role="tool", parts=(ToolResult(id="c", parts=(Text(text="3"),)),)),
        Message(role="user", parts=(Text(text="Go on."),)),
    )


def test_what_the_model_said_is_kept_in_order() -> None:
    """Thoughts with what proves them, words with citations, calls with their caller."""
    cited = {"citations": [{"type": "char_location", "cited_text": "x"}]}
    program = {"type": "code_execution_20260120", "tool_id": "s1"}
    got = parts(
        {"type": "thinking", "thinking": "", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "eA=="},
        {"type": "thinking", "thinking": "ours", "signature": ""},
        {"type": "text", "text": "A", **cited},
        {"type": "tool_use", "id": "t", "name": "f", "input": {}, "caller": {"type": "direct"}},
        {"type": "tool_use", "id": "u", "name": "g", "input": {"x": [1, "é"]}, "caller": program},
        role="assistant",
    )
    assert got == (
        Thinking(signature="c2ln", spelling="anthropic"),
        Thinking(redacted="eA==", spelling="anthropic"),
        Thinking(text="ours", spelling="anthropic"),
        Text(text="A", extra=cited),
        ToolCall(id="t", name="f", arguments="{}"),
        ToolCall(id="u", name="g", arguments='{"x":[1,"é"]}', extra={"caller": program}),
    )


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/gif", "data": "R0"},
            },
            Image(data="R0", media_type="image/gif"),
        ),
        (
            {"type": "image", "source": {"type": "url", "url": "https://x.test/a"}, **CACHED},
            Image(url="https://x.test/a", extra=CACHED),
        ),
        (
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JV"},
                "title": "T",
                "citations": {"enabled": True},
            },
            File(
                data="JV",
                media_type="application/pdf",
                name="T",
                extra={"citations": {"enabled": True}},
            ),
        ),
        (
            {"type": "document", "source": {"type": "url", "url": "https://x.test/a.pdf"}},
            File(url="https://x.test/a.pdf"),
        ),
        ({"type": "document", "source": {"type": "file", "file_id": "file_1"}}, File(id="file_1")),
        (
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "é"},
            },
            File(data=b64encode("é".encode()).decode(), media_type="text/plain"),
        ),
    ],
)
def test_pictures_and_documents_are_typed(block: dict[str, Any], expected: Any) -> None:
    """Base64, URL, uploaded file and plain text."""
    assert parts(block) == (expected,)


@pytest.mark.parametrize(
    ("block", "text"),
    [
        ({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": 1}}, ""),
        ({"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"x": None}]}, ""),
        ({"type": "mcp_tool_result", "tool_use_id": "s", "content": [], "is_error": False}, ""),
        ({"type": "container_upload", "file_id": "f"}, ""),
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, ""),
        ({"type": "of_tomorrow", "x": 1}, ""),
        (
            {
                "type": "search_result",
                "source": "https://x.test",
                "title": "T",
                "content": [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}],
            },
            "T\nhttps://x.test\nA\nB",
        ),
        (
            {
                "type": "document",
                "source": {"type": "content", "content": "all of it"},
                "title": "T",
            },
            "all of it",
        ),
    ],
)
def test_what_only_anthropic_knows_travels_whole(block: dict[str, Any], text: str) -> None:
    """Its place is kept, every byte of its JSON, and for others the words there are to read."""
    assert parts(block) == (Text(text=text, extra={"anthropic": block}),)


def test_tools_are_typed_and_those_of_the_provider_keep_their_configuration() -> None:
    """Custom tools have a schema; any other type is the provider's own."""
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}}
    got = typed(
        tools=[
            {"name": "f", "description": "d", "input_schema": schema, "strict": True, **CACHED},
            {"type": "custom", "name": "g", "input_schema": schema, "defer_loading": True},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 5},
            {"type": "mcp_toolset", "mcp_server_name": "s"},
        ]
    ).tools
    assert got == (
        Tool(name="f", description="d", parameters=schema, strict=True, extra=CACHED),
        Tool(name="g", parameters=schema, extra={"defer_loading": True}),
        Tool(name="web_search", kind="web_search_20250305", extra={"max_uses": 5}),
        Tool(name="mcp_toolset", kind="mcp_toolset", extra={"mcp_server_name": "s"}),
    )


@pytest.mark.parametrize(
    ("wire", "choice", "parallel"),
    [
        (None, None, None),
        ({"type": "auto"}, "auto", None),
        ({"type": "any", "disable_parallel_tool_use": True}, "required", False),
        ({"type": "none"}, "none", None),
        ({"type": "tool", "name": "f", "disable_parallel_tool_use": False}, "tool:f", True),
    ],
)
def test_choice_of_tool(wire: Any, choice: str | None, parallel: bool | None) -> None:
    """Anthropic's words for it, and whether calls may be made side by side."""
    got = typed(tool_choice=wire)
    assert (got.tool_choice, got.parallel_tool_calls) == (choice, parallel)
    assert got.extra == {}


@pytest.mark.parametrize(
    ("fields", "reasoning", "extra"),
    [
        ({}, None, {}),
        ({"thinking": {"type": "adaptive"}}, Reasoning(enabled=True), {}),
        ({"thinking": {"type": "disabled"}}, Reasoning(enabled=False), {}),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2000}},
            Reasoning(enabled=True, budget_tokens=2000),
            {},
        ),
        (
            {
                "thinking": {"type": "adaptive", "display": "omitted"},
                "output_config": {"effort": "low", "task_budget": 1},
            },
            Reasoning(enabled=True, effort="low"),
            {"thinking": {"display": "omitted"}, "output_config": {"task_budget": 1}},
        ),
        (
            {"thinking": {"type": "between_tools"}},
            Reasoning(),
            {"thinking": {"type": "between_tools"}},
        ),
    ],
)
def test_how_hard_to_think(
    fields: dict[str, Any], reasoning: Reasoning | None, extra: dict[str, Any]
) -> None:
    """Effort and budget are typed; a kind of thinking nobody here knows stays as it is."""
    got = typed(**fields)
    assert got.reasoning == reasoning
    assert got.extra == extra


@pytest.mark.parametrize("place", ["output_config", "output_format"])
def test_a_schema_for_the_answer(place: str) -> None:
    """It is read from where it is, and from where the beta had it."""
    wire = {"type": "json_schema", "schema": {"type": "object"}}
    got = typed(**{place: {"format": wire} if place == "output_config" else wire})
    assert got.output_format == OutputFormat(schema={"type": "object"})
    assert got.extra == {}


def test_options_are_typed_and_the_rest_is_kept() -> None:
    """Sampling, stops, cap and user have names; everything else stays in `extra`."""
    got = typed(
        temperature=0.5,
        top_p=0.9,
        top_k=4,
        stop_sequences=["a", "b"],
        metadata={"user_id": "u", "other": 1},
        service_tier="auto",
        stream=True,
        model="m",
    )
    assert (got.temperature, got.top_p, got.top_k) == (0.5, 0.9, 4)
    assert (got.stop, got.max_output_tokens, got.end_user) == (("a", "b"), 9, "u")
    assert got.extra == {"metadata": {"other": 1}, "service_tier": "auto"}

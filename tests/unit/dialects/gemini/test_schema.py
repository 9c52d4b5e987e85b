"""Of a JSON Schema what Gemini takes is sent, and the names of the rest are told."""

from typing import Any

import pytest

from trunkline.dialects.gemini.schema import taken


@pytest.mark.parametrize(
    ("schema", "kept", "names"),
    [
        ({"const": "a"}, {"enum": ["a"]}, set()),
        (
            {"type": "string", "pattern": "x", "minLength": 1},
            {"type": "string"},
            {"pattern", "minLength"},
        ),
        (
            {"definitions": {"A": {"$ref": "#/definitions/B", "description": "d"}}},
            {"$defs": {"A": {"$ref": "#/$defs/B"}}},
            {"description"},
        ),
        ({"allOf": [{"type": "string"}], "title": "t"}, {"type": "string", "title": "t"}, set()),
        ({"allOf": [{}, {}]}, {}, {"allOf"}),
        ({"allOf": [True], "title": "t"}, {"title": "t"}, {"allOf"}),
        (
            {"allOf": [{"properties": {"a": {}}}], "properties": {"b": {}}},
            {"properties": {"b": {}}},
            {"allOf"},
        ),
        (
            {"definitions": {"A": {}, "B": {"title": "old"}}, "$defs": {"B": {"title": "new"}}},
            {"$defs": {"A": {}, "B": {"title": "new"}}},
            set(),
        ),
        ({"definitions": 1}, {}, {"definitions"}),
        (
            {"anyOf": [{"type": "null"}, {"type": "integer", "default": 1}]},
            {"anyOf": [{"type": "null"}, {"type": "integer"}]},
            {"default"},
        ),
        (
            {"type": "array", "items": {"const": 1}, "prefixItems": [{"const": 2}]},
            {"type": "array", "items": {"enum": [1]}, "prefixItems": [{"enum": [2]}]},
            set(),
        ),
        ({"additionalProperties": False}, {"additionalProperties": False}, set()),
        ({"additionalProperties": {"const": 1}}, {"additionalProperties": {"enum": [1]}}, set()),
        ({"$schema": "s", "type": ["string", "null"]}, {"type": ["string", "null"]}, set()),
    ],
)
def test_keywords(schema: dict[str, Any], kept: object, names: set[str]) -> None:
    """Others mean the same in other words, or are left out."""
    dropped: set[str] = set()
    assert taken(schema, dropped) == kept
    assert dropped == names


def test_properties_may_have_any_name() -> None:
    """A property called `pattern` is no keyword; the given schema stays as it was."""
    schema = {"properties": {"pattern": {"const": 1}, "$ref": {"type": "string"}}}
    dropped: set[str] = set()
    assert taken(schema, dropped) == {
        "properties": {"pattern": {"enum": [1]}, "$ref": {"type": "string"}}
    }
    assert dropped == set()
    assert schema["properties"]["pattern"] == {"const": 1}

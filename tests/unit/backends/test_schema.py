from typing import Any

import pytest

from trunkline.backends.demo.schema import smallest


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({}, {}),
        ({"type": "string"}, "demo"),
        ({"type": "string", "minLength": 6}, "demo.."),
        ({"type": "string", "maxLength": 2}, "de"),
        ({"type": "string", "format": "date"}, "2000-01-01"),
        ({"type": ["integer", "null"]}, 0),
        ({"type": "integer", "minimum": 1.5}, 2),
        ({"type": "integer", "exclusiveMinimum": 3}, 4),
        ({"type": "integer", "minimum": -9}, 0),
        ({"type": "integer", "maximum": -3}, -3),
        ({"type": "integer", "minimum": 1, "multipleOf": 5}, 5),
        ({"type": "number", "minimum": 0.5}, 0.5),
        ({"type": "boolean"}, False),
        ({"type": "null"}, None),
        ({"type": "array"}, []),
        ({"type": "array", "minItems": 2, "items": {"type": "integer"}}, [0, 0]),
        ({"type": "array", "minItems": 2, "prefixItems": [{"const": 7}]}, [7, {}]),
        ({"enum": ["a", "b"]}, "a"),
        ({"type": "string", "const": "x"}, "x"),
        ({"type": "string", "default": "x"}, "x"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "demo"),
        ({"oneOf": [{"type": "integer"}], "minimum": 4}, 4),
        (
            {"type": "object", "properties": {"a": {"const": 1}, "b": {}}, "required": ["a"]},
            {"a": 1},
        ),
        ({"type": "object", "properties": {}, "required": ["free"]}, {"free": {}}),
    ],
)
def test_the_smallest_value_fits(schema: dict[str, Any], value: object) -> None:
    """Each keyword that is kept to has its effect."""
    assert smallest(schema) == value
    assert type(smallest(schema)) is type(value)


def test_references_are_followed_and_parts_put_together() -> None:
    """`$ref` keeps what stands beside it; `allOf` joins properties and what is required."""
    schema = {
        "$defs": {
            "a/b": {"type": "object", "properties": {"x": {"const": 1}}, "required": ["x"]},
            "word": {"type": "string"},
        },
        "allOf": [
            {"$ref": "#/$defs/a~1b"},
            {"properties": {"y": {"$ref": "#/$defs/word", "minLength": 5}}, "required": ["y"]},
        ],
    }
    assert smallest(schema) == {"x": 1, "y": "demo."}


def test_a_schema_that_holds_itself_ends_where_it_may() -> None:
    """The first alternative that ends is taken, as in the linked lists of strict mode."""
    after = {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}
    node = {"type": "object", "properties": {"next": after}, "required": ["next"]}
    assert smallest({"$ref": "#/$defs/node", "$defs": {"node": node}}) == {"next": None}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/missing"},
        {"$ref": "#/a", "a": {"required": ["x"], "properties": {"x": {"$ref": "#/a"}}}},
        {"allOf": [{"$ref": "#/a"}], "a": {"allOf": [{"$ref": "#/a"}]}},
        {"type": "array", "minItems": "two"},
        {"type": "object", "properties": [], "required": ["a"]},
        {"type": []},
        {"enum": []},
        {"multipleOf": 0, "type": "integer"},
        {"anyOf": []},
        {"anyOf": 3},
    ],
)
def test_what_cannot_be_followed_is_an_error(schema: dict[str, Any]) -> None:
    """Missing targets, circles and nonsense end in one clear error, never in a crash."""
    with pytest.raises(ValueError, match="the schema"):
        smallest(schema)

"""The smallest value that fits a JSON Schema, for the demo's JSON answers and tool arguments.

Kept to: references, `const`, `default`, `enum`, the first alternative that ends, required
properties, sizes, bounds and common formats. Patterns and everything else are not tried.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

Schema = Mapping[str, Any]

_FORMATS = {
    "date": "2000-01-01",
    "date-time": "2000-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "email": "demo@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_MOST_ITEMS = 1000


def smallest(schema: Schema) -> Any:
    """Return a small value that fits `schema`; the same one every time.

    Raises:
        ValueError: this is no JSON Schema, or nothing finite fits it.
    """
    try:
        return _Sampler(schema).value(schema, ())
    except _Circle as error:
        raise ValueError(f"nothing finite fits the schema: {error} requires itself") from None
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError) as error:
        raise ValueError(f"the schema cannot be followed ({error!r})") from error


class _Circle(Exception):
    """A reference led back to itself."""


class _Sampler:
    """Walks one schema; `way` holds the references that led to the present place."""

    def __init__(self, root: Schema) -> None:
        self._root = root

    def value(self, schema: Schema | None, way: tuple[str, ...]) -> Any:
        if not isinstance(schema, Mapping):  # not said, or True: anything fits
            return {}
        for word in ("const", "default"):
            if word in schema:
                return schema[word]
        if "enum" in schema:
            return schema["enum"][0]
        for word in ("$ref", "allOf", "anyOf", "oneOf"):
            if word in schema:
                rest = {name: said for name, said in schema.items() if name != word}
                return self._composed(word, schema[word], rest, way)
        return self._plain(schema, way)

    def _composed(self, word: str, parts: Any, rest: Schema, way: tuple[str, ...]) -> Any:
        if word == "$ref":
            if parts in way:
                raise _Circle(parts)
            return self.value(_merge([self._at(parts), rest]), (*way, parts))
        if word == "allOf":
            parts = [self._at(part["$ref"]) if "$ref" in part else part for part in parts]
            return self.value(_merge([*parts, rest]), way)
        for option in parts[:-1]:
            try:
                return self.value(_merge([option, rest]), way)
            except _Circle:
                continue
        return self.value(_merge([parts[-1], rest]), way)

    def _at(self, ref: str) -> Any:
        found: Any = self._root
        for step in ref.removeprefix("#").split("/")[1:]:
            found = found[unquote(step).replace("~1", "/").replace("~0", "~")]
        return found

    def _plain(self, schema: Schema, way: tuple[str, ...]) -> Any:
        kind = schema.get("type", "object")
        match kind if isinstance(kind, str) else kind[0]:
            case "object":
                fields = schema.get("properties", {})
                return {n: self.value(fields.get(n), way) for n in schema.get("required", ())}
            case "array":
                count = min(schema.get("minItems", 0), _MOST_ITEMS)
                items = [*schema.get("prefixItems", ())][:count]
                items += [schema.get("items")] * (count - len(items))
                return [self.value(item, way) for item in items]
            case "string":
                return _text(schema)
            case "integer":
                return math.ceil(_number(schema))
            case "number":
                return _number(schema)
            case "boolean":
                return False
        return None


def _merge(parts: Sequence[Schema]) -> Schema:
    """Put schemas that hold together into one; later ones win."""
    merged: dict[str, Any] = {}
    for part in parts:
        properties = {**merged.get("properties", {}), **part.get("properties", {})}
        required = dict.fromkeys([*merged.get("required", ()), *part.get("required", ())])
        merged |= {**part, "properties": properties, "required": [*required]}
    return merged


def _text(schema: Schema) -> str:
    text = _FORMATS.get(schema.get("format", ""), "demo")
    return text.ljust(min(schema.get("minLength", 0), _MOST_ITEMS), ".")[: schema.get("maxLength")]


def _number(schema: Schema) -> int | float:
    low = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
    high = schema.get("maximum", schema.get("exclusiveMaximum", math.inf) - 1)
    step = schema.get("multipleOf", 1)
    number: int | float = min(max(low, 0), high)
    return number if "multipleOf" not in schema else math.ceil(number / step) * step

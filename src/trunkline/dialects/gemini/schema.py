"""JSON Schema -> the keywords of it that Gemini takes; the rest is left out, and named.

Source: https://ai.google.dev/api/generate-content#GenerationConfig (responseJsonSchema) 2026-11-20
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]
_TAKEN = frozenset(
    {
        *("$id", "$defs", "$ref", "$anchor", "type", "format", "title", "description", "enum"),
        *("items", "prefixItems", "minItems", "maxItems", "minimum", "maximum", "anyOf", "oneOf"),
        *("properties", "additionalProperties", "required", "propertyOrdering"),
    }
)
_QUIET = frozenset({"$schema", "$comment", "strict"})
"""Says nothing about what fits; nobody needs to hear that it went."""


def taken(schema: Json, dropped: set[str]) -> Json:
    """Return what of `schema` Gemini takes; the names of other keywords are added to `dropped`.

    `const` becomes an `enum` of one, `definitions` become `$defs`, and an `allOf` of one schema
    becomes that schema, where neither says what the other does. Beside a `$ref` only what begins
    with `$` may stand.
    """
    wire = dict(schema)
    if "const" in wire:
        wire.setdefault("enum", [wire.pop("const")])
    match wire:
        case {"definitions": dict() as older} if isinstance(newer := wire.get("$defs", {}), dict):
            del wire["definitions"]
            wire["$defs"] = older | newer
    match wire.get("allOf"):
        case [dict() as only] if only.keys().isdisjoint(wire):
            del wire["allOf"]
            wire |= only
    if isinstance(place := wire.get("$ref"), str):
        wire["$ref"] = place.replace("#/definitions/", "#/$defs/")
    kept: Json = {}
    for name, value in wire.items():
        beside = "$ref" in wire and not name.startswith("$")
        if name in _TAKEN and not beside:
            kept[name] = _inside(name, value, dropped)
        elif name not in _QUIET:
            dropped.add(name)
    return kept


def _inside(name: str, value: Any, dropped: set[str]) -> Any:
    if name in {"properties", "$defs"} and isinstance(value, dict):
        return {key: _one(inner, dropped) for key, inner in value.items()}
    if name in {"items", "additionalProperties"}:
        return _one(value, dropped)
    if name in {"prefixItems", "anyOf", "oneOf"} and isinstance(value, Iterable):
        return [_one(inner, dropped) for inner in value]
    return value


def _one(schema: Any, dropped: set[str]) -> Any:
    return taken(schema, dropped) if isinstance(schema, dict) else schema

"""Caps on the output that callers write in the words of one provider, among their options.

A dialect passes options that only its provider knows on from callers of any other. A cap among
them must not be larger than the one that money was held for, so it is taken out of them: the
smallest cap is the call's, and the dialect writes that one alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import DecodeError, Raw
from msgspec.json import decode

_AT_TOP = ("n_predict", "num_predict")
_PLACES = {
    **dict.fromkeys(_AT_TOP, ()),
    "generationConfig": ("maxOutputTokens", "max_output_tokens"),
    "inferenceConfig": ("maxTokens",),
    "options": ("num_predict",),
}
"""Options that any caller may write -> the names of caps in them: llama.cpp's, Gemini's, Bedrock's,
Ollama's; some are caps themselves.
Source: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md 2026-11-20
Source: https://ai.google.dev/api/generate-content#GenerationConfig 2026-11-20
Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InferenceConfiguration.html
2026-11-20
Source: https://docs.ollama.com/modelfile#valid-parameters-and-values 2026-11-20"""
_names_none = frozenset(_PLACES).isdisjoint


def take_cap(cap: int | None, options: dict[str, Any], names: Iterable[str]) -> int | None:
    """Take all caps of these names out of `options`; return the smallest of them and `cap`.

    What is no whole number above 0 caps nothing.
    """
    found = [options.pop(name) for name in names if name in options]
    caps = [one for one in found if one.__class__ is int and one > 0]
    return min(caps, default=None) if cap is None else min([cap, *caps])


def least_cap(cap: int | None, fields: Mapping[str, Raw]) -> int | None:
    """Return the smallest of `cap` and the caps among a request's options; None = there is none."""
    if _names_none(fields):
        return cap
    for place in _PLACES.keys() & fields.keys():
        try:
            value = decode(fields[place])
        except (DecodeError, UnicodeDecodeError, RecursionError):
            continue  # whoever needs to read it refuses the request
        if place in _AT_TOP:
            cap = take_cap(cap, {place: value}, (place,))
        elif isinstance(value, dict):
            cap = take_cap(cap, value, _PLACES[place])
    return cap

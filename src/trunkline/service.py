"""The two shapes every policy has: a `Service` answers a call, a `Layer` wraps a service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from trunkline.reply import Reply
from trunkline.types import Call

Service = Callable[[Call], Awaitable[Reply]]
"""Raises before anything was shown to the caller, returns a `Reply` after."""

Layer = Callable[[Service], Service]


def stack(layers: Sequence[Layer], innermost: Service) -> Service:
    """Wrap `innermost` so that the first of `layers` is the outermost."""
    service = innermost
    for layer in reversed(layers):
        service = layer(service)
    return service


def describe(layers: Sequence[Layer]) -> list[str]:
    """Return the layers' names, outermost first: each is named after the function that made it."""
    return [layer.__qualname__.partition(".")[0] for layer in layers]

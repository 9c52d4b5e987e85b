"""Providers of the user's own: the row of each, as if it stood in the catalog."""

from __future__ import annotations

import datetime
import inspect
from collections.abc import Callable
from typing import Any, cast, get_args

from trunkline.catalog import ProviderRow
from trunkline.errors import ConfigError
from trunkline.interfaces import BaseLLMProvider, LLMProvider, registered
from trunkline.types import Need

_ABILITIES = get_args(Need)


def names() -> list[str]:
    """Return the names of the providers that users registered."""
    return list(registered())


def row(name: str, *, load: bool) -> ProviderRow:
    """Return the row of the provider registered as `name`.

    Args:
        load: whether its package may be loaded, to know what it lacks; it is configured by name.

    Raises:
        ConfigError: its package is broken, or says that it lacks something that nobody knows.
    """
    loaded = cast("LLMProvider | BaseLLMProvider", registered()[name]) if load else None
    return ProviderRow(
        name=name,
        dialect="events",
        backend=f"custom:{name}",
        key_optional=True,
        vendor_prefixes=True,
        lacks=cast("Any", frozenset() if loaded is None else lacks(name, loaded)),
        source="trunkline.register_provider",
        checked=datetime.date.min,
    )


def lacks(name: str, provider: LLMProvider | BaseLLMProvider) -> frozenset[str]:
    """Return what a provider says that it lacks, and tools where its methods do not take them.

    Raises:
        ConfigError: it names something that nobody knows.
    """
    said = getattr(provider, "lacks", ())
    words = said if isinstance(said, list | tuple | set | frozenset) else (said,)
    for word in words:
        if word not in _ABILITIES:
            raise ConfigError(
                f"provider {name!r}: its `lacks` has {word!r}; write any of {', '.join(_ABILITIES)}"
            )
    methods = () if isinstance(provider, LLMProvider) else (provider.chat, provider.stream_chat)
    tools = () if all(_takes_tools(method) for method in methods) else ("tools",)
    return frozenset((*words, *tools))


def _takes_tools(method: Callable[..., object]) -> bool:
    parameters = inspect.signature(method).parameters
    return "tools" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())

"""Open the call's tab before anything is tried, close it when the call is over."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from trunkline.reply import Reply
from trunkline.service import Layer, Service
from trunkline.types import Call, Tab


def budget(open_tab: Callable[[Call], Tab]) -> Layer:
    """Put a tab on every call; whatever happens, nothing stays held after it."""

    def layer(inner: Service) -> Service:
        async def service(call: Call) -> Reply:
            tab = open_tab(call)
            try:
                reply = await inner(replace(call, tab=tab))
            except BaseException:
                tab.close()
                raise
            reply.on_close(lambda reply: tab.close())
            return reply

        return service

    return layer

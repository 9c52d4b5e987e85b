"""Counts tokens for models whose providers do not: an estimate, which says that it is one."""

from __future__ import annotations

from trunkline.accounting.count import estimated_tokens
from trunkline.backends import whole
from trunkline.clock import Clock
from trunkline.reply import Reply
from trunkline.types import Call, Counted, CountTokens


def make(_: str, clock: Clock) -> Estimate:
    """Return the backend; there is only one."""
    return Estimate()


class Estimate:
    """Answers counts; chats are never sent here."""

    async def send(self, call: Call) -> Reply:
        """Estimate the tokens of `call`.

        Raises:
            InputError: the request cannot be read.
        """
        assert isinstance(call, CountTokens)
        assert call.target is not None
        tokens = estimated_tokens(call.prompt)
        return await whole(call.target, Counted(tokens=tokens, estimated=True))

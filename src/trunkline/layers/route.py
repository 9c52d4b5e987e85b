"""Walk the plan: try each candidate until one begins to answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from trunkline.accounting.account import everywhere
from trunkline.errors import AllProvidersUnavailable, TrunklineError
from trunkline.reply import Reply
from trunkline.routing.candidate import Candidate
from trunkline.service import Layer, Service
from trunkline.types import Call


def route(plan: Callable[[Call], Sequence[Candidate]]) -> Layer:
    """Send the call to the first candidate of `plan(call)` that does not fail over.

    A lone candidate's error is raised as it is. When several failed, the error is
    `AllProvidersUnavailable` with every cause, unless all of them were refused alike, by us or for
    the same fault of the caller, or one of them for want of money that all would be paid with: then
    it is the refusal that ends first.
    """

    def layer(inner: Service) -> Service:
        async def service(call: Call) -> Reply:
            trail = call.trail
            assert trail is not None
            causes: list[tuple[str, TrunklineError]] = []
            for candidate in plan(call):
                target = candidate.deployment
                if candidate.note:
                    trail.warnings.append(candidate.note)
                try:
                    reply = await inner(replace(call, target=target))
                except TrunklineError as error:
                    trail.route.append(f"{target.name}: {error.code}")
                    causes.append((target.name, error))
                    if not error.fail_over:
                        raise
                else:
                    trail.route.append(f"{target.name}: answered")
                    return reply
            raise _verdict(causes)

        return service

    return layer


def _verdict(causes: list[tuple[str, TrunklineError]]) -> TrunklineError:
    if not causes:
        return AllProvidersUnavailable("there is no deployment to ask")
    errors = [error for _, error in causes]
    # That others are down as well is not what keeps the caller from an answer.
    if unpaid := list(filter(everywhere, errors)):
        return min(unpaid, key=_wait_s)
    first = min(errors, key=_wait_s)
    if len(errors) == 1 or (
        len({type(error) for error in errors}) == 1 and first.fault in {"nobody", "caller"}
    ):
        return first
    said = "; ".join(f"{name}: {error.message}" for name, error in causes)
    verdict = AllProvidersUnavailable(f"all providers unavailable ({said})", tuple(causes))
    verdict.__cause__ = causes[-1][1]
    return verdict


def _wait_s(error: TrunklineError) -> float:
    return math.inf if error.retry_after_s is None else error.retry_after_s

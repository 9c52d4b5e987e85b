"""Walk the plan: try each candidate until one begins to answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace
from trunkline.routing.plan import Candidate

from trunkline.errors import AllProvidersUnavailable, TrunklineError
from trunkline.reply import Reply
from trunkline.service import Layer, Service
from trunkline.types import Call


def route(plan: Callable[[Call], Sequence[Candidate]]) -> Layer:
    """Send the call to the first candidate of `plan(call)` that does not fail over.

    A lone candidate's error is raised as it is. When several failed, the error is
    `AllProvidersUnavailable` with every cause, unless we ourselves refused all of them alike.
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
    last = causes[-1][1]
    if len({type(error) for _, error in causes}) == 1 and (
        len(causes) == 1 or last.fault in {"nobody", "caller"}
    ):
        return last
    said = "; ".join(f"{name}: {error.message}" for name, error in causes)
    verdict = AllProvidersUnavailable(f"all providers unavailable ({said})", tuple(causes))
    verdict.__cause__ = last
    return verdict

"""Turn a call into attempts: walk its plan until somebody begins to answer.

Read `walk` (who is asked next, and when to stop), `verdict` (what is told when all failed), `hedge`
(a second attempt when the first is late), `onward` and `seam` (an answer that broke off goes on at
another deployment).
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from trunkline.errors import TrunklineError
from trunkline.layers.route.hedge import Hedges
from trunkline.layers.route.walk import Walk
from trunkline.reply import Reply
from trunkline.routing.plan import Plan
from trunkline.service import Layer, Service
from trunkline.types import Call

__all__ = ["Hedges", "route"]


def route(plan: Callable[[Call], Plan], hedges: Hedges) -> Layer:
    """Send the call to the first candidate of `plan(call)` that answers.

    A lone candidate's error is raised as it is. When several failed, the error is what `verdict`
    says. `hedges` is what groups have left for second attempts; it outlives this layer.
    """

    def layer(inner: Service) -> Service:
        async def service(call: Call) -> Reply:
            way = plan(call)
            best = way.candidates[0] if way.candidates else None
            # What there is to tell of a choice, the walk tells.
            if best is None or best.note or best.reason or way.group is not None or way.skipped:
                return await Walk(inner, call, way, hedges).answer()
            # Most calls need no more than their first candidate, and get it without a walk.
            first = best.deployment
            assert call.trail is not None
            if len(way.candidates) > 1:
                call.trail.others = hedges.any_awake(way.candidates[1:])
            try:
                reply = await inner(replace(call, target=first))
            except TrunklineError as error:
                failed = error
            else:
                call.trail.route.append(f"{first.name}: answered")
                return reply
            return await Walk(inner, call, way, hedges).answer(failed)

        return service

    return layer

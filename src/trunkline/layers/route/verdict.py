"""What a caller is told when nobody answered."""

from __future__ import annotations

import math
from collections.abc import Sequence

from trunkline.accounting.account import everywhere
from trunkline.errors import AllProvidersUnavailable, TrunklineError


def verdict(causes: Sequence[tuple[str, TrunklineError]]) -> TrunklineError:
    """Return the error that ends a call; `causes` pairs deployments with theirs, in order.

    A lone error is returned as it is. Of several it is `AllProvidersUnavailable` with every cause,
    unless one of them is the caller's answer: a refusal that another group was asked after, want
    of money that all would be paid with, or the same refusal by all, by us or for the same fault
    of the caller. Of those it is the one that ends first.
    """
    if not causes:
        return AllProvidersUnavailable("there is no deployment to ask")
    errors = [error for _, error in causes]
    for error in errors:
        if not error.fail_over:
            return error
    # That others are down as well is not what keeps the caller from an answer.
    if unpaid := list(filter(everywhere, errors)):
        return min(unpaid, key=_wait_s)
    first = min(errors, key=_wait_s)
    if len(errors) == 1 or (
        len({type(error) for error in errors}) == 1 and first.fault in {"nobody", "caller"}
    ):
        return first
    said = "; ".join(f"{name}: {error.message}" for name, error in causes)
    unavailable = AllProvidersUnavailable(f"all providers unavailable ({said})", tuple(causes))
    unavailable.__cause__ = causes[-1][1]
    return unavailable


def _wait_s(error: TrunklineError) -> float:
    return math.inf if error.retry_after_s is None else error.retry_after_s

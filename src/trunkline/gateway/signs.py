"""What workers know of deployments and limits, as metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from trunkline.gateway.uplink import Report
from trunkline.observability.metrics import Gauge

_SCOPES = ("global", "key", "user", "team", "tenant", "provider", "deployment")


def gauges(workers: Iterable[Report], ever: Iterable[Report]) -> Iterator[Gauge]:
    """Return the gauges of `workers`, and the counters of all there have ever been."""
    circuits: Counter[tuple[str, str]] = Counter()
    waiting: Counter[str] = Counter()
    alone = 0
    for worker in workers:
        circuits.update(worker.circuits.items())
        waiting.update(worker.waiting)
        alone += worker.circuits_alone
    for (deployment, state), count in sorted(circuits.items()):
        labels = (("deployment", deployment), ("state", state))
        yield Gauge("circuits", "Processes in which a circuit is not closed.", count, labels)
    for deployment, count in sorted(waiting.items()):
        named = (("deployment", deployment),)
        yield Gauge("waiting_calls", "Calls that wait for a slot.", count, named)
    yield Gauge("circuits_alone", "Processes that do not hear of others' circuits.", alone)
    last = tuple(ever)
    shed = sum(each.shed for each in last)
    yield Gauge("shed_calls_total", "Calls sent away for want of a slot.", shed, kind="counter")
    refused = sum(each.retries_refused for each in last)
    yield Gauge(
        "retries_refused_total", "Retries that the budget refused.", refused, kind="counter"
    )


def limits(workers: Iterable[Report], ever: Iterable[Report]) -> Iterator[Gauge]:
    """Return how many workers keep rate limits by themselves, and how often somebody was refused.

    Args:
        ever: the last word of each worker there has ever been.
    """
    alone = sum(worker.alone for worker in workers)
    yield Gauge("rate_limits_alone", "Processes that do not share their rate limits.", alone)
    total = sum((Counter(each.refused) for each in ever), Counter[str]())
    for scope in _SCOPES:
        named = (("scope", scope),)
        yield Gauge(
            "rate_limited_total", "What rate limits refused.", total[scope], named, "counter"
        )

"""What workers tell of the deployments becomes gauges and counters."""

from typing import Any

from trunkline.gateway import signs
from trunkline.gateway.uplink import Report
from trunkline.observability.metrics import Metrics


def report(pid: int, **fields: Any) -> Report:
    """Make what a worker tells."""
    return Report(pid=pid, open_requests=0, restarts=0, **fields)


def test_what_all_workers_know() -> None:
    """Each state with the number of processes; the counters also of those that are gone."""
    one = report(1, circuits={"p/m": "resting"}, waiting={"p/m": 3}, shed=2, retries_refused=5)
    two = report(2, circuits={"p/m": "resting", "q/m": "limited"}, circuits_alone=True, shed=1)
    gone = report(3, circuits={"p/m": "disabled"}, shed=10)
    text = Metrics().render(signs.gauges([one, two], [one, two, gone]))
    assert text.splitlines()[-16:] == [
        "# HELP trunkline_circuits Processes in which a circuit is not closed.",
        "# TYPE trunkline_circuits gauge",
        'trunkline_circuits{deployment="p/m",state="resting"} 2',
        'trunkline_circuits{deployment="q/m",state="limited"} 1',
        "# HELP trunkline_waiting_calls Calls that wait for a slot.",
        "# TYPE trunkline_waiting_calls gauge",
        'trunkline_waiting_calls{deployment="p/m"} 3',
        "# HELP trunkline_circuits_alone Processes that do not hear of others' circuits.",
        "# TYPE trunkline_circuits_alone gauge",
        "trunkline_circuits_alone 1",
        "# HELP trunkline_shed_calls_total Calls sent away for want of a slot.",
        "# TYPE trunkline_shed_calls_total counter",
        "trunkline_shed_calls_total 13",
        "# HELP trunkline_retries_refused_total Retries that the budget refused.",
        "# TYPE trunkline_retries_refused_total counter",
        "trunkline_retries_refused_total 5",
    ]

"""Leave a failing deployment alone for a while, then try it with a single call."""

from __future__ import annotations

from trunkline.clock import Clock
from trunkline.errors import CircuitOpen, TrunklineError
from trunkline.reply import Reply
from trunkline.service import Layer, Service
from trunkline.types import Call, Outcome

_FAILURES_TO_OPEN = 5
_REST_S = 10.0
_MOST_CIRCUITS = 4096


class Circuit:
    """Closed while failures in a row are few, open for `_REST_S`, then one probe decides.

    While it is open only the probe is believed: calls from before the rest end late.
    """

    __slots__ = ("failures", "open_until_s", "probing")

    def __init__(self) -> None:
        self.failures = 0
        self.open_until_s: float | None = None
        self.probing = False

    def admit(self, now_s: float) -> float | None:
        """Return None to let a call pass, else the seconds to stay away."""
        if self.open_until_s is None:
            return None
        if now_s < self.open_until_s:
            return self.open_until_s - now_s
        if self.probing:
            return 1.0
        self.probing = True
        return None

    def succeed(self) -> None:
        """An answer came to its end."""
        self.failures, self.open_until_s, self.probing = 0, None, False

    def fail(self, now_s: float) -> None:
        """The deployment failed; one failed probe is enough, for the count still stands."""
        self.failures += 1
        if self.failures >= _FAILURES_TO_OPEN:
            self.open_until_s = now_s + _REST_S
        self.probing = False

    def leave(self) -> None:
        """A call ended without saying anything about the deployment."""
        self.probing = False


class Health:
    """The circuits of all deployments; lives longer than any one stack."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._circuits: dict[str, Circuit] = {}

    def circuit(self, deployment: str) -> Circuit:
        """Return the deployment's circuit."""
        circuit = self._circuits.get(deployment)
        if circuit is None:
            if len(self._circuits) >= _MOST_CIRCUITS:  # callers may invent model names
                self._circuits = {n: c for n, c in self._circuits.items() if c.failures}
            circuit = self._circuits[deployment] = Circuit()
        return circuit

    def learn(
        self,
        circuit: Circuit,
        outcome: Outcome | None,
        error: BaseException | None,
        *,
        probe: bool,
    ) -> None:
        """Take the end of a call that `circuit` let pass, as its `probe` or while it was closed."""
        if circuit.open_until_s is not None and not probe:
            return
        if outcome == "complete":
            circuit.succeed()
        elif (
            outcome == "failed"
            and isinstance(error, TrunklineError)
            and error.fault == "deployment"
        ):
            circuit.fail(self.clock.monotonic_s())
        else:
            circuit.leave()

    def resting(self, provider: str) -> bool:
        """Whether every deployment of `provider` that was tried is resting."""
        now_s = self.clock.monotonic_s()
        tried = [c for name, c in tuple(self._circuits.items()) if name.startswith(f"{provider}/")]
        return bool(tried) and all((c.open_until_s or 0.0) > now_s for c in tried)

    def open_circuits(self) -> tuple[str, ...]:
        """Return the deployments that are left alone now."""
        now_s = self.clock.monotonic_s()
        return tuple(n for n, c in self._circuits.items() if (c.open_until_s or 0.0) > now_s)


def breaker(health: Health) -> Layer:
    """Refuse attempts at a resting deployment; learn from every outcome.

    Only outcome `failed` with an error whose fault is the deployment's counts against it: a caller
    who hangs up, or asks for nonsense, says nothing about its health.
    """

    def layer(inner: Service) -> Service:
        async def service(call: Call) -> Reply:
            target = call.target
            assert target is not None
            circuit = health.circuit(target.name)
            probe = circuit.open_until_s is not None
            wait_s = circuit.admit(health.clock.monotonic_s()) if probe else None
            if wait_s is not None:
                raise CircuitOpen(
                    f"{target.name} rests after repeated failures", retry_after_s=wait_s
                )

            try:
                reply = await inner(call)
            except BaseException as error:
                health.learn(circuit, "failed", error, probe=probe)
                raise
            reply.on_close(
                lambda reply: health.learn(circuit, reply.outcome, reply.error, probe=probe)
            )
            return reply

        return service

    return layer

"""Leave a failing deployment alone for a while, and learn from every attempt how it is."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from trunkline.clock import Clock
from trunkline.errors import (
    AuthFailed,
    CircuitOpen,
    ProviderError,
    TrunklineError,
    UpstreamRateLimited,
)
from trunkline.reply import Reply
from trunkline.routing.circuit import Event
from trunkline.routing.health import Health, Vital
from trunkline.routing.pressure import SIGNS, Pressure
from trunkline.service import Layer, Service
from trunkline.types import Call, Deployment

_SLOW_S = 10.0
"""No first token that comes sooner is slow, whatever is usual."""
_SLOW_TIMES = 4.0
"""How much later than 95 of 100 a first token is that counts as a failure ..."""
_SLOW_SHARE = 0.75
"""... or of the deployment's `first_token_timeout_s`, where there is one."""


class Teller(Protocol):
    """Who is told when a circuit changes."""

    def circuit(self, event: Event, **fields: Any) -> None:
        """Tell; `fields` are `deployment`, `error_code` and `rest_s`."""


def breaker(health: Health, clock: Clock, teller: Teller) -> Layer:
    """Refuse attempts at a resting deployment; feed its circuit, its pace and its pressure.

    Only what is the deployment's fault counts against it: a caller who hangs up, or asks for
    nonsense, says nothing. An attempt is `busy` from here to the end of its reply.
    """
    tools = _Tools(clock, teller)
    now = clock.monotonic_s

    def layer(inner: Service) -> Service:
        async def service(call: Call) -> Reply:
            target = call.target
            assert target is not None
            vital = health.of(target.name)
            begun_s = now()
            if not vital.circuit.calm:
                _admit(target, vital, begun_s)
            watch = _Watch(tools, call, vital, begun_s)
            try:
                reply = await inner(call)
            except BaseException as error:
                watch.fail(error)
                raise
            if call.stream or not vital.circuit.calm:
                watch.answer()
            reply.on_close(watch.end)
            return reply

        return service

    return layer


def _admit(target: Deployment, vital: Vital, now_s: float) -> None:
    """Let an attempt pass.

    Raises:
        CircuitOpen: the deployment rests.
        UpstreamRateLimited: it has asked for that itself.
        AuthFailed: it did not accept our credential; nothing was sent now, as in all three cases.
    """
    circuit = vital.circuit
    rest_s = circuit.admit(now_s)
    if rest_s is None:
        return
    state = circuit.state(now_s)
    if state == "limited":
        error: ProviderError = UpstreamRateLimited(
            f"{target.name} asked to be left alone, for {rest_s:.1f} s more",
            sent=False,
            retry_after_s=rest_s,
        )
    elif state == "disabled":
        error = AuthFailed(
            f"{target.name} did not accept our credential; check {target.key_place}: it is "
            f"tried again in {rest_s:.0f} s, or when the configuration changes",
            sent=False,
            retry_after_s=rest_s,
        )
    else:
        raise CircuitOpen(
            f"{target.name} rests after repeated failures ({circuit.cause})", retry_after_s=rest_s
        )
    error.deployment = target.name
    raise error


class _Tools(NamedTuple):
    clock: Clock
    teller: Teller


class _Watch:
    """One attempt under way."""

    __slots__ = (
        "_answered_s",
        "_begun_s",
        "_call",
        "_era",
        "_slow",
        "_tools",
        "_vital",
        "_waiting",
    )

    def __init__(self, tools: _Tools, call: Call, vital: Vital, begun_s: float) -> None:
        self._tools, self._call, self._vital, self._begun_s = tools, call, vital, begun_s
        self._era = vital.circuit.era
        self._slow = False
        self._waiting = call.stream
        vital.busy += 1
        if self._waiting:
            vital.ask(begun_s)

    def answer(self) -> None:
        """A first token is there."""
        now_s = self._answered_s = self._tools.clock.monotonic_s()
        if self._waiting:
            self._waiting = False
            self._vital.hear(now_s)
            self._vital.pace.hear(now_s, now_s - self._begun_s)
        circuit = self._vital.circuit
        if not circuit.calm and (event := circuit.answer(now_s, self._era)):
            self._era = circuit.era
            self._tell(event, now_s)
        if now_s - self._begun_s > _SLOW_S and self._call.stream and self._is_slow():
            self._slow = True
            self._tell(circuit.be_slow(now_s, self._era), now_s)

    def end(self, reply: Reply) -> None:
        """The reply is over."""
        if reply.outcome != "complete":
            self.fail(reply.error if reply.outcome == "failed" else None)
            return
        vital, usage, stream = self._vital, reply.usage, self._call.stream
        now_s = self._tools.clock.monotonic_s()
        if not self._slow:
            vital.circuit.succeed()
        answered_s = self._answered_s if stream else now_s  # a whole answer is there at once
        vital.pace.learn(
            now_s,
            answered_s - self._begun_s,
            now_s - answered_s,
            usage.completion_tokens if usage is not None else 0,
            stream=stream,
        )
        if vital.pressure is not None and vital.pressure.ease(now_s):
            vital.pressure = None
        self._leave(now_s)

    def fail(self, error: BaseException | None) -> None:
        """It ended otherwise; None = its caller left."""
        vital, now_s = self._vital, self._tools.clock.monotonic_s()
        if not isinstance(error, TrunklineError):
            vital.circuit.leave(self._era)
            self._leave(now_s)
            return
        if error.code in SIGNS:
            if vital.pressure is None:
                vital.pressure = Pressure(vital.busy, now_s)
            else:
                vital.pressure.squeeze(vital.busy, self._begun_s, now_s)
        if error.fault == "deployment":
            vital.pace.fail(now_s)
        self._tell(vital.circuit.fail(error, now_s, self._era), now_s)
        self._leave(now_s)

    def _leave(self, now_s: float) -> None:
        vital = self._vital
        vital.busy -= 1
        if self._waiting:
            vital.hear(now_s)
        if vital.freed is not None:
            vital.freed()

    def _is_slow(self) -> bool:
        assert self._call.target is not None
        bound_s = self._call.target.limits.first_token_timeout_s
        if bound_s is not None:
            return self._answered_s - self._begun_s > bound_s * _SLOW_SHARE
        usual_s = self._vital.pace.late_s(stream=True)
        return usual_s is not None and self._answered_s - self._begun_s > usual_s * _SLOW_TIMES

    def _tell(self, event: Event | None, now_s: float) -> None:
        if event is not None:
            circuit, target = self._vital.circuit, self._call.target
            assert target is not None
            self._tools.teller.circuit(
                event,
                deployment=target.name,
                error_code=circuit.cause,
                rest_s=round(circuit.rest_s(now_s), 1),
            )

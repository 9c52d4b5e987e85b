"""Every failure as one tree; what to do about each is a class attribute, never a string comparison.

TrunklineError
├── InputError                 the caller asked for something that cannot be sent
│   ├── ModelNotFound          no deployment answers to that name
│   ├── CapabilityMissing      a deployment cannot take this request (tools, images, ...)
│   ├── Unauthorized           no key was shown, or one nobody knows
│   ├── Forbidden              the key may not do this
│   ├── UnknownPath            there is nothing at that path
│   ├── NotFound               there is no key, user, team, ... by that id
│   ├── Conflict               it does not fit what is there already
│   ├── WrongMethod            the path does not take that method
│   ├── BodyTooLarge           the request body is larger than is taken
│   ├── WrongMediaType         the request body is not JSON, or is encoded in an unknown way
│   └── SlowRequest            the request did not arrive in time
├── ConfigError                a configuration that must not start
├── RecordError                the journal or the data folder cannot be written
├── LocalRefusal               we refused, nothing was sent
│   ├── BudgetExhausted        the money is gone
│   ├── BudgetHeld             the money is held by other calls; try again soon
│   ├── PriceUnknown           a budget refuses what has no price
│   ├── RateLimited            one of our own limits
│   ├── Overloaded             no slot came free in time
│   └── CircuitOpen            the deployment is resting after failures
├── DeadlineExceeded           the caller's own time ran out
├── ReplyClosed                the reply was closed before its end
├── AllProvidersUnavailable    every candidate was tried or skipped; `causes` says why
└── ProviderError              a deployment failed; `sent` says whether it may have been billed
    ├── ConnectFailed          DNS, TCP or TLS: nothing was sent
    ├── ConnectTimeout         no connection in time: nothing was sent
    ├── ConnectionLost         the connection broke after something was sent
    ├── FirstTokenTimeout      no first token in time
    ├── IdleTimeout            silence in the middle of an answer
    ├── AttemptTimeout         the whole answer took too long
    ├── BadAnswer              HTML, garbage, an empty body, a shape nobody documented
    │   └── Truncated          the answer stopped before its end
    ├── AnswerTooLarge         the answer is larger than is read
    ├── Refused                the provider says the request itself is wrong
    │   ├── ContextTooLong     the prompt does not fit this model
    │   ├── ContentBlocked     the provider's policy stopped it
    │   └── UpstreamNotFound   the provider has no such model or deployment
    ├── AuthFailed             our credential was not accepted; the text is never relayed
    ├── QuotaExhausted         our account there has no money or quota left
    ├── UpstreamRateLimited    too many requests; may carry `retry_after_s`
    │   └── RequestTooLarge    larger than the whole limit: waiting never helps
    └── UpstreamFailed         5xx
        └── UpstreamOverloaded 503, 529 and their kin
"""

from __future__ import annotations

from typing import ClassVar, Literal, TypedDict, Unpack

Fault = Literal["caller", "deployment", "us", "nobody"]


class _Row(TypedDict, total=False):
    status: int
    code: str
    retry_same: bool
    fail_over: bool
    fault: Fault


class TrunklineError(Exception):
    """Any failure of ours.

    The first line of each class is its row of the decision table; what it leaves out is inherited.
    `status` and `code` are for HTTP callers; `retry_same`: the same deployment may be tried again;
    `fail_over`: another may; `fault`: whose it is, only `deployment` counts against its health.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    retry_same: ClassVar[bool] = False
    fail_over: ClassVar[bool] = False
    fault: ClassVar[Fault] = "us"

    def __init_subclass__(cls, **row: Unpack[_Row]) -> None:
        for name, value in row.items():
            setattr(cls, name, value)

    def __init__(
        self, message: str, *, param: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        """The field of the request that is at fault, as the caller spelled it."""
        self.retry_after_s = retry_after_s
        """Seconds until another try makes sense, when somebody told us."""
        self.call_id: str | None = None


class InputError(TrunklineError, status=400, code="invalid_request", fault="caller"):
    """The caller asked for something that cannot be sent."""


class ModelNotFound(InputError, status=404, code="model_not_found"):
    """No deployment answers to that name; the message lists near names."""


class CapabilityMissing(InputError, code="capability_missing", fail_over=True):
    """The deployment cannot take this request; another one may."""


class Unauthorized(InputError, status=401, code="invalid_api_key"):
    """No key was shown, or one nobody knows."""


class Forbidden(InputError, status=403, code="forbidden"):
    """The key, the host or the origin may not do this."""


class UnknownPath(InputError, status=404, code="unknown_path"):
    """There is nothing at that path."""


class NotFound(InputError, status=404, code="not_found"):
    """There is no key, user, team, tenant or budget by that id."""


class Conflict(InputError, status=409, code="conflict"):
    """It does not fit what is there already: a name is taken, or something depends on it."""


class WrongMethod(InputError, status=405, code="method_not_allowed"):
    """The path does not take that method."""


class BodyTooLarge(InputError, status=413, code="body_too_large"):
    """The request body is larger than is taken."""


class WrongMediaType(InputError, status=415, code="unsupported_media_type"):
    """The request body is not JSON, or is encoded in an unknown way."""


class SlowRequest(InputError, status=408, code="request_timeout"):
    """The request did not arrive in time."""


class ConfigError(TrunklineError, code="invalid_configuration"):
    """A configuration that must not start; the message has the file, the key path and a mend."""


class RecordError(TrunklineError, status=503, code="record_unwritable"):
    """The journal or the data folder cannot be written, so no call may be made."""


class LocalRefusal(TrunklineError, status=429, code="refused", fail_over=True, fault="nobody"):
    """We refused before anything was sent; another deployment may fit."""


class BudgetExhausted(LocalRefusal, status=402, code="budget_exhausted", fault="caller"):
    """The money of a budget is gone."""


class BudgetHeld(LocalRefusal, code="budget_held"):
    """The money left is held by calls under way; it may come back within seconds."""


class PriceUnknown(LocalRefusal, status=402, code="price_unknown"):
    """A budget refuses deployments whose price is not known."""


class RateLimited(LocalRefusal, code="rate_limited"):
    """One of our own rate limits is used up."""


class Overloaded(LocalRefusal, status=503, code="overloaded"):
    """No slot came free in time."""


class CircuitOpen(LocalRefusal, status=503, code="circuit_open"):
    """The deployment rests after repeated failures."""


class DeadlineExceeded(TrunklineError, status=504, code="deadline_exceeded", fault="nobody"):
    """The time the caller gave for the whole call ran out."""


class ReplyClosed(TrunklineError, status=499, code="reply_closed", fault="nobody"):
    """The reply was closed before its end."""


class AllProvidersUnavailable(
    TrunklineError, status=503, code="all_providers_unavailable", fault="deployment"
):
    """Every candidate was tried or skipped; `causes` pairs each deployment with its error."""

    def __init__(self, message: str, causes: tuple[tuple[str, TrunklineError], ...] = ()) -> None:
        waits = [error.retry_after_s for _, error in causes if error.retry_after_s is not None]
        super().__init__(message, retry_after_s=min(waits) if waits else None)
        self.causes = causes


class ProviderError(
    TrunklineError, status=502, code="provider_error", fail_over=True, fault="deployment"
):
    """A deployment failed.

    `sent`: some of the request may have got there, and be billed; `upstream_*` are scrubbed.
    """

    def __init__(
        self,
        message: str,
        *,
        sent: bool = True,
        upstream_status: int | None = None,
        upstream_code: str | None = None,
        retry_after_s: float | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message, param=param, retry_after_s=retry_after_s)
        self.sent = sent
        self.upstream_status = upstream_status
        self.upstream_code = upstream_code
        self.deployment: str | None = None


class ConnectFailed(ProviderError, code="connect_failed", retry_same=True):
    """DNS, TCP or TLS failed; nothing was sent."""


class ConnectTimeout(ProviderError, status=504, code="connect_timeout", retry_same=True):
    """No connection in time; nothing was sent."""


class ConnectionLost(ProviderError, code="connection_lost", retry_same=True):
    """The connection broke after something was sent and before the answer ended."""


class FirstTokenTimeout(ProviderError, status=504, code="first_token_timeout", retry_same=True):
    """The provider accepted the request and showed nothing in time."""


class IdleTimeout(ProviderError, status=504, code="idle_timeout", retry_same=True):
    """The provider fell silent in the middle of an answer."""


class AttemptTimeout(ProviderError, status=504, code="attempt_timeout"):
    """The whole answer took longer than the deployment's time-out."""


class BadAnswer(ProviderError, code="bad_answer", retry_same=True):
    """The answer is not one: HTML, garbage, an empty body, an unknown shape."""


class Truncated(BadAnswer, code="truncated"):
    """The answer stopped before its end."""


class AnswerTooLarge(ProviderError, code="answer_too_large", fail_over=False, fault="nobody"):
    """The answer is larger than is read; another one would be as large, and charged as well."""


class Refused(ProviderError, status=400, code="upstream_refused", fail_over=False, fault="caller"):
    """The provider says the request itself is wrong; asking again cannot help."""


class ContextTooLong(Refused, code="context_length_exceeded", fail_over=True):
    """The prompt does not fit this model; one with a longer context may take it."""


class ContentBlocked(Refused, code="content_blocked"):
    """The provider's content policy stopped the request."""


class UpstreamNotFound(
    Refused, status=404, code="upstream_not_found", fail_over=True, fault="deployment"
):
    """The provider has no such model or deployment."""


class AuthFailed(ProviderError, code="upstream_auth_failed"):
    """Our credential was not accepted. The provider's text is never relayed."""


class QuotaExhausted(ProviderError, code="upstream_quota_exhausted"):
    """Our account at the provider has no money or quota left; waiting seconds never helps."""


class UpstreamRateLimited(ProviderError, status=429, code="upstream_rate_limited", retry_same=True):
    """Too many requests for the provider."""


class RequestTooLarge(
    UpstreamRateLimited, code="upstream_request_too_large", retry_same=False, fault="caller"
):
    """This one request is larger than the provider's whole limit."""


class UpstreamFailed(ProviderError, code="upstream_failed", retry_same=True):
    """The provider answered 5xx."""


class UpstreamOverloaded(UpstreamFailed, status=503, code="upstream_overloaded"):
    """503, 529 and their kin: alive, but not taking work."""


def code_of(error: BaseException) -> str:
    """Return the stable code of one of ours, the class name of anything else."""
    return error.code if isinstance(error, TrunklineError) else type(error).__name__


def was_sent(error: BaseException | None) -> bool:
    """Tell whether what ended an attempt, errors or cancellation, leaves open that it was sent."""
    return getattr(error, "sent", not isinstance(error, InputError | ConfigError))

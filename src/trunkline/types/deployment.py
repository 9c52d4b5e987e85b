"""Who answers: a `Deployment` row with its price, limits and credential."""

from __future__ import annotations

from typing import NoReturn

from msgspec import Struct
from msgspec.structs import force_setattr

from trunkline.types.prompt import Need


class Secret:
    """A credential that shows itself only through `reveal()`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the credential itself; only a dialect's `encode` has a reason to."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled or copied; hand on where it comes from")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class Price(Struct, frozen=True, kw_only=True):
    """Int nano-USD per million tokens; None = this source does not say."""

    input_nusd: int
    output_nusd: int
    cache_read_nusd: int | None = None
    """None = charged as input."""
    cache_write_nusd: int | None = None
    cache_write_1h_nusd: int | None = None
    audio_input_nusd: int | None = None
    audio_output_nusd: int | None = None
    request_nusd: int = 0
    """Nano-USD per million requests."""
    web_search_nusd: int | None = None
    """Nano-USD per million searches that the provider makes; None = the cost of an answer with
    one is estimated without it."""
    tiers: tuple[tuple[int, Price], ...] = ()
    """(threshold, price), rising: the whole call costs the last one whose threshold in prompt
    tokens is exceeded."""
    service_tiers: tuple[tuple[str, Price], ...] = ()
    """(`Usage.service_tier`, price): what counts instead of this when that tier was served. A tier
    that is not here has no known price: it is estimated at this one."""
    snapshot: str = ""
    """Where and when this price was read, kept on every row."""
    configured: bool = False
    """Set by the user; it then counts for more than what a provider reports."""


class Limits(Struct, frozen=True, kw_only=True):
    """Time-outs in seconds and caps of one deployment; None = no cap."""

    connect_timeout_s: float = 10.0
    first_token_timeout_s: float | None = None
    idle_timeout_s: float = 120.0
    timeout_s: float = 600.0
    max_parallel: int | None = None


class RateLimit(Struct, frozen=True, kw_only=True):
    """How much a scope may ask for in a minute, and at once; None = as much as it likes."""

    scope: str
    """Who is limited: `provider:NAME`, `deployment:PROVIDER/MODEL`, `user:ID` and their like."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    """Prompt and answer."""


_KEY_PLACES = {
    "aws": "the AWS keys, profile or role, and what they may do",
    "google": "credentials_file, or the machine's Google account, and what it may do",
}


class Deployment(Struct, frozen=True, kw_only=True):
    """One row that can answer."""

    provider: str
    model: str
    """The name sent on the wire, if `wire_model` says no other; it decides price and quirks."""
    wire_model: str = ""
    """What this account calls the model, as an Azure deployment does; "" = `model`."""
    dialect: str = "openai_chat"
    backend: str = "http"
    """`http`, or the name of a backend that answers inside this process."""
    base_url: str = ""
    api_key: Secret | None = None
    credential: str = ""
    """Where the transport gets a credential that does not stay the same, instead of `api_key`:
    `google:` and the path of a file, or nothing for Google's usual places; `aws:`, a region and
    perhaps `:` and a profile, for signatures; "" = nowhere."""
    headers: tuple[tuple[str, str], ...] = ()
    buckets: tuple[str, ...] = ()
    """Cloud buckets of which callers may name contents; it reads them with its own rights."""
    quirks: frozenset[str] = frozenset()
    """Names of documented deviations; the dialect knows them."""
    lacks: frozenset[Need] = frozenset()
    context_window: int | None = None
    """Tokens that a prompt may have, with its answer; None = not known."""
    max_output: int | None = None
    """Tokens that an answer may have; None = not known."""
    price: Price | None = None
    limits: Limits = Limits()
    rates: tuple[RateLimit, ...] = ()
    """All that it is limited to: as one of its provider, by itself, in its group."""
    retries: int = 2
    weight: float = 1
    """Its share beside others of its group; 0 = only when they cannot."""

    name: str = ""
    """`provider/model`, unique within a configuration; made of them, whatever is given."""

    def __post_init__(self) -> None:
        force_setattr(self, "name", f"{self.provider}/{self.model}")

    @property
    def key_place(self) -> str:
        """What to look at when the credential was refused."""
        return _KEY_PLACES.get(self.credential.partition(":")[0], "its api_key")


class Outgoing(Struct, frozen=True, kw_only=True):
    """An HTTP request a dialect made. `dropped` names options the deployment does not take."""

    url: str
    headers: dict[str, str]
    body: bytes
    method: str = "POST"
    dropped: tuple[str, ...] = ()

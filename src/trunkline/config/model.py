"""What a configuration is once it has been read: plain frozen data."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, get_args

from msgspec import Struct

from trunkline.config.provider import Provider
from trunkline.types import Deployment, Need, RateLimit, Secret

Strategy = Literal["priority", "latency", "weighted", "least_busy", "cost", "sticky"]
Period = Literal["day", "week", "month", "total"]
Mode = Literal["strict", "hard", "soft"]
UnknownPrice = Literal["refuse", "flag", "allow"]
WhenStoreDown = Literal["closed", "open"]
Role = Literal["viewer", "member", "admin"]
"""From the least to the most: a viewer only looks, a member calls, an admin does anything."""
ROLES: tuple[Role, ...] = get_args(Role)


class Hedge(Struct, frozen=True, kw_only=True):
    """When a second deployment is asked as well because the first is late."""

    after: float | None = None
    """Seconds without a first token; None = as long as 95 of 100 calls of the group take."""
    max_share: float = 0.05
    """Of all calls of the group, in (0, 1], at most so many get a second attempt."""


class Group(Struct, frozen=True, kw_only=True):
    """A name for several deployments, and where to go when all of them fail."""

    name: str
    deployments: tuple[Deployment, ...]
    """By priority, then as listed; empty when every provider of the group is disabled."""
    fallbacks: tuple[str, ...] = ()
    """Names of groups, tried in turn."""
    retries: int = 2
    """Further tries at the same deployment."""
    strategy: Strategy = "priority"
    tiers: tuple[int, ...] = ()
    """The `priority` of each deployment; a higher tier is only asked when the lower ones cannot."""
    context_window_fallbacks: tuple[str, ...] = ()
    """Groups to ask instead when the prompt is too long for a deployment."""
    rate_limit_fallbacks: tuple[str, ...] = ()
    """Groups to ask instead when a deployment has no room now."""
    content_policy_fallbacks: tuple[str, ...] = ()
    """Groups to ask when a provider refuses what was asked; empty = its refusal is the answer."""
    promises: frozenset[Need] = frozenset()
    """What callers may count on: no fallback leads to where nobody can do it."""
    midstream: Literal["error", "continue"] = "error"
    """What to do when an answer breaks off after its first token was shown."""
    hedge: Hedge | None = None


class BudgetRule(Struct, frozen=True, kw_only=True):
    """How much a scope may spend in a period."""

    origin: ClassVar[str] = ""
    """Where it is kept: tells budgets of one scope and period apart. "" = the configuration."""
    scope: str
    """`global`, or `KIND:NAME` with one of key, user, team, tenant, tag, run, provider,
    deployment."""
    amount_nusd: int
    period: Period
    timezone: str = "UTC"
    """Whose midnight begins a period; of no account for `total`, and where it is rolling."""
    rolling: bool = False
    """True = the last 24 hours, 7 days or 30 days; never with `total`."""
    mode: Mode = "hard"
    unknown_price: UnknownPrice = "flag"
    cap_output: bool = False
    """Whether an answer too long for what is left is capped instead of refused; not with `soft`."""
    when_store_down: WhenStoreDown = "closed"
    """Whether calls are let in, `open`, or refused while nobody can say what has been spent."""
    alert_at: tuple[float, ...] = ()
    """Shares of the amount, 0 to 1, at which to tell somebody."""


class MadeRule(BudgetRule, frozen=True, kw_only=True):
    """What a budget says that was made at run time."""

    origin: ClassVar[str] = "made"


class Allowance(BudgetRule, frozen=True, kw_only=True):
    """What a user may spend, as the budget that it is."""

    origin: ClassVar[str] = "allowance"


class Key(Struct, frozen=True, kw_only=True):
    """A key that callers of the gateway show; its `name` is who pays."""

    name: str
    secret: Secret
    user_id: str | None = None
    """Who pays as well; so do `team_id` and `tenant_id`."""
    team_id: str | None = None
    tenant_id: str | None = None
    tier: str | None = None
    role: Role = "member"
    models: tuple[str, ...] = ()
    """Names it may ask for, as callers say them; empty = any."""
    expires_ns: int | None = None
    """The first moment at which it is good no more, in nanoseconds since the epoch."""
    may_act_for: tuple[str, ...] = ()
    """Tenants besides its own for whom it may call; `*` = all."""
    required_tags: tuple[str, ...] = ()
    """Each of its calls must have each of these, or one that begins with it and a colon."""
    rates: tuple[RateLimit, ...] = ()
    """Its own limits; one or none."""


class Webhook(Struct, frozen=True, kw_only=True):
    """Who is told over HTTP of what calls used."""

    url: str
    secret: Secret
    """What the signature is made with."""
    allow_private: bool = False
    """True = it may be http, and in a private network."""


class Server(Struct, frozen=True, kw_only=True):
    """Where the gateway listens, and for whom."""

    host: str = "127.0.0.1"
    port: int = 4000
    hosts: tuple[str, ...] = ()
    """Host names it answers to besides its own address and the loopback ones."""
    max_body_mb: int = 32
    """Largest request body in MiB, after decompression."""
    workers: int = 1
    """Processes that answer calls, all on one port."""
    stored_state: Literal["refuse", "allow"] = "refuse"
    """Whether callers may name what providers hold for the account: `allow` is for one tenant."""


class Storage(Struct, frozen=True, kw_only=True):
    """Where records are kept, and for how long."""

    database_url: Secret | None = None
    """PostgreSQL; None = a file in the data folder."""
    redis_url: Secret | None = None
    """Valkey or Redis: hands out money before PostgreSQL is asked, and keeps the rate limits of all
    replicas; None = there is none."""
    keep_days: int | None = None
    """For how many days calls and the sums of quarter hours are kept; None = for ever, as the sums
    of days always are."""


class Config(Struct, frozen=True, kw_only=True):
    """Everything that was configured, checked: what it names exists."""

    default_provider: str | None = None
    default_model: str | None = None
    """What a call means that names no model."""
    fallback_chain: tuple[str, ...] = ()
    """Providers in the order to try, for a model that no group names."""
    model_map: dict[str, dict[str, str]] = {}
    """Model -> provider -> what to ask that provider for instead."""
    providers: dict[str, Provider] = {}
    disabled: dict[str, str] = {}
    """Providers that cannot be used, and why: names of missing variables, never a value."""
    groups: dict[str, Group] = {}
    aliases: dict[str, str] = {}
    budgets: tuple[BudgetRule, ...] = ()
    rates: tuple[RateLimit, ...] = ()
    """Limits of callers, by scopes as in `trunkline.accounting.limited`."""
    keys: tuple[Key, ...] = ()
    webhooks: tuple[Webhook, ...] = ()
    server: Server = Server()
    storage: Storage = Storage()
    data_dir: Path
    warnings: tuple[str, ...] = ()
    """What the caller should say aloud, one line each."""
    source: str
    """The file that was read, or `environment`."""

    @property
    def key_users(self) -> frozenset[str]:
        """Who pays for what is asked with a key of `keys`."""
        return frozenset(key.user_id for key in self.keys if key.user_id is not None)

"""How providers and deployments are, as rows for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import ceil
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from trunkline.config import Config, Provider
from trunkline.gateway.admin.asked import iso
from trunkline.gateway.seen import GRAVITY, Seen
from trunkline.types import Deployment

if TYPE_CHECKING:
    from trunkline.transport.probes import Probe


def providers(
    config: Config, news: Mapping[str, Seen], probes: Mapping[str, Probe], now_ns: int
) -> list[dict[str, Any]]:
    """Return a row for each provider, those that lack something included."""
    rows = []
    for name, provider in config.providers.items():
        told = probes.get(name)
        here = [one for each, one in news.items() if each.startswith(f"{name}/")]
        status, why = _judged(provider, here, told, now_ns)
        rows.append(_provider(name, provider.type, status, why) | {"probe": _probe(told)})
    for name, lacking in config.disabled.items():
        rows.append(_provider(name, None, "disabled", lacking) | {"probe": None})
    return rows


def _provider(name: str, type_: str | None, status: str, why: str) -> dict[str, Any]:
    return {"id": name, "object": "provider", "type": type_, "status": status, "why": why}


def _probe(told: Probe | None) -> dict[str, Any] | None:
    if told is None:
        return None
    at = iso(told.at_ns)
    return {"ok": told.ok, "latency_ms": told.latency_ms, "at": at, "why": told.why}


def _judged(
    provider: Provider, here: list[Seen], told: Probe | None, now_ns: int
) -> tuple[str, str]:
    """Return how a provider is, and why: calls tell more than probes, and later news more."""
    if here and all(one.rests for one in here):
        worst = max(here, key=lambda one: GRAVITY[one.state])
        return "disabled" if worst.state == "disabled" else "resting", worst.cause
    if any(one.well(now_ns) for one in here):
        return "ok", "it answered calls lately"
    if told is not None:
        return "ok" if told.ok else "down", told.why
    if provider.template.backend != "http":
        return "ok", "answers inside this process"
    return "unknown", "not asked yet"


def deployments(config: Config, news: Mapping[str, Seen]) -> list[dict[str, Any]]:
    """Return a row for each deployment that is configured, or was asked."""
    rows: dict[str, Deployment] = {}
    for row in _configured(config):
        known = rows.get(row.name, row)  # a group may bound it further than its provider
        bound = row if known.limits.max_parallel is None else known
        rows[row.name] = replace(bound, rates=(*known.rates, *row.rates))
    for name in news:
        provider, _, model = name.partition("/")
        if name not in rows and provider in config.providers:
            rows[name] = replace(config.providers[provider].template, model=model)
    return [_deployment(row, news.get(row.name, Seen())) for row in rows.values()]


def _configured(config: Config) -> Iterator[Deployment]:
    for group in config.groups.values():
        yield from group.deployments
    for provider in config.providers.values():
        for model in provider.models or filter(None, (provider.usual_model,)):
            own = provider.rates.get(model)
            rates = (*provider.template.rates, *((own,) if own else ()))
            yield replace(provider.template, model=model, rates=rates)


def _deployment(row: Deployment, one: Seen) -> dict[str, Any]:
    rates = {
        rate.scope: {
            "requests_per_minute": rate.requests_per_minute,
            "tokens_per_minute": rate.tokens_per_minute,
        }
        for rate in row.rates
    }
    return {
        "id": row.name,
        "object": "deployment",
        "provider": row.provider,
        "model": row.model,
        "status": _status(one),
        "circuit": {
            "state": one.state,
            "cause": one.cause or None,
            "until": iso(one.until_ns) if one.until_ns else None,
        },
        "first_token_ms": _ms(one.first_token_s),
        "first_token_p95_ms": _ms(one.late_s),
        "heard_at": iso(one.heard_ns) if one.heard_ns else None,
        "busy": one.busy,
        "limits": {"max_parallel": row.limits.max_parallel, "slots": one.slots, "rates": rates},
    }


def _status(one: Seen) -> str:
    if one.state == "disabled":
        return "disabled"
    if one.rests:
        return "resting"
    return "ok" if one.heard_ns and not one.failing else "unknown"


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else ceil(seconds * 1000)

"""The reference pages say what the code says: keys, defaults, variables, errors, events."""

import ast
import logging
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import yaml

import trunkline
from tests.acceptance.pages import ROOT, tables, words
from trunkline import catalog, errors
from trunkline.catalog import ProviderRow
from trunkline.config import Config, from_mapping
from trunkline.dialects.openai_chat.quirks import QUIRKS
from trunkline.errors import ConfigError, TrunklineError
from trunkline.llm_service.ask import chat
from trunkline.observability.log import EventLog
from trunkline.observability.metrics import DECISION_KINDS, FAMILIES, TOKEN_KINDS
from trunkline.routing.circuit import Event
from trunkline.types import CostState, Outcome, Principal, Trail
from trunkline.types.record import Called

CONFIGURATION = tables(ROOT / "docs/reference/configuration.md")

Fields = dict[str, Any]
Place = Callable[[Fields], Fields]


def under_provider(fields: Fields) -> Fields:
    """Return a configuration of one provider."""
    return {"llm_service": {"providers": {"ollama": fields}}}


def under_group(fields: Fields) -> Fields:
    """Return a configuration of one group."""
    group = {"deployments": ["demo/x"], **fields}
    return {"llm_service": {"providers": {"demo": {}}, "groups": {"g": group}}}


def under_entry(fields: Fields) -> Fields:
    """Return a `model_list` of one entry."""
    entry = {"model_name": "g", "litellm_params": {"model": "demo/x"}, **fields}
    return {"model_list": [entry]}


def under_key(fields: Fields) -> Fields:
    """Write the fields of a key."""
    key = {"name": "ci", "key": "k" * 16, **fields}
    return {"llm_service": {"keys": [key]}}


PLACES: dict[str, Place] = {
    "`llm_service`": lambda fields: {"llm_service": fields},
    "`llm_service.providers.NAME`": under_provider,
    "`llm_service.providers.NAME.rate_limits`": lambda f: under_provider({"rate_limits": f}),
    "`llm_service.providers.NAME.models[]`": lambda f: under_provider(
        {"models": [{"name": "m", **f}]}
    ),
    "`llm_service.providers.NAME.models[].price`": lambda f: under_provider(
        {"models": [{"name": "m", "price": {"input": 1, "output": 1, **f}}]}
    ),
    "`llm_service.groups.NAME`": under_group,
    "`llm_service.groups.NAME.hedge`": lambda f: under_group({"hedge": {"after": 1, **f}}),
    "`llm_service.groups.NAME.deployments[]`": lambda f: under_group(
        {"deployments": [{"model": "demo/x", **f}]}
    ),
    "`llm_service.budgets[]`": lambda f: {
        "llm_service": {"budgets": [{"scope": "global", "amount": 1, "period": "day", **f}]}
    },
    "`llm_service.rate_limits[]`": lambda f: {
        "llm_service": {"rate_limits": [{"scope": "global", "requests_per_minute": 1, **f}]}
    },
    "`llm_service.keys[]`": under_key,
    "`llm_service.keys[].budget`": lambda f: under_key(
        {"budget": {"amount": 1, "period": "day", **f}}
    ),
    "`llm_service.webhooks[]`": lambda f: {
        "llm_service": {"webhooks": [{"url": "https://h/", "secret": "s" * 16, **f}]}
    },
    "`llm_service.server`": lambda f: {"llm_service": {"server": f}},
    "`llm_service.storage`": lambda f: {"llm_service": {"storage": f}},
    "`model_list`": lambda f: {**under_entry({}), **f},
    "`model_list[]`": under_entry,
    "`model_list[].litellm_params`": lambda f: under_entry(
        {"litellm_params": {"model": "demo/x", **f}}
    ),
    "`litellm_settings`, `router_settings`": lambda f: {**under_entry({}), "router_settings": f},
}
"""How to write fields at the place that a heading names, where everything else is good."""


def load(fields: Fields) -> Config:
    """Read a configuration with no variables set."""
    return from_mapping(fields, {})


def mend(fields: Fields) -> list[str]:
    """Return what the error about `fields` says to write."""
    with pytest.raises(ConfigError) as caught:
        load(fields)
    return re.split(r", ", caught.value.message.rpartition("write one of ")[2])


def rows(*wanted: str) -> list[Any]:
    """Return (place, key, cell) for the key tables, where `wanted` stands in the cell."""
    column, test = wanted
    return [
        pytest.param(heading, words(row["key"])[0], row[column], id=f"{heading}-{row['key']}")
        for heading in PLACES
        for row in CONFIGURATION[heading]
        if re.match(test, row[column])
    ]


@pytest.mark.parametrize("heading", PLACES)
def test_every_key_is_named_and_no_other(heading: str) -> None:
    """The table under the heading has exactly the keys that the code takes there."""
    place = PLACES[heading]
    load(place({}))
    named = [words(row["key"])[0] for row in CONFIGURATION[heading]]
    assert sorted(named) == mend(place({"no-such-key": 1}))


def test_every_table_of_keys_is_checked() -> None:
    """No heading with a table of keys is left out here."""
    found = {heading for heading, table in CONFIGURATION.items() if "key" in table[0]}
    assert found - {"Known providers"} == set(PLACES)


@pytest.mark.parametrize(("heading", "key", "default"), rows("default", r"`[^`]+`$"))
def test_a_documented_default_is_what_absence_means(heading: str, key: str, default: str) -> None:
    """Writing it down changes nothing."""
    place = PLACES[heading]
    written = place({key: yaml.safe_load(words(default)[0])})
    assert load(written) == load(place({}))


@pytest.mark.parametrize(("heading", "key", "default"), rows("default", "required$"))
def test_a_required_key_is_required(heading: str, key: str, default: str) -> None:
    """Its absence is an error."""
    with pytest.raises(ConfigError):
        load(PLACES[heading]({key: None}))


@pytest.mark.parametrize(("heading", "key", "cell"), rows("type", "one of"))
def test_the_words_of_a_choice(heading: str, key: str, cell: str) -> None:
    """The page has those that the code takes, each of which loads."""
    place = PLACES[heading]
    assert words(cell) == mend(place({key: "no-such-word"}))
    for word in words(cell):
        load(place({key: word}))


def test_the_kinds_of_a_scope() -> None:
    """Each kind that the page names loads; there is no other."""
    [cell] = [row["meaning"] for row in CONFIGURATION["`llm_service.budgets[]`"]][:1]
    place = PLACES["`llm_service.budgets[]`"]
    for kind in words(cell):
        name = {"provider:": "demo", "deployment:": "demo/x"}.get(kind, "x")
        load(place({"scope": kind if kind == "global" else kind + name}))
    with pytest.raises(ConfigError, match="the kinds are") as caught:
        load(place({"scope": "no-such-kind:x"}))
    kinds = caught.value.message.rpartition("the kinds are ")[2].split(", ")
    assert words(cell) == ["global", *(f"{kind}:" for kind in kinds)]


@cache
def variables_in_code() -> set[str]:
    """Return what the code reads of the environment; providers' and the allocator's aside."""
    source = Path(trunkline.__file__).parent
    constants = {
        node.value
        for folder in ("config", "transport", "cli", "client", "gateway", "discovery.py")
        for path in ((source / folder).rglob("*.py") if "." not in folder else (source / folder,))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {text for text in constants if re.fullmatch(r"(?!MALLOC_)[A-Z]+(_[A-Z]+)+", text)}


def test_every_environment_variable_is_named_and_no_other() -> None:
    """Ours, the proxies' (which the standard library reads), and those of the providers."""
    named = {
        name for row in CONFIGURATION["Environment variables"] for name in words(row["variable"])
    }
    proxies = {f"{kind}_PROXY" for kind in ("HTTP", "HTTPS", "ALL", "NO")}
    assert named == variables_in_code() | proxies | {"LLM_BASE_URL"}


def test_the_known_providers_are_those_of_the_catalog() -> None:
    """In its order, with their names, addresses, variables and usual models."""
    columns = ("also called", "base URL", "key", "address", "usual model")
    shown = [
        (words(r["type"])[0], *(words(r[column]) for column in columns))
        for r in CONFIGURATION["Known providers"]
    ]
    assert shown == [
        (
            row.name,
            list(row.also),
            [row.base_url] * bool(row.base_url),
            list(row.key_variables),
            [row.url_variable] * bool(row.url_variable),
            [row.usual_model] * bool(row.usual_model),
        )
        for row in catalog.rows().values()
    ]


def test_what_a_provider_row_takes_and_its_quirks() -> None:
    """The two tables of the how-to have every field of a row and every quirk, and no other."""
    page = tables(ROOT / "docs/how-to/add-a-provider.md")
    keys = [key for row in page["As a row of the catalog"] for key in words(row["key"])]
    assert sorted(keys) == sorted(set(ProviderRow.__struct_fields__) - {"name"})
    assert [words(row["quirk"])[0] for row in page["Quirks"]] == list(QUIRKS)


def test_the_table_of_errors() -> None:
    """One row for each class, in the order of the tree, as the class says it."""
    expected = []
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, TrunklineError):
            retry, fail_over = (
                "yes" if flag else "no" for flag in (kind.retry_same, kind.fail_over)
            )
            when = str(kind.__doc__).partition("\n")[0]
            name, base = f"`{kind.__name__}`", f"`{kind.__bases__[0].__name__}`"
            cells = (name, base, kind.status, f"`{kind.code}`", retry, fail_over, kind.fault, when)
            expected.append("| " + " | ".join(map(str, cells)) + " |")
    page = (ROOT / "docs/reference/errors.md").read_text()
    assert re.findall(r"(?m)^\| `[A-Z].*$", page) == expected


def test_the_events_and_their_fields(caplog: pytest.LogCaptureFixture) -> None:
    """Each event has its level and, where nothing is left out, exactly the documented fields."""
    page = tables(ROOT / "docs/reference/log-events.md")
    common, outcome, alert, circuit, warning = (
        {words(row["field"])[0] for row in page[heading]}
        for heading in page
        if "field" in page[heading][0]
    )
    expected = {
        "LLM request": common,
        "LLM response": common | outcome - {"error_type"},
        "LLM error": common | outcome - {"upstream_id"},
        "LLM warning": common | warning,
        "LLM budget alert": alert,
        "LLM circuit opened": circuit,
        "LLM circuit closed": circuit,
        "LLM deployment disabled": circuit,
    }
    found = {record.message: record for record in emitted(caplog)}
    assert {name: fields_of(record) for name, record in found.items()} == expected
    levels = {words(r["event"])[0]: r["level"] for r in page["Log events"]}
    assert {name: record.levelname for name, record in found.items()} == levels


def test_the_metrics_and_their_labels() -> None:
    """One row for each that the records give, as the code says it; every label is explained."""
    page = tables(ROOT / "docs/reference/metrics.md")
    named = [
        (words(row["metric"])[0], row["type"], tuple(words(row["labels"])), row["meaning"])
        for row in page["From the records"]
    ]
    assert named == [(f"trunkline_{f.name}", f.kind, f.labels, f.help) for f in FAMILIES]
    values = {words(row["label"])[0]: words(row["values"]) for row in page["Labels"]}
    assert set(values) == {label for family in FAMILIES for label in family.labels}
    assert tuple(values["outcome"]) == get_args(Outcome)
    assert values["kind"] == list(TOKEN_KINDS)
    assert values["decision"] == list(DECISION_KINDS)
    assert {*values["state"], "unknown"} == set(get_args(CostState))


def test_the_gauges() -> None:
    """The page has those that the gateway makes, as the code says it."""
    made = [
        tuple(ast.literal_eval(text) for text in node.args[:2])
        for path in sorted((Path(trunkline.__file__).parent / "gateway").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Gauge"
    ]
    rows = tables(ROOT / "docs/reference/metrics.md")["Of this moment"]
    assert [(words(row["metric"])[0], row["meaning"]) for row in rows] == [
        (f"trunkline_{name}", told) for name, told in made
    ]


def emitted(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Emit each event once, with a value in every field."""

    class Ended:
        upstream_id = "u"

    who = Principal(key_id="k", user_id="u", team_id="t", tenant_id="t")
    call = chat([{"role": "user", "content": "hi"}], "m", provider="p", principal=who, id="c")
    trail = Trail(dropped=("top_k",), warnings=["a instead of b"])
    call = msgspec.structs.replace(call, trail=trail, tags=("a",), metadata={"a": 1})
    full: dict[str, Any] = {
        name: {"int": 1, "float": 1.0}.get(str(kind).partition(" ")[0], "x")
        for name, kind in Called.__annotations__.items()
    }
    full |= {"outcome": "failed", "deployment": "p/m", "tags": (), "route": ("p",)}
    called = Called(**full)
    log = EventLog()
    with caplog.at_level(logging.INFO, "trunkline"):
        log.asked(call)
        log.answered(call, called, errors.BadAnswer("no"), None)
        complete = msgspec.structs.replace(called, outcome="complete")
        log.answered(call, complete, None, Ended())  # type: ignore[arg-type]
        log.budget_alert(
            scope="global",
            period="day",
            timezone="Europe/Berlin",
            rolling=True,
            mode="soft",
            amount_nusd=2,
            mark_nusd=1,
            settled_nusd=1,
        )
        for event in get_args(Event):
            log.circuit(event, deployment="p/m", error_code="x", rest_s=1.0)
        log.drain()
    return caplog.records


def fields_of(record: logging.LogRecord) -> set[str]:
    """Return what an event added to a log record."""
    usual = logging.makeLogRecord({}).__dict__.keys() | {"message", "asctime"}
    return set(record.__dict__) - usual

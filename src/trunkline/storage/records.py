"""Records as rows and back: a column has the name of its field, so the statements write themselves.

The statements commute: whichever of an attempt's records comes first makes its row, each fills only
its own columns, and the same one again changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_type_hints

import msgspec
from msgspec import Struct
from msgspec.structs import astuple

from trunkline.types.answer import Usage
from trunkline.types.call import Attempt, Cost
from trunkline.types.record import PROCESS_DIED, Begun, Called, Ended, Record

Row = Mapping[str, Any]
_S = TypeVar("_S", bound=Struct)

_LISTS = {"tags", "route"}
_FLAGS = {"stream", "tracked"}
_LARGEST = 2**53
"""No honest count of tokens or nano-USD is larger, and a thousand such still add up in 64 bits."""


def _columns(kind: type[Struct]) -> list[str]:
    names: list[str] = []
    for name in kind.__struct_fields__:
        names += _columns(Usage) if name == "usage" else [name]
    return names


def _upsert(table: str, columns: list[str], key: tuple[str, ...], unless: str = "1") -> str:
    fill = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in key)
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) "
        f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {fill} WHERE {unless}"
    )


_ATTEMPT = ("call_id", "n")
_BEGUN = _upsert("attempts", ["journal", *_columns(Begun)], _ATTEMPT)
_ENDED = _upsert(
    "attempts",
    ["journal", *_columns(Ended)],
    _ATTEMPT,
    f"excluded.error_code IS NOT '{PROCESS_DIED}' OR attempts.outcome IS NULL",
)
_WHOLE = _upsert(
    "attempts", ["journal", *_columns(Begun), *_columns(Ended)[len(_ATTEMPT) :]], _ATTEMPT
)
_CALLED = _upsert(
    "calls", _columns(Called), ("call_id",), f"excluded.error_code IS NOT '{PROCESS_DIED}'"
)


def statements(records: Iterable[Record], journal: int) -> list[tuple[str, list[list[Any]]]]:
    """Return what writes `records`: statements, each with the rows it takes.

    An attempt whose two records are both here is written once. An end that recovery made never
    replaces another.
    """
    begun: dict[tuple[str, int], Begun] = {}
    whole, ended, called = [], [], []
    for record in records:
        if isinstance(record, Called):
            called.append(values(record))
            continue
        key = record.call_id, record.n
        if isinstance(record, Begun):
            begun[key] = record
        elif record.error_code != PROCESS_DIED and (first := begun.pop(key, None)) is not None:
            whole.append([journal, *values(first), *values(record)[len(_ATTEMPT) :]])
        else:
            ended.append([journal, *values(record)])
    loose = [[journal, *values(record)] for record in begun.values()]
    return [(_BEGUN, loose), (_WHOLE, whole), (_ENDED, ended), (_CALLED, called)]


class _Plan:
    """Where in a kind of row the values stand that an engine cannot take as they are."""

    def __init__(self, kind: type[Struct]) -> None:
        columns = _columns(kind)
        hints = {**get_type_hints(Usage), **get_type_hints(kind)}
        self.usage = kind.__struct_fields__.index("usage") if "usage" in hints else None
        self.tags = columns.index("tags") if "tags" in columns else None
        self.lists = [place for place, name in enumerate(columns) if name in _LISTS]
        self.flags = [place for place, name in enumerate(columns) if name in _FLAGS]
        self.counts = [
            place
            for place, name in enumerate(columns)
            if hints[name] in {int, int | None} and not name.endswith("_ns")
        ]


_PLANS = {kind: _Plan(kind) for kind in (Begun, Ended, Called)}


def values(record: Record) -> list[Any]:
    """Return the fields of `record` as an engine takes them, in the order of the columns."""
    plan = _PLANS[type(record)]
    row = [*astuple(record)]
    if plan.usage is not None:
        row[plan.usage : plan.usage + 1] = astuple(row[plan.usage])
    if plan.tags is not None and row[plan.tags]:  # one given twice must not be counted twice
        row[plan.tags] = tuple(dict.fromkeys(row[plan.tags]))
    for place in plan.lists:
        row[place] = to_json(row[place]) if row[place] else "[]"
    for place in plan.flags:
        row[place] = int(row[place])
    for place in plan.counts:
        count = row[place]
        if count and not -_LARGEST <= count <= _LARGEST:
            row[place] = _LARGEST if count > 0 else -_LARGEST
    return row


def to_json(items: tuple[str, ...]) -> str:
    """Return a list as it is stored."""
    return msgspec.json.encode(items).decode()


def to_struct(kind: type[_S], row: Row) -> _S:
    """Return the record whose columns `row` has."""
    fields: dict[str, Any] = {}
    for name in kind.__struct_fields__:
        value = row[name]
        if name in _LISTS:
            value = tuple(msgspec.json.decode(value))
        elif name in _FLAGS:
            value = bool(value)
        fields[name] = value
    return kind(**fields)


def to_cost(row: Row) -> Cost | None:
    """Return what an attempt cost; None while it has not ended."""
    return None if row["outcome"] is None else Cost(row["cost_nusd"], row["cost_state"])


def to_attempt(row: Row) -> Attempt:
    """Return the attempt a row is about, whichever of its records have come."""
    begun = Attempt(
        n=row["n"],
        deployment=row["deployment"] or "",
        started_ns=row["started_ns"] or 0,
        hold_nusd=row["hold_nusd"] or 0,
        price_snapshot=row["price_snapshot"] or "",
    )
    cost = to_cost(row)
    if cost is None:
        return begun
    ended = ("outcome", "error_code", "error", "finish", "latency_ms", "first_token_ms")
    return msgspec.structs.replace(
        begun,
        cost=cost,
        usage=to_struct(Usage, row),
        upstream_id=row["upstream_id"],
        **{name: row[name] for name in ended},
    )

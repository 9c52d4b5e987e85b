"""Records as rows and back: a column has the name of its field, so the statements write themselves.

The statements commute: whichever of the records of an attempt or a call comes first makes its row,
each fills only its own columns, and the same one again changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec
from msgspec import Struct
from msgspec.structs import astuple

from trunkline.storage.database import NULL, NULLABLE
from trunkline.types.answer import Usage
from trunkline.types.call import Attempt, Cost
from trunkline.types.record import PROCESS_DIED, Begun, Called, Ended, Record

Row = Mapping[str, Any]
_S = TypeVar("_S", bound=Struct)

_LISTS = {"tags", "route"}
_FLAGS = {"stream", "tracked"}
_LARGEST = 2**43
"""No honest count of tokens or nano-USD (8,796 USD) of one attempt is larger, and a million such
still add up in 64 bits: what an upstream makes up must not stop ingestion."""

PAYER = ("model", "key_id", "user_id", "team_id", "tenant_id", "tags", "run", "tracked")
"""What `Begun` says of its call; it is stored with the call."""


def bounded(count: int) -> int:
    """Return `count`, or the largest that is kept of its sign."""
    if -_LARGEST <= count <= _LARGEST:
        return count
    return _LARGEST if count > 0 else -_LARGEST


class _Columns:
    """Some fields of a kind of record, as an engine takes them."""

    def __init__(
        self, kind: type[Struct], names: Sequence[str], read: Callable[[Any], tuple[Any, ...]]
    ) -> None:
        self._read = read
        hints = {**get_type_hints(Usage), **get_type_hints(kind)}
        optional = {name for name in names if NoneType in get_args(hints[name])}
        counts = {name for name in names if hints[name] in {int, int | None}} - {"started_ns"}
        self._optional, self._counts, self._sets, self._lists, self._flags = (
            [place for place, name in enumerate(names) if name in some]
            for some in (optional, counts, {"tags"}, _LISTS, _FLAGS)
        )
        self.marks = {name: NULLABLE if name in optional else "?" for name in names}
        """What stands for each column in a statement."""

    def values(self, record: Record, *more: Any) -> list[Any]:
        """Return the fields of `record` in the order of the columns, and `more`."""
        row = [*self._read(record), *more]
        for place in self._counts:
            count = row[place]
            if count and not -_LARGEST <= count <= _LARGEST:
                row[place] = bounded(count)
        for place in self._optional:
            if row[place] is None:
                row[place] = NULL
        for place in self._sets:
            if row[place]:  # one given twice must not be counted twice
                row[place] = tuple(dict.fromkeys(row[place]))
        for place in self._lists:
            row[place] = to_json(row[place]) if row[place] else "[]"
        for place in self._flags:
            row[place] = 1 if row[place] else 0
        return row


_KEY = ("call_id", "n")
_PAYS = ("call_id", *PAYER)
_BEGINS = [name for name in Begun.__struct_fields__ if name not in PAYER]
_ENDS = [name for name in Ended.__struct_fields__ if name != "usage"]
_read_end = attrgetter(*_ENDS)
_payer = _Columns(Begun, _PAYS, attrgetter(*_PAYS))
_begun = _Columns(Begun, _BEGINS, attrgetter(*_BEGINS))
_ended = _Columns(
    Ended,
    [*_ENDS, *Usage.__struct_fields__],
    lambda ended: (*_read_end(ended), *astuple(ended.usage)),
)
_called = _Columns(Called, Called.__struct_fields__, astuple)


def _insert(table: str, marks: Mapping[str, str]) -> str:
    return f"INSERT INTO {table} ({', '.join(marks)}) VALUES ({', '.join(marks.values())})"


def _upsert(table: str, key: tuple[str, ...], marks: Mapping[str, str]) -> str:
    fill = ", ".join(f"{name} = excluded.{name}" for name in marks if name not in key)
    return (
        f"{_insert(table, marks)} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {fill} "
        f"WHERE coalesce(excluded.error_code, '') <> '{PROCESS_DIED}' OR {table}.outcome IS NULL"
    )


_JOURNAL = {"journal": "?"}
_OPENED = f"{_insert('calls', _payer.marks | _JOURNAL)} ON CONFLICT DO NOTHING"
_BEGUN = _upsert("attempts", _KEY, _begun.marks)
_WHOLE = _upsert("attempts", _KEY, _begun.marks | _ended.marks)
_ENDED = _upsert("attempts", _KEY, _ended.marks)
_CALLED = _upsert("calls", ("call_id",), _called.marks | _JOURNAL)


class Batch:
    """New records, of each kind the one that counts for an attempt or a call.

    It is the last one; one that recovery made counts where there is no other.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self.begun: dict[tuple[str, int], Begun] = {}
        self.ended: dict[tuple[str, int], Ended] = {}
        self.called: dict[str, Called] = {}
        for record in records:
            if isinstance(record, Begun):
                self.begun[record.call_id, record.n] = record
            elif isinstance(record, Ended):
                place = record.call_id, record.n
                if record.error_code != PROCESS_DIED or place not in self.ended:
                    self.ended[place] = record
            elif record.error_code != PROCESS_DIED or record.call_id not in self.called:
                self.called[record.call_id] = record

    def call_ids(self) -> list[str]:
        """Return the ids of all calls that it is about."""
        attempts = (call_id for call_id, _ in (*self.begun, *self.ended))
        return [*dict.fromkeys((*self.called, *attempts))]


def statements(batch: Batch, journal: int) -> list[tuple[str, list[list[Any]]]]:
    """Return what writes a batch: statements, each with the rows it takes.

    An attempt whose two records are both here is written once, and so is a call. An end that
    recovery made never replaces another.
    """
    payers: dict[str, Begun] = {}
    begun: list[Begun] = []
    whole: list[list[Any]] = []
    rest = dict(batch.ended)
    for place, record in batch.begun.items():
        if record.call_id not in batch.called:
            payers.setdefault(record.call_id, record)
        end = batch.ended.get(place)
        if end is None or end.error_code == PROCESS_DIED:
            begun.append(record)
        else:
            whole.append(_begun.values(record) + _ended.values(end)[len(_KEY) :])
            del rest[place]
    return [
        (_OPENED, [_payer.values(record, journal) for record in payers.values()]),
        (_BEGUN, [_begun.values(record) for record in begun]),
        (_WHOLE, whole),
        (_ENDED, [_ended.values(record) for record in rest.values()]),
        (_CALLED, [_called.values(record, journal) for record in batch.called.values()]),
    ]


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

"""Records as rows and back: a column has the name of its field, so the statements write themselves.

The statements commute: whichever of the records of an attempt or a call comes first makes its row,
each fills only its own columns, and the same one again changes nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
LARGEST = 2**43
"""No honest count of tokens or nano-USD (8,796 USD) of one attempt is larger, and a million such
still add up in 64 bits: what an upstream makes up must not stop ingestion."""

PAYER = ("model", "key_id", "user_id", "team_id", "tenant_id", "tags", "run", "tracked")
"""What `Begun` says of its call; it is stored with the call."""


def bounded(count: int) -> int:
    """Return `count`, or the largest that is kept of its sign."""
    if -LARGEST <= count <= LARGEST:
        return count
    return LARGEST if count > 0 else -LARGEST


_Column = Sequence[Any]


class _Columns:
    """Some fields of a kind of record, as an engine takes them.

    Column by column: most of what may have to be changed is seen in a whole column at once.
    """

    def __init__(self, kind: type[Struct], names: Sequence[str]) -> None:
        hints = get_type_hints(kind)
        optional = {name for name in names if NoneType in get_args(hints[name])}
        self._all = len(kind.__struct_fields__)
        self._taken = [
            (kind.__struct_fields__.index(name), _taken(name, hints[name])) for name in names
        ]
        self.marks = {name: NULLABLE if name in optional else "?" for name in names}
        """What stands for each column in a statement."""

    def of(self, records: Iterable[Struct]) -> list[_Column]:
        """Return the columns of `records`, each with a value for each of them."""
        columns = list(zip(*map(astuple, records), strict=True)) or [()] * self._all
        return [take(columns[place]) for place, take in self._taken]


def _taken(name: str, hint: Any) -> Callable[[_Column], _Column]:
    """Return what makes of a column one that engines take."""
    if name in _LISTS:
        return _sets if name == "tags" else _lists
    if name in _FLAGS:
        return _flags
    if hint == int | None:
        return _known_counts
    if hint is int and name != "started_ns":
        return _counts
    return _known if NoneType in get_args(hint) else _as_it_is


def _as_it_is(column: _Column) -> _Column:
    return column


def _known(column: _Column) -> _Column:
    return [NULL if value is None else value for value in column] if None in column else column


def _counts(column: _Column) -> _Column:
    if not column or -LARGEST <= min(column) <= max(column) <= LARGEST:
        return column
    return [bounded(count) for count in column]


def _known_counts(column: _Column) -> _Column:
    if None not in column:
        return _counts(column)
    return [NULL if count is None else bounded(count) for count in column]


def _sets(column: _Column) -> _Column:
    # One given twice must not be counted twice.
    return [to_json(tuple(dict.fromkeys(items))) if items else "[]" for items in column]


def _lists(column: _Column) -> _Column:
    return [to_json(items) if items else "[]" for items in column]


def _flags(column: _Column) -> _Column:
    return [1 if flag else 0 for flag in column]


_KEY = ("call_id", "n")
_payer = _Columns(Begun, ("call_id", *PAYER))
_begun = _Columns(Begun, [name for name in Begun.__struct_fields__ if name not in PAYER])
_ended = _Columns(Ended, [name for name in Ended.__struct_fields__ if name != "usage"])
_used = _Columns(Usage, Usage.__struct_fields__)
_called = _Columns(Called, Called.__struct_fields__)
_END = _ended.marks | _used.marks


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
_WHOLE = _upsert("attempts", _KEY, _begun.marks | _END)
_ENDED = _upsert("attempts", _KEY, _END)
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


def statements(batch: Batch, journal: int) -> list[tuple[str, list[tuple[Any, ...]]]]:
    """Return what writes a batch: statements, each with the rows it takes.

    An attempt whose two records are both here is written once, and so is a call. An end that
    recovery made never replaces another.
    """
    payers: dict[str, Begun] = {}
    begun: list[Begun] = []
    whole: list[Begun] = []
    ends: list[Ended] = []
    """Of `whole`."""
    rest = dict(batch.ended)
    for place, record in batch.begun.items():
        if record.call_id not in batch.called:
            payers.setdefault(record.call_id, record)
        end = rest.get(place)
        if end is None or end.error_code == PROCESS_DIED:
            begun.append(record)
        else:
            whole.append(record)
            ends.append(rest.pop(place))
    called = batch.called.values()
    return [
        (_OPENED, _rows(_payer.of(payers.values()), [[journal] * len(payers)])),
        (_BEGUN, _rows(_begun.of(begun))),
        (_WHOLE, _rows(_begun.of(whole), _end(ends)[len(_KEY) :])),
        (_ENDED, _rows(_end(rest.values()))),
        (_CALLED, _rows(_called.of(called), [[journal] * len(called)])),
    ]


def _end(ends: Collection[Ended]) -> list[_Column]:
    return _ended.of(ends) + _used.of(end.usage for end in ends)


def _rows(*columns: list[_Column]) -> list[tuple[Any, ...]]:
    return list(zip(*itertools.chain(*columns), strict=True))


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

"""Records as rows and back: a column has the name of its field, so the statements write themselves.

The statements commute: whichever of the records of an attempt or a call comes first makes its row,
each fills only its own columns, and the same one again changes nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec
from msgspec import Struct
from msgspec.structs import astuple

from trunkline.storage.database import NULL, NULLABLE
from trunkline.storage.lengths import fitting, fitting_end
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


_Column = Sequence[Any] | str
"""A value for each row; as a text, what a statement says for all of them: that is not bound."""


class _Gaps(list[Any]):
    """A column with a value for some rows, and `NULL` for the others."""


class _Columns:
    """Some fields of a kind of record, as an engine takes them.

    Column by column: most of what may have to be changed is seen in a whole column at once.
    """

    def __init__(self, kind: type[Struct], names: Sequence[str]) -> None:
        hints = get_type_hints(kind)
        places = {name: place for place, name in enumerate(kind.__struct_fields__)}
        self._taken = [(name, places[name], _taken(name, hints[name])) for name in names]

    def of(self, records: Iterable[Struct]) -> dict[str, _Column]:
        """Return the columns of `records`; none where there is no record."""
        columns = list(zip(*map(astuple, records), strict=True))
        return {name: take(columns[place]) for name, place, take in self._taken if columns}


def _taken(name: str, hint: Any) -> Callable[[Sequence[Any]], _Column]:
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


def _as_it_is(column: Sequence[Any]) -> _Column:
    return column


def _known(column: Sequence[Any]) -> _Column:
    if None not in column:
        return column
    if column.count(None) == len(column):
        return "NULL"
    return _Gaps(NULL if value is None else value for value in column)


def _counts(column: Sequence[int]) -> _Column:
    if not any(column):
        return "0"
    if -LARGEST <= min(column) <= max(column) <= LARGEST:
        return column
    return [bounded(count) for count in column]


def _known_counts(column: Sequence[Any]) -> _Column:
    if None not in column:
        return _counts(column)
    return _known([None if count is None else bounded(count) for count in column])


def _sets(column: Sequence[tuple[str, ...]]) -> _Column:
    # One given twice must not be counted twice.
    return _lists([tuple(dict.fromkeys(items)) for items in column] if any(column) else column)


def _lists(column: Sequence[tuple[str, ...]]) -> _Column:
    if not any(column):
        return "'[]'"
    texts = {items: to_json(items) for items in set(column)}
    return [texts[items] for items in column]


def _flags(column: Sequence[bool]) -> _Column:
    if all(column):
        return "1"
    return [1 if flag else 0 for flag in column] if any(column) else "0"


_KEY = ("call_id", "n")
_payer = _Columns(Begun, ("call_id", *PAYER))
_begun = _Columns(Begun, [name for name in Begun.__struct_fields__ if name not in PAYER])
_ended = _Columns(Ended, [name for name in Ended.__struct_fields__ if name != "usage"])
_used = _Columns(Usage, Usage.__struct_fields__)
_called = _Columns(Called, Called.__struct_fields__)
Statement = tuple[str, list[tuple[Any, ...]]]
"""With the rows that it takes."""


def _filling(
    table: str, key: tuple[str, ...], columns: Mapping[str, _Column], journal: int | None = None
) -> Iterator[Statement]:
    """Yield what fills these columns of `table`, if there are any."""
    if not columns:
        return
    marks = {name: _mark(column) for name, column in columns.items()}
    bound = [column for column in columns.values() if not isinstance(column, str)]
    if journal is not None:
        marks["journal"] = "?"
        bound.append([journal] * len(bound[0]))
    yield _sql(table, key, tuple(marks.items())), list(zip(*bound, strict=True))


def _mark(column: _Column) -> str:
    """Return what stands for a column in a statement."""
    if isinstance(column, str):
        return column
    return NULLABLE if isinstance(column, _Gaps) else "?"


@functools.lru_cache(maxsize=256)
def _sql(table: str, key: tuple[str, ...], marks: tuple[tuple[str, str], ...]) -> str:
    names, values = zip(*marks, strict=True)
    insert = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(values)}) ON CONFLICT"
    if not key:
        return f"{insert} DO NOTHING"
    fill = ", ".join(f"{name} = excluded.{name}" for name in names if name not in key)
    return (
        f"{insert} ({', '.join(key)}) DO UPDATE SET {fill} "
        f"WHERE coalesce(excluded.error_code, '') <> '{PROCESS_DIED}' OR {table}.outcome IS NULL"
    )


class Batch:
    """New records, of each kind the one that counts for an attempt or a call, its names bounded.

    It is the last one; one that recovery made counts where there is no other.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self.begun: dict[tuple[str, int], Begun] = {}
        self.ended: dict[tuple[str, int], Ended] = {}
        self.called: dict[str, Called] = {}
        for record in records:
            if isinstance(record, Begun):
                begun = fitting(record)
                self.begun[begun.call_id, begun.n] = begun
            elif isinstance(record, Ended):
                ended = fitting_end(record)
                place = ended.call_id, ended.n
                if ended.error_code != PROCESS_DIED or place not in self.ended:
                    self.ended[place] = ended
            else:
                called = fitting(record)
                if called.error_code != PROCESS_DIED or called.call_id not in self.called:
                    self.called[called.call_id] = called

    def call_ids(self) -> list[str]:
        """Return the ids of all calls that it is about."""
        attempts = (call_id for call_id, _ in (*self.begun, *self.ended))
        return [*dict.fromkeys((*self.called, *attempts))]


def statements(batch: Batch, journal: int) -> list[Statement]:
    """Return what writes a batch.

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
        *_filling("calls", (), _payer.of(payers.values()), journal),
        *_filling("attempts", _KEY, _begun.of(begun)),
        *_filling("attempts", _KEY, _begun.of(whole) | _end(ends)),
        *_filling("attempts", _KEY, _end(rest.values())),
        *_filling("calls", ("call_id",), _called.of(called), journal),
    ]


def _end(ends: Collection[Ended]) -> dict[str, _Column]:
    return _ended.of(ends) | _used.of([end.usage for end in ends])


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

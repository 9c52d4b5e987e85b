"""The error tree is what its drawing says, and its decision table is consistent."""

import http
import pickle
import re

import pytest

from trunkline import errors
from trunkline.errors import (
    AllProvidersUnavailable,
    BudgetHeld,
    CapabilityMissing,
    InputError,
    LocalRefusal,
    ProviderError,
    Refused,
    TrunklineError,
    UpstreamRateLimited,
    code_of,
)


def drawn() -> list[tuple[str, str]]:
    """Read the drawing in the module's docstring: (class, its base), in order."""
    pairs: list[tuple[str, str]] = []
    above = ["Exception"]  # the class drawn last at each depth
    drawing = str(errors.__doc__).split("\n\n", 1)[1]
    for line in drawing.splitlines():
        found = re.match(r"((?:│   |    |├── |└── )*)(\w+)(?:\s+\w|$)", line)
        assert found, line
        depth = len(found[1]) // 4
        del above[depth + 1 :]
        pairs.append((found[2], above[depth]))
        above.append(found[2])
    return pairs


CLASSES = [
    thing
    for thing in vars(errors).values()
    if isinstance(thing, type) and issubclass(thing, TrunklineError)
]
EACH = pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)


def test_the_drawing_is_the_tree() -> None:
    """Every class is drawn once, under its base, in the order of the file."""
    assert drawn() == [(kind.__name__, kind.__bases__[0].__name__) for kind in CLASSES]


def test_codes_are_unique() -> None:
    """A code names one class, so that a program can tell all failures apart."""
    codes = [kind.code for kind in CLASSES]
    assert len(set(codes)) == len(codes)


@EACH
def test_rows_of_the_table(kind: type[TrunklineError]) -> None:
    """Each class has a code of its own and a status that means what its fault says."""
    assert re.fullmatch(r"[a-z][a-z_]*[a-z]", kind.code)
    assert "code" in vars(kind)
    assert kind.status in {*map(int, http.HTTPStatus), 499}
    assert 400 <= kind.status <= 599
    assert kind.fault in {"caller", "deployment", "us", "nobody"}
    assert kind.fault != "caller" or kind.status < 500
    assert kind.fault != "us" or kind.status >= 500


@EACH
def test_only_a_provider_is_tried_again(kind: type[TrunklineError]) -> None:
    """What we refused ourselves, or never began, is not retried at the same deployment."""
    assert not kind.retry_same or issubclass(kind, ProviderError)
    assert not kind.retry_same or kind.fail_over
    assert not kind.fail_over or issubclass(kind, ProviderError | LocalRefusal | CapabilityMissing)


@EACH
def test_our_own_refusals_count_against_nobody(kind: type[TrunklineError]) -> None:
    """Waiting, limits and budgets say nothing about a deployment's health."""
    if issubclass(kind, LocalRefusal):
        assert kind.fault != "deployment"
        assert kind.fail_over


@EACH
def test_survives_pickling(kind: type[TrunklineError]) -> None:
    """An error crosses to another process whole."""
    error = kind("words")
    error.param, error.retry_after_s, error.call_id = "messages", 2.5, "c1"
    twin = pickle.loads(pickle.dumps(error))
    assert (type(twin), str(twin), vars(twin)) == (kind, "words", vars(error))


def test_subclasses_inherit_what_they_leave_out() -> None:
    """A row of the table repeats only what differs."""

    class Odd(Refused, code="odd"):
        """An odd refusal."""

    assert (Odd.status, Odd.code, Odd.fault, Odd.fail_over) == (400, "odd", "caller", False)
    assert Refused.code == "upstream_refused"


def test_all_providers_unavailable_waits_for_the_first_that_comes_back() -> None:
    """`retry_after_s` is the shortest of the causes', None when none of them knows."""
    slow, quick = UpstreamRateLimited("x", retry_after_s=9), BudgetHeld("y", retry_after_s=2)
    causes = (("a/m", slow), ("b/m", ProviderError("z")), ("c/m", quick))
    assert AllProvidersUnavailable("none left", causes).retry_after_s == 2
    assert AllProvidersUnavailable("none left", causes[1:2]).retry_after_s is None
    assert AllProvidersUnavailable("none left").causes == ()


def test_code_of() -> None:
    """Ours have a stable code, others their class name."""
    assert code_of(InputError("x")) == "invalid_request"
    assert code_of(ValueError()) == "ValueError"

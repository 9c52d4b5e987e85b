"""Queries and bodies of administration, taken apart."""

import pytest

from trunkline.errors import InputError
from trunkline.gateway.admin.asked import fields, iso, limit, moment_ns, page, parameters


def test_parameters() -> None:
    """Unquoted; where it is said which there are, no others."""
    assert parameters("a=%2Bx+y&b=2") == {"a": "+x y", "b": "2"}
    with pytest.raises(InputError, match="c: no such query parameter here; it takes a, b"):
        parameters("a=1&c=2", ("a", "b"))
    with pytest.raises(InputError, match="it takes none"):
        parameters("c=2", ())
    for twice in ("a=1&a=1", "a="):
        with pytest.raises(InputError) as caught:
            parameters(twice)
        assert caught.value.param == "a"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"[]", "must be a JSON object"),
        (b'"x"', "must be a JSON object"),
        (b"{", "not valid JSON"),
        (b'{"a": NaN}', "not valid JSON"),
        (b'{"a": "\xff"}', "not valid JSON"),
        (b'{"a": ' + b"[" * 100_000, "not valid JSON"),
        (b'{"b": 1}', "b: no such field; write one of a"),
    ],
)
def test_bodies_that_are_no_good(body: bytes, why: str) -> None:
    """It is said why."""
    with pytest.raises(InputError, match=why):
        fields(body, ("a",))


def test_bodies() -> None:
    """Null is something; nothing at all is an object without fields."""
    assert fields(b'{"a": null}') == {"a": None}
    assert fields(b"") == {}


def test_times() -> None:
    """In and out; without a zone it is UTC."""
    noon_ns = 1_795_608_000 * 10**9
    for text in ("1795608000", "2026-11-25T12:00:00Z", "2026-11-25T14:00+02:00", "2026-11-25T12"):
        assert moment_ns({"since": text}, "since") == noon_ns
    assert moment_ns({}, "since") is None
    assert iso(noon_ns + 7_999_999) == "2026-11-25T12:00:00.007Z"


def test_pages() -> None:
    """A page has more after it exactly where it has a cursor."""
    assert limit({}) == 100
    assert limit({"limit": "1000"}) == 1000
    assert page([1], "x")["has_more"] is True
    assert page([], None) == {"object": "list", "data": [], "has_more": False, "next_cursor": None}

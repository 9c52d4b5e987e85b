"""Credentials come out of no sink, ordinary words stay, and the redactor never raises."""

import json
import string
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trunkline.observability import redact
from trunkline.observability.redact import MASK, know, scrub, scrub_mapping
from trunkline.types import Secret

BODY = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7"


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test begin without configured secrets."""
    monkeypatch.setattr(redact, "_known", ())


# --- configured secrets -------------------------------------------------------------------------


def texts(thing: object) -> Iterator[str]:
    """Walk through every text of a structure, names included."""
    if isinstance(thing, str):
        yield thing
    for inner in thing if isinstance(thing, list) else []:
        yield from texts(inner)
    for name, inner in thing.items() if isinstance(thing, dict) else []:
        yield name
        yield from texts(inner)


# "*" and "." are what the redactor itself writes.
secrets = st.text(
    st.characters(codec="utf-8", exclude_characters="*."), min_size=6, max_size=40
).filter(lambda secret: not (secret.isalpha() and len(secret) < 16))


@pytest.mark.acceptance("D08")
@given(st.lists(secrets, min_size=1, max_size=3), st.text(max_size=30), st.data())
def test_a_configured_secret_never_gets_through(
    known: list[str], prose: str, data: st.DataObject
) -> None:
    """Whatever it looks like and wherever it stands: in text, in bytes, in fields, as a name."""
    know(known)
    said = prose.join(data.draw(st.lists(st.sampled_from([*known, prose]), max_size=5)))
    deep = {"a": [{said: said}, (said, {said})], "b": {"c": said.encode()}, "n": ValueError(said)}
    for clean in (scrub(said), scrub(said.encode()), scrub(said, 20), *texts(scrub_mapping(deep))):
        for secret in known:
            assert secret not in clean


@pytest.mark.acceptance("D08")
@given(secrets)
def test_a_configured_secret_is_known_however_it_is_spelled(secret: str) -> None:
    """JSON, `repr` and URLs write some characters differently; the secret is still one."""
    know([secret])
    for spelled in (json.dumps(secret)[1:-1], repr(secret)[1:-1], quote(secret, safe="")):
        assert spelled not in scrub(f"<{spelled}>")


def test_a_secret_that_begins_like_another_leaves_no_rest() -> None:
    """The longest is masked first, in whichever order they became known."""
    for order in (["s3cret", "s3cret-and-more"], ["s3cret-and-more", "s3cret"]):
        know(order)
        assert scrub("it is s3cret-and-more") == f"it is {MASK}"


def test_what_a_source_gave_before_is_forgotten() -> None:
    """Only its newest secrets are looked for; those of others stay known."""
    know(["configured-s3cret"])
    know(["token-0f-the-first-hour"], "google:")
    know(["token-0f-the-next-hour"], "google:")
    said = "configured-s3cret token-0f-the-first-hour token-0f-the-next-hour"
    assert scrub(said) == f"{MASK} token-0f-the-first-hour {MASK}"


def test_a_word_that_stands_for_a_key_is_still_a_word() -> None:
    """Local servers take any key; "ollama" as one must not mask the provider's name."""
    know(["ollama"])
    assert scrub("ollama/llama3 is down") == "ollama/llama3 is down"


def test_a_secret_is_not_cut_before_it_is_found() -> None:
    """What lies on the edge of the limit is masked whole."""
    know(["0123456789"])
    for before in range(120):
        assert "0123" not in scrub("x" * before + "0123456789" + "y" * 200, 100)
        assert "hunter" not in scrub("x" * before + " https://me:hunter2x@host " + "y" * 200, 100)


def test_short_secrets_do_not_mask_ordinary_words() -> None:
    """A password of five letters is worth less than readable messages."""
    know(["token", ""])
    assert scrub("the token count is 5") == "the token count is 5"


# --- shapes -------------------------------------------------------------------------------------


@pytest.mark.acceptance("D08")
@pytest.mark.parametrize(
    "key",
    [
        f"sk-{BODY}",
        f"sk-ant-api03-{BODY}_{BODY}",
        f"sk-or-v1-{BODY}",
        f"sk-proj-{BODY}",
        f"xai-{BODY}",
        f"gsk_{BODY}",
        f"hf_{BODY}",
        f"pplx-{BODY}",
        f"nvapi-{BODY}",
        f"r8_{BODY}",
        f"AIza{BODY}",
        f"ya29.{BODY}",
        "AKIAIOSFODNN7EXAMPLE",
        f"ghp_{BODY}",
        f"github_pat_{BODY}",
        f"tl-{BODY}",
        f"eyJhbGciOiJI.eyJzdWIiOiIx.{BODY}",
        f"-----BEGIN PRIVATE KEY-----\n{BODY}\n-----END PRIVATE KEY-----",
    ],
)
@pytest.mark.parametrize(
    "text",
    ["{}", "Incorrect API key provided: {}.", '{{"k": "{}"}}', "?key={}&x=1", "密钥{}无效", "({})"],
)
def test_keys_are_known_by_their_shape(key: str, text: str) -> None:
    """A key nobody configured, a caller's for example, is masked in any text."""
    clean = scrub(text.format(key))
    assert BODY not in clean
    assert "IOSFODNN7EXAMPLE" not in clean
    assert MASK in clean


@pytest.mark.acceptance("D08")
@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer hunter2x",
        "authorization: token hunter2x",
        "Authorization: Basic hunter2x",
        "{'Authorization': 'Bearer hunter2x'}",
        "sent Bearer hunter2x to them",
        "x-api-key: hunter2x",
        '{"api_key": "hunter2x"}',
        r'{"body": "{\"api_key\": \"hunter2x\"}"}',
        "OPENAI_API_KEY=hunter2x",
        "api-key=hunter2x&model=m",
        "password: hunter2x",
        "password=hunter2x;",
        "client_secret=hunter2x",
        "AWS_SECRET_ACCESS_KEY=hunter2x",
        "access_token=hunter2x",
        "Cookie: theme=dark; session=hunter2x",
        "set-cookie: session=hunter2x; Path=/",
        "postgres://user:hunter2x@host/db",
        "redis://:hunter2x@host:6379/0",
        "https://user:p@ss:hunter2x@host/path",
    ],
)
def test_values_are_known_by_their_name(text: str) -> None:
    """What stands behind a name like `password` is masked without having a shape."""
    clean = scrub(text)
    assert "hunter2x" not in clean
    assert MASK in clean


def test_the_value_of_a_numeric_password_is_masked() -> None:
    """Only a token may be a count."""
    assert scrub("password: 12345678") == f"password: {MASK}"


@pytest.mark.parametrize(
    "text",
    [
        "the token count is 5",
        "token: 12 tokens used",
        "token: 4096",
        "max_token=4096, temperature=0.5",
        "{'token': 123456, 'x': 1}",
        "max_tokens: 4096",
        '{"prompt_tokens": 1200, "completion_tokens": 34567}',
        "tokens per min (TPM): Limit 30000, Used 29000, Requested 4096.",
        "sk-",
        "sk-learn and task-specific-adapters",
        "basic authentication is required",
        "Bearer authentication failed",
        "the basic configuration",
        "api_key: null",
        "password=None",
        "hf-internal-testing/tiny-random-gpt2 is not served",
        "openai/gpt-4o-mini-2024-07-18 and claude-sonnet-4-5-20250929",
        "see https://example.com/docs?mail=me@example.com",
        "write to support@example.com at 10:30",
        "secretary: John Smith; passwords are never stored",
        "call_01HV7Z6J2K4M8N3P5Q7R9S1T2V failed after 1.25 s",
        "Unexpected token < in JSON at position 0",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    """Counts, model names, ids, addresses and prose are no credentials."""
    assert scrub(text) == text


@given(st.text(alphabet=string.ascii_letters + " ,!?", max_size=300))
def test_prose_is_left_alone(text: str) -> None:
    """Words without digits and signs are returned as they are."""
    assume("bearer" not in text.lower())
    assume("basic" not in text.lower())
    assert scrub(text) == text


# --- fields -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "Proxy-Authorization",
        "api_key",
        "X-API-Key",
        "x-goog-api-key",
        "openai_api_key",
        "apiKey",
        "password",
        "passwd",
        "client_secret",
        "TRUNKLINE_SECRET",
        "secret_key",
        "aws_secret_access_key",
        "private_key",
        "access_token",
        "refreshToken",
        "token",
        "set-cookie",
        "credentials",
    ],
)
@pytest.mark.parametrize("value", ["short", b"x", 12345678, ["a", "b"], {"deep": "x"}])
def test_fields_are_masked_by_their_name(name: str, value: object) -> None:
    """Whatever stands under such a name is masked, at any depth; nothing set stays visible."""
    assert scrub_mapping({name: value, "a": [{name: value}]}) == {name: MASK, "a": [{name: MASK}]}
    assert scrub_mapping({name: None}) == {name: None}
    assert scrub_mapping({name: True}) == {name: True}


def test_other_fields_keep_their_values_and_types() -> None:
    """Numbers stay numbers, names that only sound alike stay readable."""
    fields = {
        "prompt_tokens": 12,
        "max_tokens": 4096,
        "latency_ms": 1.5,
        "cached": False,
        "nothing": None,
        "stop_token": "<|end|>",
        "key_id": "k1",
        "tags": ["a", "b"],
        "deep": {"deeper": {"finish": "stop"}},
    }
    assert scrub_mapping(fields) == fields
    assert scrub_mapping({"t": (1, "a")}) == {"t": [1, "a"]}
    assert scrub_mapping({"s": Secret("hunter2x")}) == {"s": "Secret('***')"}


def test_scrubbing_does_not_write_to_what_it_is_given() -> None:
    """The caller's own dict keeps its credentials: it is about to be sent."""
    fields = {"api_key": "x", "a": [{"token": "y"}]}
    scrub_mapping(fields)
    assert fields == {"api_key": "x", "a": [{"token": "y"}]}


# --- never raises -------------------------------------------------------------------------------


class Hostile:
    """Raises whatever is asked of it."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__

    def __iter__(self) -> Iterator[Any]:
        raise RuntimeError("no")

    def items(self) -> Any:
        raise RuntimeError("no")


class HostileDict(dict[Any, Any]):
    """A mapping that cannot be read."""

    def items(self) -> Any:
        """Refuse."""
        raise RuntimeError("no")


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.binary(max_size=40)
    | st.text(st.characters(), max_size=40)  # lone surrogates too
    | st.builds(Hostile)
    | st.builds(lambda text: ValueError(text, b"\xff"), st.text(max_size=10)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(st.characters(), max_size=12) | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.acceptance("D08")
@given(anything, st.integers(10, 60))
def test_scrub_takes_anything(thing: object, limit_chars: int) -> None:
    """Any object becomes text within the limit; what cannot be shown is masked."""
    clean = scrub(thing, limit_chars)
    assert isinstance(clean, str)
    assert len(clean) <= limit_chars


@pytest.mark.acceptance("D08")
@given(st.dictionaries(st.text(st.characters(), max_size=12) | st.binary(max_size=4), anything))
def test_scrub_mapping_takes_anything(fields: dict[Any, Any]) -> None:
    """Any mapping becomes one of plain values."""
    clean = scrub_mapping(fields)
    assert all(isinstance(name, str) for name in clean)
    assert bool(clean) == bool(fields)


@pytest.mark.acceptance("D08")
def test_hostile_and_endless_things_are_survived() -> None:
    """What raises when looked at, or contains itself, is masked or cut off."""
    assert scrub(Hostile()) == MASK
    assert scrub_mapping({"a": Hostile(), "b": 1}) == {"a": MASK, "b": 1}
    assert scrub_mapping(HostileDict(a=1)) == {}
    endless: dict[str, Any] = {"password": "hunter2x"}
    endless["again"] = endless
    assert scrub_mapping(endless)["password"] == MASK
    assert "hunter2x" not in str(scrub_mapping(endless))


@pytest.mark.parametrize(
    "part", ["eyJ-", "sk-", "://a:", "token: ", "basic ", "-----BEGIN ", 'secret=\\"', "a"]
)
def test_time_is_linear_in_hostile_text(part: str) -> None:
    """A megabyte made to confuse the patterns takes no longer than any other."""
    began_s = time.process_time()
    scrub(part * (1_000_000 // len(part)), 100_000)
    assert time.process_time() - began_s < 1.0

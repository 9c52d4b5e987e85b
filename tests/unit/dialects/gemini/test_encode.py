"""Where a request goes and what proves who asks."""

import pytest
from msgspec.structs import replace

from tests.unit.dialects.gemini.wire import HI, ROW, outgoing
from trunkline.errors import InputError
from trunkline.types import Prompt, Secret

PROMPT = Prompt(messages=(HI,))
VERTEX = replace(
    ROW,
    provider="vertex",
    base_url="https://aiplatform.test/v1/projects/p/locations/global",
    quirks=frozenset({"vertex"}),
)


def test_a_whole_answer_and_a_stream_are_two_methods() -> None:
    """A stream is asked for as events: without `alt=sse` it would be one list."""
    assert outgoing(PROMPT).url == "https://api.test/v1beta/models/gemini-3.5-flash:generateContent"
    stream = outgoing(PROMPT, stream=True)
    assert stream.url.endswith("/models/gemini-3.5-flash:streamGenerateContent?alt=sse")
    assert stream.headers["accept"] == "text/event-stream"


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("tunedModels/mine", "tunedModels/mine"),
        ("models/gemini-3.5-flash", "models/gemini-3.5-flash"),
        ("a/b", "models/a%2Fb"),
        ("a?b#c%d e", "models/a%3Fb%23c%25d%20e"),
    ],
)
def test_a_name_stays_in_its_place_of_the_path(model: str, path: str) -> None:
    """Whoever may name a model must not reach anything else with our key."""
    url = outgoing(PROMPT, replace(ROW, model=model)).url
    assert url == f"https://api.test/v1beta/{path}:generateContent"


@pytest.mark.parametrize("model", ["models/../files", "models//x", "../x", "."])
def test_a_name_that_leads_elsewhere_is_refused(model: str) -> None:
    """Also under a folder that names may begin with."""
    with pytest.raises(InputError, match="cannot be the name of a model"):
        outgoing(PROMPT, replace(ROW, model=model))


def test_vertex_has_its_models_elsewhere() -> None:
    """Those of the publisher, and endpoints of one's own."""
    base = VERTEX.base_url
    assert outgoing(PROMPT, VERTEX).url == (
        f"{base}/publishers/google/models/gemini-3.5-flash:generateContent"
    )
    own = replace(VERTEX, model="endpoints/123")
    assert outgoing(PROMPT, own).url == f"{base}/endpoints/123:generateContent"


def test_a_key_goes_into_its_header_and_a_token_is_a_bearer() -> None:
    """Never into the query, which stands in logs; configured headers win."""
    assert outgoing(PROMPT).headers["x-goog-api-key"] == "AIza-test-key"
    assert "authorization" not in outgoing(PROMPT).headers
    express = outgoing(PROMPT, replace(VERTEX, api_key=Secret("AQ.express")))
    assert express.headers["x-goog-api-key"] == "AQ.express"
    token = outgoing(PROMPT, replace(VERTEX, api_key=Secret("ya29.token")))
    assert token.headers["authorization"] == "Bearer ya29.token"
    assert "x-goog-api-key" not in token.headers
    headers = (("X-Goog-User-Project", "p"),)
    assert outgoing(PROMPT, replace(ROW, headers=headers)).headers["x-goog-user-project"] == "p"
    bare = outgoing(PROMPT, replace(ROW, api_key=None)).headers
    assert not {"authorization", "x-goog-api-key"} & bare.keys()


def test_a_query_of_the_address_is_kept() -> None:
    """Some proxies want one."""
    row = replace(ROW, base_url="https://proxy.test/g?tenant=a")
    assert outgoing(PROMPT, row, stream=True).url == (
        "https://proxy.test/g/models/gemini-3.5-flash:streamGenerateContent?alt=sse&tenant=a"
    )

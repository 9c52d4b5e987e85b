"""`/v1/models` as both official SDKs list, page through and look up its names."""

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest

from tests.acceptance.conftest import MakeLine
from tests.gateways import ADMIN_KEY, running

NAMES = ["fast", "demo", "vendor/model:1", "a b", "last"]


@pytest.fixture
async def url(make_line: MakeLine) -> AsyncIterator[str]:
    """A running gateway with five names."""
    group = {"deployments": [{"model": "demo/demo"}]}
    line = make_line(
        default_provider="demo",
        providers={"demo": {"models": NAMES[1:]}},
        groups={"fast": group},
    )
    async with running(line) as address:
        yield address


@pytest.fixture
async def client(url: str) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """Anthropic's client."""
    async with anthropic.AsyncAnthropic(base_url=url, api_key=ADMIN_KEY, max_retries=0) as made:
        yield made


async def test_openais_sdk(url: str) -> None:
    """All at once, and each by a name that may hold anything."""
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=ADMIN_KEY) as client:
        assert [model.id async for model in client.models.list()] == NAMES
        for name in NAMES:
            assert (await client.models.retrieve(name)).id == name
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("nobody")


async def test_anthropics_sdk(client: anthropic.AsyncAnthropic) -> None:
    """All at once where no limit is named, page by page where one is, from either end."""
    assert [model.id async for model in client.models.list()] == NAMES
    for name in NAMES:
        assert (await client.models.retrieve(name)).id == name
    assert [model.id async for model in client.models.list(limit=2)] == NAMES
    first = await client.models.list(limit=2)
    assert (first.first_id, first.last_id, first.has_more) == (NAMES[0], NAMES[1], True)
    rest = await client.models.list(limit=3, after_id=NAMES[1])
    assert ([model.id for model in rest.data], rest.has_more) == (NAMES[2:], False)
    back = await client.models.list(limit=2, before_id=NAMES[3])
    assert ([model.id for model in back.data], back.has_more) == (NAMES[1:3], True)
    last = await client.models.list(before_id=NAMES[0])
    assert (last.data, last.first_id, last.has_more) == ([], None, False)


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"after_id": "nobody"}, "after_id"),
        ({"after_id": "demo", "before_id": "demo"}, "before_id"),
    ],
)
async def test_pages_there_are_not(
    client: anthropic.AsyncAnthropic, query: dict[str, Any], word: str
) -> None:
    """The error names the word of the query that is wrong."""
    with pytest.raises(anthropic.BadRequestError) as caught:
        await client.models.list(extra_query=query)
    assert str(caught.value.api_message).startswith(f"{word}: ")

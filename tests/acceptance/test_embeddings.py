"""Embeddings through the gateway, as OpenAI's unmodified SDK asks for them, and the library."""

import base64
import json
import struct
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from tests.acceptance.conftest import MakeLine, openai_at
from tests.gateways import ADMIN_KEY, running
from trunkline import LLMService, Trunkline, embed
from trunkline.dialects.openai_chat.embeddings.write import unpacked
from trunkline.errors import CapabilityMissing, InputError, TrunklineError
from trunkline.testing import FakeUpstream, Json, Status
from trunkline.transport.source import read_body

CI_KEY = "sk-ci-0123456789abcdef"
VECTORS = [[0.5, -1.25], [2.0, 0.0]]
PACKED = [base64.b64encode(struct.pack("<2f", *vector)).decode() for vector in VECTORS]
USAGE = {"prompt_tokens": 6, "total_tokens": 6}


def vectors_answer(vectors: list[Any], usage: Any = USAGE, **more: Any) -> dict[str, Any]:
    """Make an answer of OpenAI's shape."""
    data = [
        {"object": "embedding", "index": index, "embedding": vector}
        for index, vector in enumerate(vectors)
    ]
    told = {"object": "list", "data": data, "model": "m-1", **more}
    return told if usage is None else told | {"usage": usage}


PROVIDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "openai": ("/v1/embeddings", vectors_answer(VECTORS)),
    "packed": ("/v1/embeddings", vectors_answer(PACKED)),
    "gemini": (
        "/v1/models/embedder:batchEmbedContents",
        {
            "embeddings": [{"values": vector} for vector in VECTORS],
            "usageMetadata": {"promptTokenCount": 6},
        },
    ),
    "ollama": ("/api/embed", {"model": "m-1", "embeddings": VECTORS, "prompt_eval_count": 6}),
    "cohere": (
        "/v1/embed",
        {"embeddings": {"float": VECTORS}, "meta": {"billed_units": {"input_tokens": 6}}},
    ),
}
EACH = pytest.mark.parametrize("provider", list(PROVIDERS))


def priced(name: str) -> dict[str, Any]:
    """Return a model that costs 1 USD per million tokens read."""
    return {"name": name, "price": {"input": 1.0, "output": 0.0}}


@pytest.fixture
def gateway_line(up: FakeUpstream, make_line: MakeLine) -> Trunkline:
    """A line whose providers all are the scripted one, and a key with a strict budget."""
    budget = {"amount": "0.0002", "period": "day", "mode": "strict"}
    embedder = openai_at(up, models=[priced("embedder")])
    return make_line(
        default_provider="openai",
        fallback_chain=["openai", "vllm", "ollama"],
        model_map={"embedder": {"ollama": "another"}},
        providers={
            "openai": embedder,
            "packed": {**embedder, "type": "openai_compatible"},
            "gemini": embedder,
            "ollama": {**embedder, "models": ["another"]},
            "cohere": embedder,
            "vllm": {**embedder, "models": ["org/embedder"]},
            "anthropic": openai_at(up, models=["claude-x"]),
        },
        groups={"mixed": {"deployments": ["openai/embedder", "ollama/another"], "retries": 0}},
        keys=[{"name": "ci", "key": CI_KEY, "models": ["cohere/embedder"], "budget": budget}],
    )


@pytest.fixture
async def url(gateway_line: Trunkline) -> AsyncIterator[str]:
    """A running gateway."""
    async with running(gateway_line) as address:
        yield f"{address}/v1"


@pytest.fixture
async def client(url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official client, retries off so that every answer is seen."""
    async with openai.AsyncOpenAI(base_url=url, api_key=ADMIN_KEY, max_retries=0) as made:
        yield made


@EACH
@pytest.mark.parametrize("asked", [None, "float", "base64"])
async def test_every_provider_answers_in_either_format(
    client: openai.AsyncOpenAI, up: FakeUpstream, provider: str, asked: Any
) -> None:
    """The SDK, which asks for base64 unless told otherwise, reads the same vectors and usage."""
    path, answer = PROVIDERS[provider]
    up.script(Json(answer))
    how = {} if asked is None else {"encoding_format": asked}
    told = await client.embeddings.create(model=f"{provider}/embedder", input=["a", "b"], **how)
    got: list[Any] = [item.embedding for item in told.data]
    assert got == (PACKED if asked == "base64" else VECTORS)
    assert (told.usage.prompt_tokens, told.usage.total_tokens) == (6, 6)
    assert [item.index for item in told.data] == [0, 1]
    assert up.requests[0].path == path


async def test_an_answer_in_the_format_asked_for_is_relayed(
    client: openai.AsyncOpenAI, up: FakeUpstream
) -> None:
    """Body and request pass as they came, unknown fields too; headers say what it took."""
    sent = vectors_answer(PACKED, brand_new={"kept": True})
    up.script(Json(sent))
    raw = await client.embeddings.with_raw_response.create(
        model="packed/embedder",
        input=[[1, 2], [3]],
        dimensions=2,
        user="u",
        encoding_format="base64",
        extra_body={"truncate": "END"},
    )
    assert json.loads(raw.text) == sent
    assert raw.headers["x-trunkline-cost-usd"] == "0.000006"
    assert raw.headers["x-trunkline-deployment"] == "packed/embedder"
    assert up.requests[0].json() == {
        "model": "embedder",
        "input": [[1, 2], [3]],
        "dimensions": 2,
        "user": "u",
        "encoding_format": "base64",
        "truncate": "END",
    }


async def test_what_other_providers_are_sent(client: openai.AsyncOpenAI, up: FakeUpstream) -> None:
    """Texts, dimensions and what the vectors are for, each in the provider's own words."""
    for provider in ("gemini", "ollama", "cohere"):
        up.script(Json(PROVIDERS[provider][1]))
        more = {"input_type": "search_query"}
        await client.embeddings.create(
            model=f"{provider}/embedder", input=["a", "b"], dimensions=2, extra_body=more
        )
    gemini, ollama, cohere = (request.json() for request in up.requests)
    assert gemini["requests"][1] == {
        "model": "models/embedder",
        "content": {"parts": [{"text": "b"}]},
        "taskType": "RETRIEVAL_QUERY",
        "outputDimensionality": 2,
    }
    assert ollama == {"model": "embedder", "input": ["a", "b"], "truncate": False, "dimensions": 2}
    assert cohere == {
        "model": "embedder",
        "texts": ["a", "b"],
        "input_type": "search_query",
        "embedding_types": ["float"],
        "truncate": "NONE",
        "output_dimension": 2,
    }


async def test_usage_nobody_told_is_estimated(client: openai.AsyncOpenAI, up: FakeUpstream) -> None:
    """It is charged, and answer and record say that it is an estimate."""
    up.script(Json(vectors_answer(PACKED[:1], usage=None)))
    told = await client.embeddings.create(model="openai/embedder", input=["Hello there"])
    extra: Any = told.usage.model_extra
    assert told.usage.prompt_tokens > 0
    assert extra["trunkline"] == {
        "estimated": True,
        "cost_nusd": told.usage.prompt_tokens * 1000,
        "cost_state": "estimated",
    }


async def test_vectors_are_never_mixed(
    client: openai.AsyncOpenAI, up: FakeUpstream, gateway_line: Trunkline
) -> None:
    """A call fails over to the same model of another provider, and to no other model."""
    up.script(Status(500), Json(vectors_answer(VECTORS[:1])))
    raw = await client.embeddings.with_raw_response.create(model="embedder", input="a")
    assert raw.headers["x-trunkline-deployment"] == "vllm/org/embedder"
    up.script(Status(500), Status(500))
    with pytest.raises(openai.InternalServerError):
        await client.embeddings.create(model="embedder", input="a")
    up.script(Status(500))
    with pytest.raises(openai.APIStatusError):
        await client.embeddings.create(model="mixed", input="a")
    assert "/api/embed" not in {request.path for request in up.requests}


async def test_strict_budgets_hold_a_proven_bound(url: str, up: FakeUpstream) -> None:
    """Input is all that is held for; what does not fit is refused before anything is sent."""
    async with openai.AsyncOpenAI(base_url=url, api_key=CI_KEY, max_retries=0) as client:
        up.script(Json(PROVIDERS["cohere"][1]))
        await client.embeddings.create(model="cohere/embedder", input=["a", "b"])
        with pytest.raises(openai.APIStatusError) as caught:
            await client.embeddings.create(model="cohere/embedder", input="word " * 100)
        assert caught.value.status_code == 402
        with pytest.raises(openai.APIStatusError) as caught:
            await client.embeddings.create(model="openai/embedder", input="a")
    assert caught.value.status_code in {403, 404}
    assert len(up.requests) == 1


async def test_calls_are_recorded(
    client: openai.AsyncOpenAI, up: FakeUpstream, gateway_line: Trunkline
) -> None:
    """Usage and cost of an embeddings call stand where those of chats stand."""
    up.script(Json(vectors_answer(PACKED[:1])))
    await client.embeddings.create(model="openai/embedder", input="a")
    gateway_line.flush()
    (row,) = gateway_line.store.calls()
    called = row.call
    assert (called.kind, called.outcome, called.message_count) == ("embed", "complete", 1)
    assert (called.prompt_tokens, called.completion_tokens, called.cost_nusd) == (6, 0, 6000)


WRONG: list[tuple[dict[str, Any], str, int]] = [
    ({"model": "openai/embedder"}, "input", 400),
    ({"model": "openai/embedder", "input": []}, "input", 400),
    ({"model": "openai/embedder", "input": ["a", 1]}, "input", 400),
    ({"model": "openai/embedder", "input": 3}, "input", 400),
    ({"model": "openai/embedder", "input": "a", "dimensions": 0}, "dimensions", 400),
    ({"model": "openai/embedder", "input": "a", "encoding_format": "x"}, "encoding_format", 400),
    ({"input": "a"}, "model", 400),
    ({"model": "anthropic/claude-x", "input": "a"}, "model", 400),
    ({"model": "ollama/another", "input": [[1, 2]]}, "input", 400),
]


@pytest.mark.parametrize(("body", "param", "status"), WRONG)
async def test_what_is_wrong_is_named(
    client: openai.AsyncOpenAI, up: FakeUpstream, body: dict[str, Any], param: str, status: int
) -> None:
    """In OpenAI's shape, with the field at fault; nothing goes up."""
    with pytest.raises(openai.APIStatusError) as caught:
        await client.post("/embeddings", body=body, cast_to=object)
    error: Any = caught.value.body
    assert (error["param"], caught.value.status_code) == (param, status)
    assert not up.requests


@pytest.mark.parametrize(
    "answer",
    [{"data": []}, {"data": [{"embedding": {}}]}, {"error": {"message": "no"}}, {"hello": 1}],
    ids=["none", "no vector", "an error", "something else"],
)
async def test_an_answer_without_vectors_is_an_error(
    client: openai.AsyncOpenAI, up: FakeUpstream, answer: Any
) -> None:
    """A 200 that says nothing is no success."""
    up.script(Json(answer))
    with pytest.raises(openai.APIStatusError):
        await client.embeddings.create(model="packed/embedder", input="a", encoding_format="float")


async def test_the_library_embeds(up: FakeUpstream, gateway_line: Trunkline) -> None:
    """`embed` and the service's method give plain vectors, whichever way they came."""
    for answer in (vectors_answer(PACKED), vectors_answer(VECTORS, usage=None)):
        up.script(Json(answer))
        told = await embed(["a", "b"], "openai/embedder", dimensions=2)
        assert told.vectors == VECTORS
        assert (told.model, told.provider) == ("m-1", "openai")
        assert told.usage
        assert told.usage["prompt_tokens"] > 0
    up.script(Json(vectors_answer(VECTORS[:1])))
    service = LLMService(gateway_line)
    assert (await service.embed("a", "openai/embedder")).vectors == VECTORS[:1]


async def test_the_library_refuses(up: FakeUpstream, gateway_line: Trunkline) -> None:
    """Wrong input, and a provider without embeddings."""
    wrong: list[tuple[type[TrunklineError], Any, str]] = [
        (InputError, [], "openai/embedder"),
        (InputError, "a", ""),
        (CapabilityMissing, "a", "anthropic/claude-x"),
    ]
    for error, texts, model in wrong:
        with pytest.raises(error):
            await embed(texts, model)


@EACH
async def test_there_is_a_vector_for_each_text(
    client: openai.AsyncOpenAI, up: FakeUpstream, provider: str
) -> None:
    """Fewer or more are no answer: it is asked for again, and charged as far as can be known."""
    _, answer = PROVIDERS[provider]
    up.script(Json(answer), Json(answer), Json(answer))
    raw = await client.embeddings.with_raw_response.create(
        model=f"{provider}/embedder", input=["a", "b"]
    )
    assert raw.headers["x-trunkline-attempts"] == "1"
    for texts in (["a"], ["a", "b", "c"]):
        up.script(*[Json(answer)] * 3)
        with pytest.raises(openai.InternalServerError, match="vectors for"):
            await client.embeddings.create(model=f"{provider}/embedder", input=texts)


async def test_vectors_come_up_as_base64_where_that_is_taken(
    client: openai.AsyncOpenAI, up: FakeUpstream
) -> None:
    """OpenAI allows answers that would be too large as numbers; the caller gets what it asked."""
    up.script(Json(vectors_answer(PACKED)), Json(vectors_answer(VECTORS)))
    for provider in ("openai", "packed"):
        told = await client.embeddings.create(
            model=f"{provider}/embedder", input=["a", "b"], encoding_format="float"
        )
        assert [item.embedding for item in told.data] == VECTORS
    assert [r.json()["encoding_format"] for r in up.requests] == ["base64", "float"]


async def test_an_answer_that_is_too_large_is_asked_for_once(
    client: openai.AsyncOpenAI, up: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another would be as large, and would be charged too."""
    monkeypatch.setattr(read_body, "__defaults__", (b"", 1000))
    large = Status(200, b"{" + b" " * 10**6, {"content-type": "application/json"})
    up.script(large, Json(vectors_answer(VECTORS)))
    with pytest.raises(openai.InternalServerError, match="larger than 1000 bytes") as caught:
        await client.embeddings.create(model="embedder", input=["a", "b"])
    assert caught.value.code == "answer_too_large"
    assert len(up.requests) == 1


async def test_large_vectors_do_not_stop_other_calls(
    client: openai.AsyncOpenAI, up: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are worked on beside the loop, in the gateway and in the library."""
    threads = set()

    def seen(vector: Any) -> Any:
        threads.add(threading.get_ident())
        return unpacked(vector)

    for module in ("llm_service.measures", "dialects.openai_chat.embeddings.write"):
        monkeypatch.setattr(sys.modules[f"trunkline.{module}"], "unpacked", seen)
    texts = ["a"] * 60
    large = Json(vectors_answer([base64.b64encode(b"\0\0\0\x3f" * 3072 * 2).decode()] * 60))
    up.script(large, large)
    told = await embed(texts, "packed/embedder")
    assert len(told.vectors) == 60
    got = await client.embeddings.create(
        model="packed/embedder", input=texts, encoding_format="float"
    )
    assert [item.embedding for item in got.data] == told.vectors
    assert len(up.requests) == 2
    assert threads
    assert threading.get_ident() not in threads

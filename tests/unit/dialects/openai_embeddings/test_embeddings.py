"""Embeddings of OpenAI's shape: what goes up where, and what comes back in which format."""

import json
from typing import Any

import pytest

from trunkline.dialects import load
from trunkline.dialects.openai_chat.embeddings import decode, decode_frame, encode, read, write
from trunkline.dialects.openai_chat.embeddings.write import packed, unpacked
from trunkline.errors import (
    BadAnswer,
    ContextTooLong,
    InputError,
    Overloaded,
    ProviderError,
    UpstreamFailed,
)
from trunkline.types import (
    Cost,
    Deployment,
    Embed,
    Embedded,
    Mark,
    Memo,
    Outgoing,
    Secret,
    UsageReport,
)

PACKED = "AAAAPwAAoL8="
"""[0.5, -1.25] as the documentation says: 32-bit floats, least significant byte first."""
Json = dict[str, Any]


def asked(**fields: Any) -> Embed:
    """Read a request."""
    return read(json.dumps({"model": "m", "input": "a"} | fields).encode())


def sent(call: Embed, *quirks: str, **row: Any) -> Outgoing:
    """Encode it for a deployment."""
    deployment = Deployment(
        provider="p",
        model="emb",
        base_url="https://x.test/v1?api-version=1",
        api_key=Secret("k" * 20),
        quirks=frozenset(quirks),
        **row,
    )
    return encode(call, deployment)


INPUTS: list[tuple[Any, tuple[Any, ...]]] = [
    ("a", ("a",)),
    ("", ("",)),
    (["a", "b"], ("a", "b")),
    ([1, 2], ([1, 2],)),
    ([[1, 2], [3]], ([1, 2], [3])),
]


@pytest.mark.parametrize(("said", "inputs"), INPUTS)
def test_inputs(said: Any, inputs: tuple[Any, ...]) -> None:
    """One text or many, of words or of token numbers."""
    call = asked(input=said)
    assert call.body.inputs == inputs
    assert call.body.message_count == len(inputs)
    assert call.body.size_bytes >= len(str(said)) - 2


@pytest.mark.parametrize("body", [b"", b"[]", b'{"model":"m","input":[true]}', b'{"input":"a"}'])
def test_nonsense_is_refused(body: bytes) -> None:
    """With words for the caller."""
    with pytest.raises(InputError, match=r"write|JSON"):
        read(body)


def test_what_goes_up() -> None:
    """Every field, with the deployment's model; Azure's own names and path, Mistral's field."""
    call = asked(dimensions=8, encoding_format="base64", brand_new=[1])
    request = sent(call)
    assert request.url == "https://x.test/v1/embeddings?api-version=1"
    assert request.headers["authorization"] == f"Bearer {'k' * 20}"
    assert json.loads(request.body) == {
        "model": "emb",
        "input": "a",
        "dimensions": 8,
        "encoding_format": "base64",
        "brand_new": [1],
    }
    azure = sent(call, "deployment_path", "api_key_header", wire_model="mine")
    assert azure.url == "https://x.test/v1/deployments/mine/embeddings?api-version=1"
    assert json.loads(azure.body)["model"] == "mine"
    assert "api-key" in azure.headers
    mistral = sent(call, "output_dimension")
    assert json.loads(mistral.body) == {
        "model": "emb",
        "input": "a",
        "output_dimension": 8,
        "brand_new": [1],
    }
    assert mistral.dropped == ()
    openai = json.loads(sent(asked(encoding_format="float"), "packed_vectors").body)
    assert openai["encoding_format"] == "base64"


def test_options_a_provider_does_not_take_are_named() -> None:
    """OpenAI refuses what it does not know."""
    assert sent(asked(input_type="search_query"), "openai_strict").dropped == ("input_type",)


def answer(*vectors: Any, **more: Any) -> bytes:
    """Make an answer whose items stand in the wrong order."""
    data = [{"index": index, "embedding": vector} for index, vector in enumerate(vectors)][::-1]
    return json.dumps({"data": data, "usage": {"prompt_tokens": 3}} | more).encode()


def test_vectors_come_in_the_order_of_the_texts() -> None:
    """Whatever order the provider has."""
    frame = decode(answer([0.5], [1.5]), Memo())
    [vectors] = [event.vectors for event in frame.events if isinstance(event, Embedded)]
    assert vectors == ([0.5], [1.5])
    assert frame.mark == Mark.SHOWN | Mark.USAGE | Mark.FINISH | Mark.TERMINAL


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": 0, "total_tokens": 0}])
def test_usage_of_nothing_is_none(usage: Any) -> None:
    """There is no text without a token, so it is estimated."""
    assert not decode(answer([0.5], usage=usage), Memo()).mark & Mark.USAGE


BAD = [b"", b"<html>", b'{"data":[]}', b'{"data":[{"embedding":5}]}', b'{"error":{"message":"x"}}']


@pytest.mark.parametrize("body", BAD)
def test_what_is_no_answer(body: bytes) -> None:
    """It fails, at the latest when somebody asks for the vectors."""
    with pytest.raises(ProviderError):
        _ = decode(body, Memo()).events
    with pytest.raises(BadAnswer, match="stream"):
        decode_frame(body, Memo())


def test_formats() -> None:
    """Either one becomes the other; what is no base64 of floats is the provider's fault."""
    assert packed([0.5, -1.25]) == PACKED
    assert unpacked(PACKED) == [0.5, -1.25]
    assert (packed(PACKED), unpacked([1.0])) == (PACKED, [1.0])
    for wrong in ("A", "AAAA", "?"):
        with pytest.raises(BadAnswer):
            unpacked(wrong)


def test_a_relayed_answer_keeps_its_bytes() -> None:
    """If it is in the format asked for, and says its usage; else it is spelled anew."""
    body = answer(PACKED)
    writer = write(asked(encoding_format="base64"), "openai_embeddings")
    assert writer.whole([decode(body, Memo())], Cost(1)) == body
    assert writer.frame(decode(body, Memo())) == writer.end(Cost(1)) == b""
    spelled = json.loads(write(asked(), "openai_embeddings").whole([decode(body, Memo())], Cost(1)))
    assert spelled == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -1.25]}],
        "model": "m",
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }


def test_errors_have_openais_shape() -> None:
    """All four keys."""
    said = json.loads(write(asked(), "x").error(Overloaded("later")))
    assert said["error"].keys() == {"message", "type", "code", "param"}


def test_vertex() -> None:
    """Vertex AI is asked to predict, and tells the tokens of each text."""
    dialect = load("gemini_embeddings")
    row = Deployment(
        provider="vertex",
        model="text-embedding-005",
        base_url="https://x.test/v1/projects/p/locations/l",
        quirks=frozenset({"vertex"}),
    )
    call = asked(input=["a", "b"], dimensions=8, input_type="clustering")
    request = dialect.encode(call, row)
    path = "/publishers/google/models/text-embedding-005:predict"
    assert request.url == row.base_url + path
    one = {"task_type": "CLUSTERING"}
    assert json.loads(request.body) == {
        "instances": [{"content": "a"} | one, {"content": "b"} | one],
        "parameters": {"outputDimensionality": 8, "autoTruncate": False},
    }
    told = {"values": [0.5], "statistics": {"token_count": 2, "truncated": False}}
    body = json.dumps({"predictions": [{"embeddings": told}] * 2}).encode()
    frame = dialect.decode(body, Memo())
    [vectors] = [event.vectors for event in frame.events if isinstance(event, Embedded)]
    assert vectors == ([0.5], [0.5])
    assert frame.mark & Mark.USAGE


@pytest.mark.parametrize("model", ["gemini-embedding-001", "gemini-embedding-2"])
def test_geminis_models_on_vertex(model: str) -> None:
    """They take a content, or several at once, and cut none of them."""
    dialect = load("gemini_embeddings")
    row = Deployment(
        provider="vertex", model=model, base_url="https://x.test/v1", quirks=frozenset({"vertex"})
    )
    base = f"https://x.test/v1/publishers/google/models/{model}"
    how = {"taskType": "RETRIEVAL_QUERY", "outputDimensionality": 8, "autoTruncate": False}
    each = [
        {"content": {"parts": [{"text": text}]}, "embedContentConfig": how} for text in ("a", "b")
    ]
    more = {"dimensions": 8, "input_type": "query"}
    one = dialect.encode(asked(input="a", **more), row)
    assert (one.url, json.loads(one.body)) == (f"{base}:embedContent", each[0])
    two = dialect.encode(asked(input=["a", "b"], **more), row)
    assert (two.url, json.loads(two.body)) == (f"{base}:batchEmbedContents", {"requests": each})


@pytest.mark.parametrize(
    ("answer", "tokens"),
    [
        ({"embedding": {"values": [0.5]}, "usageMetadata": {"promptTokenCount": 3}}, 3),
        ({"embedding": {"values": [0.5]}, "truncated": False}, None),
        ({"embeddings": [{"values": [0.5]}]}, None),
        ({"predictions": [{"embeddings": {"values": [0.5]}}]}, None),
    ],
)
def test_what_geminis_models_answer(answer: Json, tokens: int | None) -> None:
    """One vector without a list around it; tokens where they are told."""
    frame = load("gemini_embeddings").decode(json.dumps(answer).encode(), Memo(wanted=1))
    [vectors] = [event.vectors for event in frame.events if isinstance(event, Embedded)]
    told = [event.usage.prompt_tokens for event in frame.events if isinstance(event, UsageReport)]
    assert (vectors, told) == (([0.5],), [] if tokens is None else [tokens])


TOO_LONG = [
    (
        "gemini",
        {
            "error": {
                "code": 400,
                "status": "INVALID_ARGUMENT",
                "message": "Unable to submit request because the input token count is 20,500 but "
                "the model supports up to 20000. Reduce the input token count and try again.",
            }
        },
    ),
    ("cohere", {"message": "too many tokens: size limit exceeded by 11326 tokens."}),
    ("ollama", {"error": "the input length exceeds the context length"}),
]


@pytest.mark.parametrize(("name", "body"), TOO_LONG)
def test_a_text_that_is_too_long_is_refused(name: str, body: Json) -> None:
    """By words of each provider, who is asked not to cut it."""
    error = load(f"{name}_embeddings").decode_error(400, {}, json.dumps(body).encode())
    assert isinstance(error, ContextTooLong)


@pytest.mark.parametrize(
    ("name", "body"),
    [("gemini", {"error": {"code": 503, "message": "x"}}), ("cohere", {"message": "x"})],
)
def test_an_error_under_a_200_keeps_its_meaning(name: str, body: Json) -> None:
    """It is more than an answer without vectors."""
    with pytest.raises(UpstreamFailed, match="x"):
        load(f"{name}_embeddings").decode(json.dumps(body).encode(), Memo())


@pytest.mark.parametrize("name", ["gemini", "ollama", "cohere"])
@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"embeddings":[]}', b'{"embeddings":"x"}'])
def test_other_providers_answers_without_vectors(name: str, body: bytes) -> None:
    """They are no success either."""
    with pytest.raises(ProviderError):
        load(f"{name}_embeddings").decode(body, Memo())

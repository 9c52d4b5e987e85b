"""Models in this process; run by `tests/integration/test_transformers.py`, where torch is.

The model has random weights and is made here: one token for each printable character. What it
writes means nothing; what it is asked, how it ends and what is counted does. Where it has to say
something in particular, its scores are replaced.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tests.serving import eventually
from trunkline import Chat, Trunkline
from trunkline.backends.transformers import models
from trunkline.errors import (
    CapabilityMissing,
    ContextTooLong,
    InputError,
    ProviderError,
    TrunklineError,
    UpstreamNotFound,
)
from trunkline.reply import Reply
from trunkline.types import (
    Image,
    Message,
    OutputFormat,
    Prompt,
    TextDelta,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    say,
)

CONTEXT = 512
DTYPE = "float32"
PLAIN = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
WITH_TOOLS = (
    "{% for t in tools or [] %}tool {{ t.function.name }} {% endfor %}"
    "{% for m in messages %}{{ m.role }}: {{ m.content }}"
    "{% for c in m.tool_calls or [] %}[{{ c.function.name }} {{ c.function.arguments.a }}]"
    "{% endfor %} {% endfor %}assistant:"
)
TOOL = Tool(name="f", parameters={"type": "object"})
Scripted = Callable[[str], None]


def tiny(folder: Path, template: str | None) -> str:
    """Make a model in `folder`; return its name."""
    characters = [*map(chr, range(32, 127)), "\n"]
    words = {word: n for n, word in enumerate(["<unk>", "<s>", "</s>", *characters])}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", bos_token="<s>")
    fast.chat_template = template
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=CONTEXT,
        bos_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model whose template knows no tools."""
    return tiny(tmp_path_factory.mktemp("plain"), PLAIN)


@pytest.fixture(scope="module")
def tooled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model whose template has tools."""
    return tiny(tmp_path_factory.mktemp("tooled"), WITH_TOOLS)


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRUNKLINE_DATA", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """Make every model write a given text, then end."""
    forward = LlamaForCausalLM.forward

    def script(text: str) -> None:
        wanted = [3 + (ord(c) - 32 if c != "\n" else 95) for c in text] + [2]
        made: list[int] = []

        def forced(self: Any, *args: Any, **how: Any) -> Any:
            out = forward(self, *args, **how)
            out.logits[:, -1, :] = -100.0
            out.logits[:, -1, wanted[len(made)]] = 100.0
            made.append(0)
            return out

        monkeypatch.setattr(LlamaForCausalLM, "forward", forced)

    return script


def line(model: str, **fields: Any) -> Trunkline:
    """Return a core whose only provider is this backend, with one model."""
    place = {"type": "transformers", "device": "cpu", "dtype": DTYPE, "retries": 0}
    provider = {**place, "models": [model], **fields}
    return Trunkline.from_config({"llm_service": {"providers": {"here": provider}}})


def chat(model: str, *, stream: bool = False, **prompt: Any) -> Chat:
    """Make a chat; without a limit of its own a short one."""
    prompt.setdefault("messages", (say("user", "Hi"),))
    prompt.setdefault("max_output_tokens", 12)
    return Chat(model=f"here/{model}", body=Prompt(**prompt), stream=stream)


async def read(call: Chat, **fields: Any) -> Reply:
    """Ask, and read to the end."""
    core = line(call.model.removeprefix("here/"), **fields)
    async with core, await core(call) as reply:
        await reply.message()
        return reply


async def refused(call: Chat, **fields: Any) -> TrunklineError:
    """Ask; return why there is no answer."""
    core = line(call.model.removeprefix("here/"), **fields)
    async with core:
        with pytest.raises(TrunklineError) as raised:
            await core(call)
    causes = getattr(raised.value, "causes", ())
    return causes[0][1] if causes else raised.value


def kept(name: str) -> models.Model:
    """Return the model as the tests' provider has it."""
    [model] = [m for (n, place), m in models._models.items() if (n, place.dtype) == (name, DTYPE)]
    return model


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_with_exact_usage(plain: str, stream: bool) -> None:
    """Tokens are counted by the tokenizer; the limit ends it; it costs nothing."""
    reply = await read(chat(plain, stream=stream, temperature=0))
    text = (await reply.message()).text
    assert len(text) == 12
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == len("user: Hi\nassistant:")
    assert reply.usage.completion_tokens == 12
    assert (reply.finish, reply.outcome) == ("length", "complete")
    assert reply.call is not None
    assert reply.call.trail is not None
    assert reply.call.trail.cost.nusd == 0


async def test_it_streams_token_by_token(plain: str) -> None:
    """Each token is told when it is made."""
    core = line(plain)
    async with core, await core(chat(plain, stream=True, temperature=0)) as reply:
        texts = [e.text async for f in reply for e in f.events if isinstance(e, TextDelta)]
    assert [len(text) for text in texts[1:]] == [1] * (len(texts) - 1)
    assert len(texts) >= 10


async def test_sampling_is_what_was_asked(plain: str) -> None:
    """No temperature: always the same. With a seed: the same again; with another: not."""

    async def text(**how: Any) -> str:
        return (await (await read(chat(plain, **how))).message()).text

    assert await text(temperature=0) == await text(temperature=0)
    hot = {"temperature": 2.0, "top_p": 0.99}
    assert await text(seed=1, **hot) == await text(seed=1, **hot)
    assert await text(seed=1, **hot) != await text(seed=2, **hot)


async def test_the_model_ends_by_itself(plain: str, says: Scripted) -> None:
    """The token that ends counts, and is not shown."""
    says("Well.")
    reply = await read(chat(plain, max_output_tokens=99))
    assert (await reply.message()).text == "Well."
    assert reply.finish == "stop"
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 6


async def test_a_stop_string_ends_it(plain: str, says: Scripted) -> None:
    """It is not shown, nor is what follows; at most one token is made after it."""
    says("one, END two")
    reply = await read(chat(plain, stop=("END", "XX"), max_output_tokens=99, stream=True))
    assert (await reply.message()).text == "one, "
    assert reply.finish == "stop"
    assert reply.usage is not None
    assert reply.usage.completion_tokens <= len("one, END ")


async def test_thoughts_are_told_apart(plain: str, says: Scripted) -> None:
    """Between the tags that models write."""
    says("<think>hm</think>\n\nWell.")
    reply = await read(chat(plain, max_output_tokens=99, stream=True))
    message = await reply.message()
    assert [part.text for part in message.parts if isinstance(part, Thinking)] == ["hm"]
    assert message.text == "Well."


async def test_tools_where_the_template_has_them(tooled: str, says: Scripted) -> None:
    """They are in the prompt; what the model writes becomes calls with ids."""
    says('I ask.<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>')
    reply = await read(chat(tooled, tools=(TOOL,), max_output_tokens=99, stream=True))
    message = await reply.message()
    [call] = message.tool_calls
    assert (call.name, call.arguments, message.text) == ("f", '{"a":1}', "I ask.")
    assert reply.finish == "tool_calls"
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == len("tool f user: Hi assistant:")


async def test_a_conversation_with_tools(tooled: str, says: Scripted) -> None:
    """Arguments of earlier calls reach the template as objects, results as messages."""
    says("42")
    messages = (
        say("user", "Hi"),
        Message(role="assistant", parts=(ToolCall(id="c1", name="f", arguments='{"a": 1}'),)),
        Message(role="tool", parts=(ToolResult(id="c1", parts=say("tool", "ok").parts),)),
    )
    reply = await read(chat(tooled, messages=messages, tools=(TOOL,)))
    prompt = "tool f user: Hi assistant: [f 1] tool: ok assistant:"
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == len(prompt)


@pytest.mark.parametrize(
    ("prompt", "kind", "words"),
    [
        ({"tools": (TOOL,)}, CapabilityMissing, "template of this model has no tools"),
        ({"choices": 2}, CapabilityMissing, "n=1"),
        ({"output_format": OutputFormat(schema={})}, CapabilityMissing, "schema"),
        ({"messages": (say("user", "x" * CONTEXT),)}, ContextTooLong, "context 512"),
    ],
)
async def test_what_it_cannot_do_is_said(
    plain: str, prompt: Any, kind: type[TrunklineError], words: str
) -> None:
    """With a reason, before anything is made."""
    error = await refused(chat(plain, **prompt))
    assert type(error) is kind
    assert words in str(error)


async def test_a_model_that_is_not_here() -> None:
    """Nothing is fetched; the message says how it would be."""
    error = await refused(chat("nobody/nothing"))
    assert type(error) is UpstreamNotFound
    assert "`hf download nobody/nothing`" in str(error)
    assert not error.sent
    assert "nobody/nothing" not in {name for name, _ in models._models}


async def test_only_listed_models_are_loaded(plain: str, tooled: str) -> None:
    """Callers cannot have others read into memory."""
    assert (await read(chat(plain), models=[plain])).outcome == "complete"
    error = await refused(chat(tooled), models=[plain])
    assert type(error) is UpstreamNotFound
    assert "not one of the models listed" in str(error)


async def test_a_model_without_a_template(tmp_path: Path) -> None:
    """It was not made for chats."""
    error = await refused(chat(tiny(tmp_path / "raw", None)))
    assert type(error) is ProviderError
    assert "no chat template" in str(error)


async def test_a_dtype_that_torch_does_not_have(plain: str) -> None:
    """A configuration's fault, told at the first call."""
    assert "no dtype 'float99'" in str(await refused(chat(plain), dtype="float99"))


async def test_who_leaves_stops_the_model(plain: str) -> None:
    """At the next token; the next call does not wait for the rest."""
    core = line(plain)
    async with core:
        reply = await core(chat(plain, stream=True, max_output_tokens=480, temperature=1.0))
        await reply.aclose()
        async with asyncio.timeout(5):
            async with await core(chat(plain)) as following:
                await following.message()
    assert (reply.outcome, following.outcome) == ("abandoned", "complete")


async def test_who_leaves_while_waiting_is_not_answered(plain: str) -> None:
    """A call that waits for the model's thread is taken out of its queue."""
    core = line(plain, max_parallel=8)
    async with core:
        first = await core(chat(plain, stream=True, max_output_tokens=480))
        waiting = asyncio.create_task(core(chat(plain, stream=True)))
        model = kept(plain)
        await eventually(lambda: model.worker._work_queue.qsize() == 1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert waiting.cancelled()
        await first.aclose()


async def test_one_model_in_memory_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many at once, before it is loaded: each is answered, and the model is loaded once."""
    new, load, loads = tiny(tmp_path / "new", PLAIN), models.Model._load, 0

    def counted(self: models.Model) -> models.Loaded:
        nonlocal loads
        loads += 1
        return load(self)

    monkeypatch.setattr(models.Model, "_load", counted)
    core = line(new, max_parallel=8)
    async with core:

        async def text() -> str:
            async with await core(chat(new, temperature=0)) as reply:
                return (await reply.message()).text

        texts = await asyncio.gather(*(text() for _ in range(8)))
    assert len({*texts}) == loads == 1


async def test_pictures_are_not_taken(plain: str) -> None:
    """They are refused before a model is looked for."""
    messages = (Message(role="user", parts=(Image(url="https://a/b.png"),)),)
    assert isinstance(await refused(chat(plain, messages=messages)), InputError)

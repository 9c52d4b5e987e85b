"""Services and layers."""

from tests.scripted import Script, reply_of, whole
from trunkline.reply import Reply
from trunkline.service import Layer, Service, describe, stack
from trunkline.types import Call, Chat, Prompt

LOG: list[str] = []


def shout(word: str) -> Layer:
    """Make a layer that says `word` on the way in and on the way out."""

    def layer(inner: Service) -> Service:
        async def service(call: Call) -> Reply:
            LOG.append(f"{word} in")
            reply = await inner(call)
            reply.on_close(lambda _: LOG.append(f"{word} out"))
            return reply

        return service

    return layer


def whisper(inner: Service) -> Service:
    """Be a layer without settings."""
    return inner


async def answer(call: Call) -> Reply:
    """Answer any call."""
    LOG.append(f"answer {call.model}")
    return reply_of(Script(whole("hi")))


async def test_the_first_layer_is_the_outermost() -> None:
    """A call passes the layers in the order of the list, its end in the opposite order."""
    LOG.clear()
    reply = await stack([shout("a"), whisper, shout("b")], answer)(
        Chat(model="m", body=Prompt(messages=()))
    )
    assert LOG == ["a in", "b in", "answer m"]
    await reply.message()
    assert LOG[3:] == ["b out", "a out"]


def test_an_empty_stack_is_its_innermost_service() -> None:
    """No layer, no cost."""
    assert stack([], answer) is answer


def test_layers_are_named_after_the_function_that_made_them() -> None:
    """The snapshot of the order is readable, with and without settings."""
    assert describe([shout("a"), whisper]) == ["shout", "whisper"]

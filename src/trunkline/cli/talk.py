"""`call` and `chat`: ask a model from the terminal."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterator
from contextlib import aclosing
from importlib import import_module
from typing import Any

import click

from trunkline.accounting.price import format_usd
from trunkline.cli.frame import (
    config_option,
    error_text,
    fails_cleanly,
    json_option,
    open_line,
    print_json,
)
from trunkline.client import Trunkline
from trunkline.errors import TrunklineError
from trunkline.fold import Fold
from trunkline.llm_service.ask import NOBODY, call_id, follow, model_of, thoughts_of
from trunkline.llm_service.ask import chat as make_call
from trunkline.llm_service.chunks import usage_dict
from trunkline.reply import Reply
from trunkline.types import Message, RefusalDelta, TextDelta, Trail


def _parameters(_: click.Context, __: click.Parameter, pairs: tuple[str, ...]) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{pair!r} is not NAME=VALUE")
        try:
            parameters[name] = json.loads(value)
        except ValueError:
            parameters[name] = value
    return parameters


_model = click.option("-m", "--model", help="Model, group, alias or provider/model.")
_provider = click.option("--provider", help="Provider, when the model's name does not say it.")
_system = click.option("-s", "--system", help="System prompt.")
_parameter = click.option(
    "-p",
    "--parameter",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_parameters,
    help="Parameter such as temperature=0.2; the value is read as JSON, else as text. Repeatable.",
)


@click.command()
@click.argument("prompt", nargs=-1)
@_model
@_provider
@_system
@_parameter
@click.option("--no-stream", is_flag=True, help="Wait for the whole answer.")
@click.option("-v", "--verbose", is_flag=True, help="Tell model, tokens and cost on stderr.")
@config_option
@json_option
@fails_cleanly
def call(prompt: tuple[str, ...], as_json: bool, config: str | None, **options: Any) -> None:
    """Ask one question and print the answer.

    PROMPT may be several words; without it, or as "-", it is read from standard input.
    """
    messages = [*_opening(options["system"]), {"role": "user", "content": _question(prompt)}]
    answer = asyncio.run(_once(open_line(config), messages, options, quiet=as_json))
    if as_json:
        print_json(answer)
    elif options["verbose"]:
        usage = answer["usage"]
        usd, state = answer["cost_usd"], answer["cost_state"]
        click.echo(
            f"{answer['provider']}/{answer['model']}: {usage['prompt_tokens']} + "
            f"{usage['completion_tokens']} tokens, "
            f"{'cost unknown' if usd is None else f'{usd} USD ({state})'}, "
            f"call {answer['call_id']}",
            err=True,
        )


@click.command()
@_model
@_provider
@_system
@_parameter
@config_option
@json_option
@fails_cleanly
def chat(as_json: bool, config: str | None, **options: Any) -> None:
    """Talk with a model, turn by turn.

    One line is one turn, an empty one is ignored; end with Ctrl-D or /exit. A turn that fails is
    forgotten and the talk goes on; the exit code then is 1. With --json each turn prints one line:
    the answer or {"error": ...}.
    """
    line = open_line(config)
    if sys.stdin.isatty() and not as_json:
        names = ", ".join(line.config.providers)
        click.echo(f"Talking through {names}. Ctrl-D or /exit ends.", err=True)
    if not _talk(line, options, as_json=as_json):
        raise SystemExit(1)


def _talk(line: Trunkline, options: dict[str, Any], *, as_json: bool) -> bool:
    """Answer turn by turn to the end of the input; return whether all went well.

    The loop runs only while a model is asked, so that Ctrl-C always finds the main thread.
    """
    messages, good = _opening(options["system"]), True
    with asyncio.Runner() as runner:
        try:
            for text in _turns():
                messages.append({"role": "user", "content": text})
                try:
                    answer = runner.run(_answer(line, messages, options, quiet=as_json))
                except TrunklineError as error:
                    good = False
                    messages.pop()
                    click.echo(error_text(error, as_json=as_json), err=not as_json)
                    continue
                messages.append({"role": "assistant", "content": answer["content"]})
                if as_json:
                    click.echo(json.dumps(answer, ensure_ascii=False))
        finally:
            runner.run(line.close())
    return good


async def _once(
    line: Trunkline, messages: list[dict[str, Any]], options: dict[str, Any], *, quiet: bool
) -> dict[str, Any]:
    async with line:
        return await _answer(line, messages, options, quiet=quiet)


async def _answer(
    line: Trunkline, messages: list[dict[str, Any]], options: dict[str, Any], *, quiet: bool
) -> dict[str, Any]:
    """Ask, print the text as it comes unless `quiet`, return what is to know of the answer."""
    asked = make_call(
        messages, options["model"], options["parameters"], provider=options["provider"]
    )
    fold, shown = Fold(), False
    replies: list[Reply] = []
    await asyncio.sleep(0)  # lets the loop see which connections closed while it stood still
    frames = follow(line, asked, NOBODY, stream=not options.get("no_stream"))
    try:
        async with aclosing(frames):
            async for reply, events in frames:
                replies = [reply]
                for event in events:
                    fold.add(event)
                    if quiet or not isinstance(event, TextDelta | RefusalDelta) or event.choice:
                        continue
                    click.echo(event.text, nl=False)
                    shown = True
    finally:
        if shown:
            click.echo()
    answer = _summary(fold.message(), replies[0])
    if not quiet:
        for warning in answer["warnings"]:
            click.echo(f"warning: {warning}", err=True)
    return answer


def _summary(message: Message, reply: Reply) -> dict[str, Any]:
    trail = reply.call.trail if reply.call is not None else None
    trail = trail or Trail()
    cost = trail.cost
    left_out = [f"{reply.deployment.name} does not take {name}" for name in trail.dropped]
    return {
        "content": message.text,
        "thoughts": thoughts_of(message),
        "provider": reply.deployment.provider,
        "model": model_of(reply),
        "finish_reason": reply.finish,
        "usage": usage_dict(reply.usage),
        "cost_nusd": cost.nusd,
        "cost_usd": None if cost.nusd is None else format_usd(cost.nusd),
        "cost_state": cost.state,
        "call_id": call_id(reply),
        "warnings": [*left_out, *trail.warnings],
    }


def _opening(system: str | None) -> list[dict[str, Any]]:
    return [{"role": "system", "content": system}] if system else []


def _question(prompt: tuple[str, ...]) -> str:
    """Return what to ask: the words given, else standard input to its end."""
    text = " ".join(prompt)
    if not prompt and sys.stdin.isatty():
        raise click.UsageError('write a prompt, or "-" to type it and end with Ctrl-D')
    if prompt in {(), ("-",)}:
        text = sys.stdin.read()
    if not text.strip():
        raise click.UsageError("the prompt is empty; write it, or give it on standard input")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise click.UsageError("the prompt is not text in UTF-8") from None
    return text


def _turns() -> Iterator[str]:
    """Yield the lines to answer, until the input ends or says /exit."""
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if terminal:
        with contextlib.suppress(ImportError):
            import_module("readline")  # gives input() its editing
    try:
        while (text := input("> " if terminal else "").strip()) != "/exit":
            if text:
                yield text
    except EOFError:
        if terminal:
            click.echo()

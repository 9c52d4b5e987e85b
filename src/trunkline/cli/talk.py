"""`call` and `chat`: ask a model from the terminal."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import aclosing
from typing import Any

import click

from trunkline.accounting.price import format_usd
from trunkline.cli.frame import config_option, fails_cleanly, json_option, open_line, print_json
from trunkline.client import Trunkline
from trunkline.fold import Fold
from trunkline.llm_service.ask import NOBODY, call_id, follow, model_of, thoughts_of
from trunkline.llm_service.ask import chat as make_call
from trunkline.llm_service.chunks import usage_dict
from trunkline.reply import Reply
from trunkline.types import Message, TextDelta

_model = click.option("-m", "--model", help="Model, group, alias or provider/model.")
_provider = click.option("--provider", help="Provider, when the model's name does not say it.")
_system = click.option("-s", "--system", help="System prompt.")
_parameter = click.option(
    "-p",
    "--parameter",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="Parameter such as temperature=0.2; the value is read as JSON, else as text. Repeatable.",
)


@click.command()
@click.argument("prompt", nargs=-1)
@_model
@_provider
@_system
@_parameter
@click.option("--no-stream", is_flag=True, help="Wait for the whole answer.")
@click.option("-v", "--verbose", is_flag=True, help="Tell tokens, cost and time on stderr.")
@config_option
@json_option
@fails_cleanly
def call(prompt: tuple[str, ...], as_json: bool, config: str | None, **options: Any) -> None:
    """Ask one question and print the answer.

    PROMPT may be several words; without it, or as "-", it is read from standard input.
    """
    text = " ".join(prompt)
    if text in {"", "-"}:
        text = click.get_text_stream("stdin").read()
    messages = [*_opening(options["system"]), {"role": "user", "content": text}]
    line = open_line(config)
    answer = asyncio.run(_answer(line, messages, options, quiet=as_json))
    if as_json:
        print_json(answer)
    elif options["verbose"]:
        usage = answer["usage"]
        cost = "unknown" if answer["cost_usd"] is None else f"{answer['cost_usd']} USD"
        click.echo(
            f"{answer['provider']}/{answer['model']}: {usage['prompt_tokens']} + "
            f"{usage['completion_tokens']} tokens, {cost}, call {answer['call_id']}",
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

    An empty line is ignored; end with Ctrl-D or /exit. With --json each answer is one JSON line.
    """
    line = open_line(config)
    options["no_stream"] = False
    if sys.stdin.isatty() and not as_json:
        names = ", ".join(line.config.providers) or "demo"
        click.echo(f"Talking through {names}. Ctrl-D or /exit ends.", err=True)
    asyncio.run(_talk(line, options, as_json=as_json))


async def _talk(line: Trunkline, options: dict[str, Any], *, as_json: bool) -> None:
    messages = _opening(options["system"])
    prompt = "> " if sys.stdin.isatty() else ""
    async with line:
        while True:
            try:
                text = await asyncio.to_thread(input, prompt)
            except EOFError:
                return
            if text.strip() == "/exit":
                return
            if not text.strip():
                continue
            messages.append({"role": "user", "content": text})
            answer = await _answer(line, messages, options, quiet=as_json)
            messages.append({"role": "assistant", "content": answer["content"]})
            if as_json:
                click.echo(json.dumps(answer, ensure_ascii=False))


async def _answer(
    line: Trunkline, messages: list[dict[str, Any]], options: dict[str, Any], *, quiet: bool
) -> dict[str, Any]:
    """Ask, print the text as it comes unless `quiet`, return what is to know of the answer."""
    asked = make_call(
        messages,
        options["model"],
        _parameters(options["parameters"]),
        provider=options["provider"],
    )
    fold = Fold()
    replies: list[Reply] = []
    whole = bool(options["no_stream"])
    async with line, aclosing(follow(line, asked, NOBODY, stream=not whole)) as frames:
        async for reply, events in frames:
            replies = [reply]
            for event in events:
                fold.add(event)
                if isinstance(event, TextDelta) and not quiet:
                    click.echo(event.text, nl=False)
    if not quiet:
        click.echo()
    return _summary(fold.message(), replies[0])


def _summary(message: Message, reply: Reply) -> dict[str, Any]:
    trail = reply.call.trail if reply.call is not None else None
    nusd = trail.cost.nusd if trail is not None else None
    return {
        "content": message.text,
        "thoughts": thoughts_of(message),
        "provider": reply.deployment.provider,
        "model": model_of(reply),
        "finish_reason": reply.finish,
        "usage": usage_dict(reply.usage),
        "cost_nusd": nusd,
        "cost_usd": None if nusd is None else format_usd(nusd),
        "call_id": call_id(reply),
    }


def _opening(system: str | None) -> list[dict[str, Any]]:
    return [{"role": "system", "content": system}] if system else []


def _parameters(pairs: tuple[str, ...]) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint="--parameter")
        try:
            parameters[name] = json.loads(value)
        except ValueError:
            parameters[name] = value
    return parameters

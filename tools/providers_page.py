"""Write `docs/reference/providers.md` from the catalog: what each provider takes.

`python -m tools.providers_page` writes it; a unit test makes it again and compares.
"""

from collections.abc import Iterable
from pathlib import Path

from trunkline.catalog import ProviderRow, prices, rows
from trunkline.dialects.openai_chat.quirks import QUIRKS

OUTPUT = Path(__file__).parents[1] / "docs" / "reference" / "providers.md"
DIALECTS = {
    "anthropic": "Anthropic Messages",
    "bedrock": "Amazon Bedrock Converse",
    "cohere": "Cohere Chat v2",
    "events": "none, it is in this process",
    "gemini": "Gemini generateContent",
    "ollama": "Ollama chat",
    "openai_chat": "OpenAI Chat Completions",
}
NEEDS = ("tools", "images", "audio", "files")
HEAD = """# Providers

<!-- Made by `make providers` from src/trunkline/catalog/providers.toml; do not edit. -->

What each [known provider](configuration.md#known-providers) takes, as far as it is documented.
All of them stream. "no" = no model of it takes that: a call that needs it goes to another
deployment, or is refused before anything is sent. "by model" = it depends on the model, and nothing
is held back. Options that a provider does not take are left out, and [logged](log-events.md).

"Prices" says whether the price data knows models of it; a model that it does not know has an
unknown cost, never 0, unless the [configuration](configuration.md) gives its price. "Counts" says
whether it [counts tokens](../how-to/embeddings.md#count-tokens) before a call, or we estimate them.
"""


def page() -> str:
    """Return the page."""
    return "\n".join([HEAD, *_table(rows().values()), "", "## Deviations", "", *_deviations(), ""])


def _table(found: Iterable[ProviderRow]) -> Iterable[str]:
    apis = ("text completions", "Responses API", "embeddings", "counts")
    columns = ("type", "API", *NEEDS, *apis, "prices", "source")
    yield f"| {' | '.join(columns)} |"
    yield "|" + "---|" * len(columns)
    for row in found:
        able = ["no" if need in row.lacks else "by model" for need in NEEDS]
        more = ("yes" if row.embeddings else "no", "yes" if row.counting else "estimated")
        cells = (f"`{row.name}`", _apis(row), *able, _text(row), _responses(row), *more)
        yield f"| {' | '.join((*cells, _prices(row), _source(row)))} |"


def _apis(row: ProviderRow) -> str:
    names = [DIALECTS[row.dialect]]
    names += [f"{DIALECTS[name]} for `{models}`" for models, name in row.dialects.items()]
    return "; ".join(names)


def _text(row: ProviderRow) -> str:
    if row.text_models == ("*",):
        return "yes"
    return ", ".join(f"`{pattern}`" for pattern in row.text_models) or "no"


def _responses(row: ProviderRow) -> str:
    if row.responses:
        return "yes"
    same_family = row.dialect == "openai_chat" and row.backend == "http"
    return "if `api` says so" if same_family else "no"


def _prices(row: ProviderRow) -> str:
    return "0" if row.local else "yes" if prices.sells(row.name) else "no"


def _source(row: ProviderRow) -> str:
    if not row.source.startswith("https://"):
        return f"`{row.source}`"
    return f"[{row.checked}]({row.source})"


def _deviations() -> Iterable[str]:
    yield "Where a provider departs from OpenAI's chat API, and what is done about it."
    for row in rows().values():
        known = [QUIRKS[name] for name in QUIRKS if name in row.quirks]
        if not known or row.dialect != "openai_chat":
            continue
        yield f"\n### `{row.name}`\n"
        for quirk in known:
            url, _, day = quirk.source.partition(" ")
            yield f"- {quirk.why} ([{day}]({url}))"


if __name__ == "__main__":
    OUTPUT.write_text(page(), "utf-8")
    print(f"wrote {OUTPUT.name}: {len(rows())} providers")

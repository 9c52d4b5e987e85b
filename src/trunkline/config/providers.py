"""Providers: a catalog row, what the configuration says about it, and credentials."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from trunkline.catalog import ProviderRow, row, rows
from trunkline.config import azure, bedrock, connection, custom, models, transformers, vertex
from trunkline.config.node import Node, near
from trunkline.config.provider import Api, Provider
from trunkline.errors import ConfigError
from trunkline.interfaces import is_loaded
from trunkline.observability.redact import know
from trunkline.types import Deployment, Secret

_ASKING = frozenset({"http", "litellm"})
"""Backends that ask somebody over a network."""
_WIRE_KEYS = {"api_key", "api_key_file", "base_url", "headers"}
_KEYS = (
    "type", "api", "buckets", "models", "rate_limits", "max_parallel", "retries",
    *_WIRE_KEYS, *connection.SECONDS, *vertex.KEYS, *azure.KEYS, *bedrock.KEYS, *transformers.KEYS,
)  # fmt: skip
_ONLY = {
    "vertex": vertex.KEYS,
    "azure_openai": azure.KEYS,
    "bedrock": bedrock.KEYS,
    "transformers": transformers.KEYS,
}
"""Keys that providers of one type alone take."""
_PLACES = {"vertex": vertex.place, "bedrock": bedrock.place}
"""What finds the address and the credential, where both follow from such keys."""


class Draft(Struct, kw_only=True):
    """A provider as it was described, before its variables are looked up."""

    name: str
    row: ProviderRow
    node: Node
    """What the fields stand in, for messages and for the variables it refers to."""
    fields: dict[str, Node]
    models: tuple[str, ...] = ()
    any_model: bool = False

    def missing(self) -> list[str]:
        """Return the variables without which the provider cannot be used."""
        names = self.node.environment.missing(self.node.value)
        if not names and self.row.hosts and not self._knows_where():
            names = [self.row.url_variable]
        if not names and self._needs_key() and self._key() is None:
            names = [" or ".join(self.row.key_variables)]
        return names

    def notes(self) -> list[str]:
        """Return what the user should know although the provider can be used."""
        kind = self.fields["type"].text() if "type" in self.fields else self.name
        if kind != "palm" or self.row.name != "gemini":
            return []
        note = "Google has ended PaLM and its models; palm means gemini here, write its models"
        return [f"{self.node.where}: {note}"]

    def provider(self) -> Provider:
        """Return the provider; call it only when nothing is `missing`."""
        self._refuse_foreign_keys()
        key = self._key()
        found, credential = self._place(key)
        template = Deployment(
            provider=self.name,
            model="",
            dialect=self.row.dialect,
            backend=self._backend(),
            base_url=found.base_url,
            api_key=None if key is None else Secret(key),
            credential=credential,
            headers=connection.headers(self.fields.get("headers")),
            quirks=found.quirks,
            buckets=self._buckets(),
            lacks=self.row.lacks,
            limits=connection.limits(self.row.limits, self.fields),
            rates=connection.rates(self.fields.get("rate_limits"), f"provider:{self.name}"),
        )
        if "retries" in self.fields:
            template = replace(template, retries=self.fields["retries"].whole(0))
        listed = models.read(self.fields.get("models"), self.name)
        wire_models = azure.deployments(self.fields)
        return Provider(
            name=self.name,
            type=self.row.name,
            template=template,
            models=tuple(dict.fromkeys([*listed.names, *wire_models])) or self.models,
            wire_models=wire_models,
            any_model=self.any_model,
            prices=listed.prices,
            rates=listed.rates,
            abilities=listed.abilities,
            local=self.row.local,
            vendor_prefixes=self.row.vendor_prefixes,
            text_models=self.row.text_models,
            dialects=self.row.dialects,
            responses_models=() if found.dated else self.row.responses_models,
            responses=self.row.responses and not found.dated,
            api=self._api(),
            apis=listed.apis,
            embeddings=self.row.embeddings,
            counting=self.row.counting,
            loaded=is_loaded(self.row.name),
            usual_model=self.row.usual_model,
        )

    def _place(self, key: str | None) -> tuple[azure.Place, str]:
        """Return where it answers, and a `Deployment.credential`."""
        connected = self.row.backend == "http" or "base_url" in self.fields
        base_url, credential = self._base_url() if connected else "", ""
        if self.row.name == "azure_openai":
            return azure.place(self.fields, self.node, base_url, key, self.row.quirks), ""
        if (place := _PLACES.get(self.row.name)) is not None:
            base_url, credential = place(self.node, self.fields, base_url, key)
        return azure.Place(base_url=base_url, quirks=self.row.quirks, dated=False), credential

    def _refuse_foreign_keys(self) -> None:
        for name in _WIRE_KEYS & self.fields.keys() if self.row.backend not in _ASKING else ():
            raise self.fields[name].fault("remove it: this provider needs no connection")
        for kind, keys in _ONLY.items():
            for name in keys & self.fields.keys() if self.row.name != kind else ():
                fault = f"remove it: only a provider of type {kind} takes it"
                raise self.fields[name].fault(fault)

    def _backend(self) -> str:
        listed = models.read(self.fields.get("models"), self.name).names or self.models
        if self.row.name == "transformers":
            if not listed:
                fault = "list the models, or callers could have any folder or model loaded"
                raise self.node.refusal(f"{fault}: models: [Qwen/Qwen3-0.6B]")
            return transformers.backend(self.fields, listed)
        if self.row.backend != "litellm" or not (ours := _WIRE_KEYS & self.fields.keys()):
            return self.row.backend
        if not listed:
            fault = "list the models as well, or it would go to whatever vendor a caller names"
            raise self.node.refusal(f"with {min(ours)}, {fault}")
        vendors = sorted({model.partition("/")[0] for model in listed})
        return f"litellm:{','.join(vendors)}"

    def _api(self) -> Api | None:
        node = self.fields.get("api")
        choice = self.row.backend == "http" and self.row.dialect in {"openai_chat", "ollama"}
        if node is not None and not choice:
            raise node.fault("remove it: only a provider with OpenAI's API leaves a choice")
        return None if node is None else models.api(node)

    def _buckets(self) -> tuple[str, ...]:
        node = self.fields.get("buckets")
        if node is None:
            return ()
        if self.row.dialect not in {"bedrock", "gemini"}:
            raise node.fault("remove it: only bedrock, gemini and vertex read buckets")
        for item in node.items():
            if not re.fullmatch(r"[A-Za-z0-9._-]+", item.text()):
                raise item.fault("write the name of a bucket, without s3:// or gs://")
        return node.texts()

    def _needs_key(self) -> bool:
        """Only the provider itself insists on a credential, a proxy in its place may not."""
        if self.row.key_optional or {"api_key", "api_key_file"} & self.fields.keys():
            return False
        return not self._elsewhere()

    def _elsewhere(self) -> bool:
        """Whether another host was configured than the provider's own."""
        host = urlsplit(self._base_url()).hostname or ""
        if self.row.hosts:
            return not host.endswith(tuple(f".{domain}" for domain in self.row.hosts))
        return urlsplit(self.row.base_url).hostname != host

    def _knows_where(self) -> bool:
        return "base_url" in self.fields or bool(
            self.row.base_url or self.node.environment.get(self.row.url_variable)
        )

    def _key(self) -> str | None:
        node, file = self.fields.get("api_key"), self.fields.get("api_key_file")
        if node is not None and file is not None:
            raise file.fault("write either api_key or api_key_file")
        if file is not None:
            key: str | None = connection.key_file(file)
        elif node is not None:
            key = node.text()
        elif "base_url" in self.fields and self._elsewhere():
            key = None  # the environment's key is for the provider itself, not for any other host
        else:
            key = self.node.environment.first(self.row.key_variables)
        if key is None:
            return None
        know([key])
        if not key.isascii() or not key.isprintable() or " " in key:
            where = (node or file or self.node).where
            raise ConfigError(
                f"{where}: the key of {self.name!r} has a blank or a character that is not ASCII; "
                "copy it again"
            )
        return key

    def _base_url(self) -> str:
        """Return the address: as written, else as the environment says, else the usual one."""
        node, variable = self.fields.get("base_url"), self.row.url_variable
        if node is None and variable and (text := self.node.environment.get(variable)):
            node = Node(text, variable, self.node.source, self.node.environment)
        if node is not None:
            return connection.base_url(node, self.row.usual_path)
        if self.row.base_url:
            return self.row.base_url
        raise ConfigError(
            f"{self.node.where}: nothing says where {self.name!r} is; set {variable} in the "
            "environment or write base_url, for example http://localhost:8000/v1"
        )


def native(name: str, node: Node) -> Draft:
    """Take one entry of `providers:`."""
    fields = node.mapping(_KEYS)
    if not re.fullmatch(r"[^/\s]+", name):
        raise ConfigError(f"{node.where}: {name!r} cannot be a name; leave out '/' and blanks")
    kind = fields.get("type") or Node(name, node.path, node.source, node.environment)
    return Draft(name=name, row=known_row(kind), node=node, fields=fields)


def bare(name: str, found: ProviderRow, root: Node) -> Draft:
    """Return a provider about which only the environment says anything."""
    demo = found.backend == "demo"
    return Draft(
        name=name,
        row=found,
        node=Node(None, "", root.source, root.environment),
        fields={},
        models=(name,) if demo else (),
        any_model=demo,
    )


def known_row(node: Node) -> ProviderRow:
    """Return the row of the provider type that stands at `node`.

    Raises:
        ConfigError: nobody knows that type.
    """
    name = node.text()
    registered = custom.names()
    if name in registered:
        return custom.row(name, load=True)
    if (found := row(name)) is not None:
        return found
    known = [*rows(), *registered]
    raise node.fault(
        f"no provider type has that name; {near(name, known)}write one of {', '.join(known)} "
        "(for any other server with an OpenAI-compatible API: type: openai_compatible)"
    )

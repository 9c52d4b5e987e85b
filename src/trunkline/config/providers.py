"""Providers: a catalog row, what the configuration says about it, and credentials."""

from __future__ import annotations

import datetime
import re
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from trunkline.catalog import ProviderRow, row, rows
from trunkline.config import connection, models
from trunkline.config.model import Provider
from trunkline.config.node import Node, near
from trunkline.errors import ConfigError
from trunkline.observability.redact import know
from trunkline.types import Deployment, Secret

_WIRE_KEYS = {"api_key", "api_key_file", "base_url", "headers"}
_KEYS = (
    "type", "models", "rate_limits", "max_parallel", "retries", *_WIRE_KEYS, *connection.SECONDS,
)  # fmt: skip
_LATER_KEYS = (
    "api", "api_version", "deployments", "project", "location", "credentials_file", "region",
)  # fmt: skip
_LATER_TYPES = (
    "azure", "azure_openai", "bedrock", "cohere", "litellm", "transformers", "vertex", "vertex_ai",
)  # fmt: skip


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
        if not names and self._needs_key() and self._key() is None:
            names = [" or ".join(self.row.key_variables)]
        return names

    def provider(self) -> Provider:
        """Return the provider; call it only when nothing is `missing`."""
        for name in _WIRE_KEYS & self.fields.keys() if self.row.backend != "http" else ():
            raise self.fields[name].fault("remove it: this provider needs no connection")
        key = self._key()
        template = Deployment(
            provider=self.name,
            model="",
            dialect=self.row.dialect,
            backend=self.row.backend,
            base_url=self._base_url() if self.row.backend == "http" else "",
            api_key=None if key is None else Secret(key),
            headers=connection.headers(self.fields.get("headers")),
            quirks=self.row.quirks,
            lacks=self.row.lacks,
            limits=connection.limits(self.row.limits, self.fields),
            rates=connection.rates(self.fields.get("rate_limits"), f"provider:{self.name}"),
        )
        if "retries" in self.fields:
            template = replace(template, retries=self.fields["retries"].whole(0))
        listed = models.read(self.fields.get("models"), self.name)
        return Provider(
            name=self.name,
            type=self.row.name,
            template=template,
            models=listed.names or self.models,
            any_model=self.any_model,
            prices=listed.prices,
            rates=listed.rates,
            abilities=listed.abilities,
            local=self.row.local,
            vendor_prefixes=self.row.vendor_prefixes,
            text_models=self.row.text_models,
            usual_model=self.row.usual_model,
        )

    def _needs_key(self) -> bool:
        """Only the provider itself insists on a credential, a proxy in its place may not."""
        if self.row.key_optional or {"api_key", "api_key_file"} & self.fields.keys():
            return False
        return not self._elsewhere()

    def _elsewhere(self) -> bool:
        """Whether another host was configured than the provider's own."""
        return urlsplit(self.row.base_url).hostname != urlsplit(self._base_url()).hostname

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
    fields = node.mapping(_KEYS, _LATER_KEYS)
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
    custom = custom_names()
    if name in custom:
        return ProviderRow(
            name=name,
            dialect="events",
            backend=f"custom:{name}",
            key_optional=True,
            vendor_prefixes=True,
            source="trunkline.register_provider",
            checked=datetime.date.min,
        )
    if (found := row(name)) is not None:
        return found
    if name in _LATER_TYPES:
        raise node.fault("this provider type is not available in this version")
    known = [*rows(), *custom]
    raise node.fault(
        f"no provider type has that name; {near(name, known)}write one of {', '.join(known)} "
        "(for any other server with an OpenAI-compatible API: type: openai_compatible)"
    )


def custom_names() -> list[str]:
    """Return the names of the providers that users registered."""
    from trunkline.interfaces import registered

    return list(registered())

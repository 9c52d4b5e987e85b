"""One value of a configuration and the way to it: typed reads, and errors that can be acted on."""

from __future__ import annotations

import datetime
import re
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Any
from urllib.parse import SplitResult, urlsplit

from trunkline.config.environment import Environment, malformed
from trunkline.errors import ConfigError, TrunklineError
from trunkline.observability.redact import scrub

_SECRET = re.compile(
    r"(?i)(?:^|\.)(?:headers\.|[^.]*(?:api_?key|secret|password|token|database_url|redis_url)$)"
)

_LAST_S = 2**63 // 10**9 - 1


def near(name: str, known: Iterable[str]) -> str:
    """Say what `name` may have been meant to be; "" if nothing is near."""
    matches = get_close_matches(name, list(known), n=3)
    return f"did you mean {' or '.join(map(repr, matches))}? " if matches else ""


class Node:
    """A value as it stands in the file, the path of keys to it, and where it was read."""

    __slots__ = ("environment", "path", "source", "value")

    def __init__(self, value: Any, path: str, source: str, environment: Environment) -> None:
        self.value = value
        self.path = path
        self.source = source
        self.environment = environment

    def child(self, key: str | int, value: Any) -> Node:
        """Return the node under `key`, a name or a position in a list."""
        step = f"[{key}]" if isinstance(key, int) else f".{key}" if self.path else key
        return type(self)(value, self.path + step, self.source, self.environment)

    def fault(self, mend: str) -> TrunklineError:
        """Return the error that says what stands here and what to write instead."""
        return self.refusal(f"found {self._found()}; {mend}")

    def refusal(self, message: str) -> TrunklineError:
        """Return an error about what stands here."""
        return ConfigError(f"{self.where}: {message}")

    @property
    def where(self) -> str:
        """The file and the path of the key."""
        return f"{self.source}: {self.path}" if self.path else self.source

    def _found(self) -> str:
        if isinstance(self.value, Mapping):
            return "a mapping"
        if isinstance(self.value, list | tuple):
            return "a list"
        if _SECRET.search(self.path):
            return "a value that is not shown"
        return "nothing" if self.value is None else scrub(repr(self.value), 80)

    def mapping(self, known: Collection[str], later: Collection[str] = ()) -> dict[str, Node]:
        """Return the values under `known` keys; an empty value is as good as none.

        Raises:
            ConfigError: another key; one of `later` will be taken by a later version.
        """
        children = self.entries()
        for key, child in children.items():
            if key in later and not child._empty():
                raise child.refusal(f"{key!r} is not available in this version; remove it")
            if key not in known and key not in later:
                raise child.refusal(
                    f"unknown key; {near(key, known)}write one of {', '.join(sorted(known))}"
                )
        return {key: child for key, child in children.items() if not child._empty()}

    def _empty(self) -> bool:
        text = self.value
        if isinstance(text, str) and not self.environment.missing(text):
            return not self.environment.expand(text).strip()
        return text is None

    def entries(self) -> dict[str, Node]:
        """Return the values under keys that are names of the user's own."""
        if self.value is None:
            return {}
        if not isinstance(self.value, Mapping):
            raise self.fault("write a mapping of keys to values")
        for key in self.value:
            if not isinstance(key, str) or not key:
                raise self.refusal(f"the key {key!r} is no name; put it in quotes")
        return {key: self.child(key, value) for key, value in self.value.items()}

    def items(self) -> list[Node]:
        """Return the elements of a list."""
        if not isinstance(self.value, list | tuple):
            raise self.fault("write a list")
        return [self.child(position, value) for position, value in enumerate(self.value)]

    def text(self) -> str:
        """Return text that is not empty, its variables filled in."""
        if not isinstance(self.value, str):
            raise self.fault("write text; put it in quotes if it looks like something else")
        if malformed(self.value):
            raise self.fault("write ${NAME} or ${NAME:-default} to refer to a variable")
        if missing := self.environment.missing(self.value):
            raise self.fault(f"set {' and '.join(missing)} in the environment or in .env")
        if not (text := self.environment.expand(self.value).strip()):
            raise self.fault("write text that is not empty, or remove the key")
        return text

    def url(self, example: str) -> SplitResult:
        """Take an address of a server, http or https, without credentials, '#' and blanks."""
        text = self.text()
        try:
            url = urlsplit(text)
            port_is_good = url.port != 0
        except ValueError:
            raise self.fault(f"write an address like {example}") from None
        if url.scheme not in {"http", "https"} or not url.hostname or not port_is_good:
            raise self.fault(f"write an address like {example}")
        if url.username or url.password or url.fragment or re.search(r"\s", text):
            raise self.fault(f"write an address like {example}, without credentials and '#'")
        return url

    def texts(self) -> tuple[str, ...]:
        """Return a list of texts, each once."""
        texts: list[str] = []
        for item in self.items():
            if (text := item.text()) in texts:
                raise item.fault("remove it: it stands twice in this list")
            texts.append(text)
        return tuple(texts)

    def choice(self, options: Collection[str], later: Collection[str] = ()) -> str:
        """Return one of the words `options`."""
        word = self.text()
        if word in later:
            raise self.fault(f"it is not available in this version; write {_either(options)}")
        if word not in options:
            raise self.fault(f"{near(word, options)}write {_either(options)}")
        return word

    def flag(self) -> bool:
        """Return true or false."""
        if not isinstance(self.value, bool):
            raise self.fault("write true or false")
        return self.value

    def decimal(self, wanted: str) -> Decimal:
        """Return an exact number; `wanted` says what to write instead of anything else.

        A float of YAML or JSON is taken as it was written: 0.15 is 0.15 and not the nearest binary
        fraction.
        """
        value = self.text() if isinstance(self.value, str) else self.value
        if not isinstance(value, bool) and isinstance(value, str | int | float | Decimal):
            try:
                number = Decimal(str(value))
            except InvalidOperation:
                raise self.fault(f"write {wanted}") from None
            if number.is_finite() and number.adjusted() <= 12:
                return number
        raise self.fault(f"write {wanted}")

    def seconds(self) -> float:
        """Return a time above 0."""
        wanted = "a number of seconds above 0, for example 120"
        number = float(self.decimal(wanted))
        if number <= 0:
            raise self.fault(f"write {wanted}")
        return number

    def whole(self, minimum: int) -> int:
        """Return a whole number, at least `minimum`."""
        wanted = f"a whole number, {minimum} or more"
        number = self.decimal(wanted)
        if number < minimum or number != number.to_integral_value():
            raise self.fault(f"write {wanted}")
        return int(number)

    def moment_ns(self) -> int:
        """Return a time, by UTC where it names no zone, in nanoseconds since the epoch."""
        wanted = "a time before 2262, as 2027-01-31T12:00:00Z or in seconds since 1970"
        at = self.value
        try:
            if isinstance(at, str):
                at = datetime.datetime.fromisoformat(self.text())
            elif isinstance(at, datetime.date):  # as YAML has it; perhaps without a time
                at = datetime.datetime.fromisoformat(at.isoformat())
            if isinstance(at, datetime.datetime):
                at = at if at.tzinfo else at.replace(tzinfo=datetime.UTC)
                seconds = Decimal(at.timestamp())
            else:
                seconds = self.decimal(wanted)
        except (ValueError, OverflowError):
            raise self.fault(f"write {wanted}") from None
        if not 0 <= seconds < _LAST_S:
            raise self.fault(f"write {wanted}")
        return round(seconds * 10**6) * 1000

    def nano_usd(self) -> int:
        """Return an amount of US dollars as int nano-dollars, never by way of a float."""
        wanted = "an amount in US dollars, 0 or more, for example 2.50"
        number = self.decimal(wanted)
        if number < 0:
            raise self.fault(f"write {wanted}")
        if (nusd := number.scaleb(9)) != nusd.to_integral_value():
            raise self.fault("write at most nine decimal places")
        return int(nusd)


def _either(options: Collection[str]) -> str:
    return "one of " + ", ".join(options) if len(options) > 1 else next(iter(options))

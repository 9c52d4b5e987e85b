"""`webhooks:`: who is told, and what is wrong with an entry."""

from typing import Any

import pytest

from trunkline.config import Webhook, from_mapping
from trunkline.errors import ConfigError
from trunkline.observability.redact import scrub
from trunkline.types import Secret

GOOD = {"url": "https://h.example/usage", "secret": "a-secret-of-16-and-more"}


def read(*entries: Any) -> tuple[Webhook, ...]:
    """Return the webhooks of a configuration."""
    return from_mapping({"llm_service": {"webhooks": [*entries]}}, {}).webhooks


def test_a_webhook() -> None:
    """Address and secret, which is masked from then on; private only if it says so."""
    near = {**GOOD, "url": "http://127.0.0.1:1/", "allow_private": True}
    first, second = read(GOOD, {**near, "events": ["usage.recorded"]})
    assert first == Webhook(url=GOOD["url"], secret=Secret(GOOD["secret"]))
    assert second.allow_private
    assert scrub(f"it is {GOOD['secret']}") == "it is ***"
    assert GOOD["secret"] not in repr(first)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({**GOOD, "ulr": "x"}, r"\[0\]\.ulr: unknown key; did you mean 'url'"),
        ({"secret": GOOD["secret"]}, r"webhooks\[0\]: found a mapping; url is missing"),
        ({"url": GOOD["url"]}, r"webhooks\[0\]: found a mapping; secret is missing"),
        ({**GOOD, "secret": "short"}, r"secret: found a value that is not shown; write at least"),
        ({**GOOD, "url": "ftp://h/"}, r"url: found 'ftp://h/'; write an address like https"),
        ({**GOOD, "url": "https://h:x/"}, r"url: found .*; write an address like https"),
        ({**GOOD, "url": "https://u:p@h/"}, "without credentials"),
        ({**GOOD, "url": "http://h/"}, "write https://, or allow_private: true"),
        ({**GOOD, "allow_private": "yes"}, "allow_private: found 'yes'; write true or false"),
        ({**GOOD, "events": ["calls"]}, r"events\[0\]: found 'calls'; write usage.recorded"),
        ({**GOOD, "events": []}, "events: found a list; write .usage.recorded., or remove"),
        ("https://h/", r"webhooks\[0\]: found 'https://h/'; write a mapping"),
    ],
)
def test_what_cannot_be(entry: Any, said: str) -> None:
    """Refused with the path of the key and what to write instead."""
    with pytest.raises(ConfigError, match=said):
        read(entry)


def test_one_address_twice() -> None:
    """Refused: what waits is kept under the address."""
    with pytest.raises(ConfigError, match=r"webhooks\[1\]\.url: .* for this address already"):
        read(GOOD, GOOD)

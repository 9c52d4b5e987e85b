"""Where requests go and what they begin with."""

from pathlib import Path

import pytest

from trunkline.errors import ConfigError
from trunkline.transport.address import Address
from trunkline.types import Outgoing

PROXY_ENV = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy and no certificates but those of the test."""
    for name in PROXY_ENV:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def head(url: str = "http://host/v1", **headers: str) -> list[str]:
    """Return the lines of a request's head."""
    outgoing = Outgoing(url=url, headers=headers, body=b"{}")
    return Address(url).head(outgoing).decode("latin-1").split("\r\n")


def test_the_head_has_what_http_needs() -> None:
    """Host, length and no compression; the dialect's headers follow."""
    assert head("http://host:8000/v1/chat?a=%2F", Authorization="Bearer x") == [
        "POST /v1/chat?a=%2F HTTP/1.1",
        "host: host:8000",
        "accept-encoding: identity",
        "user-agent: trunkline",
        "authorization: Bearer x",
        "content-length: 2",
        "",
        "",
    ]


def test_what_describes_the_connection_is_ours() -> None:
    """A configured header cannot break the framing; it may name host and agent."""
    lines = head(
        **{"Transfer-Encoding": "chunked", "Content-Length": "7", "Host": "h", "user-agent": "u"}
    )
    assert "transfer-encoding: chunked" not in lines
    assert "content-length: 2" in lines
    assert "host: h" in lines
    assert "user-agent: u" in lines


@pytest.mark.parametrize("value", ["key\n", "a\r\nx-evil: 1", "a\x00b", "schlüßel\u4e2d"])
def test_a_header_that_http_forbids_is_a_configuration_error(value: str) -> None:
    """The usual cause is a line break at the end of a key file; the value is not repeated."""
    with pytest.raises(ConfigError, match="check api_key and headers") as caught:
        head(authorization=f"Bearer {value}")
    assert value not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "host", "target"),
    [
        ("http://host", "host", "/"),
        ("https://Host:443/v1?a=b%20c#part", "host", "/v1?a=b%20c"),
        ("https://host:80?a", "host:80", "/?a"),
        ("http://[::1]:8000/v1", "[::1]:8000", "/v1"),
        ("http://bücher.example/v1", "xn--bcher-kva.example", "/v1"),
    ],
)
def test_host_and_target_are_as_http_wants_them(url: str, host: str, target: str) -> None:
    """No usual port, no fragment; brackets stay, and other scripts are encoded."""
    address = Address(url)
    assert (address.host, address.target) == (host, target)
    assert not {"[", "]", "ü"} & set(address.hostname)


@pytest.mark.parametrize("url", ["", "host/v1", "ftp://host", "http://", "http://host:99999/"])
def test_an_unusable_url_is_a_configuration_error(url: str) -> None:
    """The message repeats it and says what is missing."""
    with pytest.raises(ConfigError, match="cannot use the URL"):
        Address(url)


@pytest.mark.parametrize("path", ["a b", "é", "a\x00", "a?b c", "a\x7f"])
def test_a_path_that_needs_encoding_is_a_configuration_error(path: str) -> None:
    """It would end the request line early, or begin another."""
    with pytest.raises(ConfigError, match="percent-encoded"):
        Address(f"http://host/{path}")


def test_credentials_in_a_url_become_a_header() -> None:
    """They leave the request line and give way to a header that is set."""
    lines = head("http://me:pa%20ss@host/v1")
    assert "authorization: Basic bWU6cGEgc3M=" in lines
    assert "host: host" in lines
    assert "authorization: Bearer x" in head("http://me:pass@host/v1", authorization="Bearer x")


def test_a_forwarding_proxy_is_sent_the_whole_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over plain HTTP a proxy needs the absolute form, and its own credentials."""
    monkeypatch.setenv("HTTP_PROXY", "http://user:word@proxy:3128")
    lines = head("http://me:pass@host:8000/v1?q=1")
    assert lines[0] == "POST http://host:8000/v1?q=1 HTTP/1.1"
    assert "proxy-authorization: Basic dXNlcjp3b3Jk" in lines


def test_https_goes_through_a_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy's credentials belong to the tunnel, not to the request inside it."""
    monkeypatch.setenv("HTTPS_PROXY", "proxy:3128")
    address = Address("https://host/v1")
    assert str(address.proxy) == "http://proxy:3128"
    assert address.target == "/v1"
    assert "proxy-authorization" not in address.headers
    assert Address("http://host/v1").proxy is None


@pytest.mark.parametrize("hidden", ["host", "host:8000", ".example,host", "*"])
def test_no_proxy_is_honoured(monkeypatch: pytest.MonkeyPatch, hidden: str) -> None:
    """By name, with a port, in a list, and for all."""
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", hidden)
    assert Address("http://host:8000/v1").proxy is None
    assert (Address("http://other:8000/v1").proxy is None) == (hidden == "*")


def test_a_proxy_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Better no call than one that goes round the proxy."""
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy:1080")
    with pytest.raises(ConfigError, match="socks5"):
        Address("https://host/v1")


def test_certificates_that_do_not_exist_are_a_configuration_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """OpenSSL would silently trust nobody."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(ConfigError, match=r"none\.pem"):
        Address("https://host/v1")
    assert Address("http://host/v1").trust is None

"""What the supervisor sends arrives whole, and the end of the link is noticed."""

import socket
from collections.abc import Iterator

import pytest

from trunkline.gateway.link import READY, Link, message


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, Link]]:
    """The supervisor's end and the child's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, Link(theirs.fileno())


def test_messages_in_pieces_and_together(pair: tuple[socket.socket, Link]) -> None:
    """It does not matter where the bytes are cut."""
    ours, link = pair
    data = message(b"one") + message(b"") + message(b"three")
    heard = []
    for cut in (2, 4, 8, len(data)):
        ours.sendall(data[:cut])
        data = data[cut:]
        heard.append(link.hear())
    assert heard == [[], [], [b"one", b""], [b"three"]]
    assert not link.ended


def test_the_first_one_is_waited_for(pair: tuple[socket.socket, Link]) -> None:
    """However long it is; who never gets one has nothing to do."""
    ours, link = pair
    ours.sendall(message(b"x" * 100_000))
    assert len(link.first()) == 100_000
    ours.close()
    with pytest.raises(SystemExit):
        link.first()


def test_ready(pair: tuple[socket.socket, Link]) -> None:
    """The supervisor hears it; nobody minds when there is none any more."""
    ours, link = pair
    link.tell_ready()
    assert ours.recv(9) == READY
    ours.close()
    link.tell_ready()


@pytest.mark.parametrize("unread", [False, True])
def test_the_end(pair: tuple[socket.socket, Link], unread: bool) -> None:
    """Also when the supervisor died without having read what it was told."""
    ours, link = pair
    if unread:
        link.tell_ready()
    ours.close()
    assert link.hear() == []
    assert link.ended

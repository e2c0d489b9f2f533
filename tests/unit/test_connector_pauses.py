"""How eagerly a connector looks for a daemon that does not stay: less and less, and never without end."""

from __future__ import annotations

import os
import socket
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from workroot.connector import meeting, relay
from workroot.connector.conversation import Conversation
from workroot.connector.meeting import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, reach_daemon
from workroot.connector.relay import DaemonRefusedError, Relay
from workroot.errors import DaemonUnavailableError
from workroot.rendezvous import hello_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workroot.connector.meeting import Reaching

PATIENCE = 20.0
MOST_ATTEMPTS = 200


class Clock:
    """A clock that goes only when somebody pauses."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(relay, "monotonic", clock)
    monkeypatch.setattr(meeting, "monotonic", clock)
    return clock


class PassingDaemons:
    """Daemons that take a connection and hang up; each pause before one is noted, and passes at once.

    Attributes:
        pauses: in seconds, one for each attempt.
        last_words: what the daemon of an attempt says before it hangs up, by the number of the attempt.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.pauses: list[float] = []
        self.last_words: dict[int, bytes] = {}

    def reach(self, _patience: float, pause: float) -> Reaching:
        self.pauses.append(pause)
        assert len(self.pauses) < MOST_ATTEMPTS, "it tries again without a pause"
        self._clock.now += pause
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.sendall(self.last_words.get(len(self.pauses), b""))
        ours.setblocking(False)
        return self._found(ours)

    def _found(self, connection: socket.socket) -> Reaching:
        yield from ()
        return connection


@pytest.fixture
def client() -> Iterator[tuple[int, int]]:
    """Both ends that a connector has of a client which says nothing."""
    (client_in, says), (reads, client_out) = os.pipe(), os.pipe()
    yield client_in, client_out
    for descriptor in (client_in, says, reads, client_out):
        os.close(descriptor)


def run(daemons: PassingDaemons, client: tuple[int, int]) -> None:
    """Serve *client* until the connector gives up."""
    connector = Relay(
        Conversation(),
        lambda _again, _listens: b"{}\n",
        daemons.reach,
        lambda _text: None,
        patience=PATIENCE,
        client_in=client[0],
        client_out=client[1],
    )
    with pytest.raises(DaemonRefusedError, match="none kept the connection"):
        connector.run()


def test_pauses_grow_and_are_bounded_while_no_daemon_stays(clock: Clock, client: tuple[int, int]) -> None:
    daemons = PassingDaemons(clock)

    run(daemons, client)

    first, second, *later = daemons.pauses
    assert (first, second, later[0]) == (0.0, 0.0, FIRST_PAUSE_SECONDS)
    assert all(after == min(2 * before, LONGEST_PAUSE_SECONDS) for before, after in pairwise(later))
    assert later[-1] == LONGEST_PAUSE_SECONDS
    assert PATIENCE < sum(daemons.pauses) <= PATIENCE + LONGEST_PAUSE_SECONDS


def test_after_a_daemon_that_served_the_next_one_is_looked_for_at_once(clock: Clock, client: tuple[int, int]) -> None:
    daemons = PassingDaemons(clock)
    daemons.last_words[6] = hello_line(version="1", boot="b", pid=1) + b'{"jsonrpc":"2.0","method":"x"}\n'

    run(daemons, client)

    assert daemons.pauses[5] > FIRST_PAUSE_SECONDS
    assert daemons.pauses[6:8] == [0.0, FIRST_PAUSE_SECONDS]


def test_pauses_grow_and_are_bounded_while_no_daemon_is_there(clock: Clock, tmp_path: Path) -> None:
    pauses: list[float] = []

    def wait() -> None:
        for _, pause in reach_daemon(str(tmp_path), None, patience=PATIENCE, pause=0.7):
            pauses.append(pause)
            assert len(pauses) < MOST_ATTEMPTS, "it does not give up"
            clock.now += pause

    with pytest.raises(DaemonUnavailableError):
        wait()

    asked_for, *later = pauses
    assert (asked_for, later[0], later[-1]) == (0.7, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
    assert all(after == min(2 * before, LONGEST_PAUSE_SECONDS) for before, after in pairwise(later))
    assert sum(pauses) <= PATIENCE

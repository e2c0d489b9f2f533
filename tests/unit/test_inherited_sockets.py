"""What a service manager hands over is used only if it is what this daemon would have made."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from workroot import inherited_sockets
from workroot.errors import RendezvousError
from workroot.inherited_sockets import (
    LAUNCHD_LABEL,
    READY,
    Inherited,
    is_supervised,
    notify,
    reloading,
    take_inherited,
)

Hand = Callable[..., dict[str, str]]
"""Puts sockets where a service manager's would be, and returns the variables that announce them."""


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="wr-") as directory:
        yield Path(directory)


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hand]:
    """The number 3 belongs to the test runner; others stand for it."""
    first = 700
    handed: list[int] = []

    def give(*given: socket.socket | int, names: str = "") -> dict[str, str]:
        for number, one in enumerate(given, first):
            os.dup2(one if isinstance(one, int) else one.fileno(), number)
            handed.append(number)
        announced = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(given))}
        return announced | ({"LISTEN_FDNAMES": names} if names else {})

    monkeypatch.setattr(inherited_sockets, "_FIRST_DESCRIPTOR", first)
    yield give
    for number in handed:
        inherited_sockets._close_if_open(number)


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def unix(place: Path, opened: ExitStack, *, mode: int = 0o600, listens: bool = True) -> socket.socket:
    made = opened.enter_context(socket.socket(socket.AF_UNIX))
    made.bind(str(place / "daemon.sock"))
    os.chmod(place / "daemon.sock", mode)
    if listens:
        made.listen()
    return made


def tcp(opened: ExitStack, host: str = "127.0.0.1") -> socket.socket:
    made = opened.enter_context(socket.socket(socket.AF_INET))
    made.bind((host, 0))
    made.listen()
    return made


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_without_a_service_manager_nothing_is_inherited(place: Path) -> None:
    assert take_inherited(str(place / "daemon.sock"), environment={}) == Inherited(None, None)


def test_both_sockets_are_taken_whatever_their_order(place: Path, hand: Hand, opened: ExitStack) -> None:
    http = tcp(opened)
    environment = hand(http, unix(place, opened), names="http:unix")

    taken = take_inherited(str(place / "daemon.sock"), environment=environment)

    assert taken.unix is not None
    assert taken.http is not None
    with taken.unix, taken.http:
        assert taken.unix.getsockname() == str(place / "daemon.sock")
        assert taken.http.getsockname() == http.getsockname()
        for one in (taken.unix, taken.http):
            assert not one.get_inheritable()
            assert not one.getblocking()


def test_no_child_takes_them_for_its_own(place: Path, hand: Hand, opened: ExitStack) -> None:
    environment = {**hand(unix(place, opened), names="unix"), "HOME": "/home/ada"}

    taken = take_inherited(str(place / "daemon.sock"), environment=environment)

    assert environment == {"HOME": "/home/ada"}
    assert taken.unix is not None
    taken.unix.close()


def test_what_is_meant_for_another_process_is_left_alone(place: Path, hand: Hand, opened: ExitStack) -> None:
    environment = hand(unix(place, opened)) | {"LISTEN_PID": str(os.getppid())}

    assert take_inherited(str(place / "daemon.sock"), environment=environment) == Inherited(None, None)
    assert is_open(700)
    assert environment == {}


@pytest.mark.parametrize("count", ["", "-1", "two", "65", "9" * 5000, "\u0663"])
def test_a_count_that_is_none_is_refused(place: Path, count: str) -> None:
    environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count}

    with pytest.raises(RendezvousError, match="LISTEN_FDS is no number"):
        take_inherited(str(place / "daemon.sock"), environment=environment)


def refused(environment: dict[str, str], path: Path, http_port: int | None = None) -> str:
    count = int(environment["LISTEN_FDS"])
    with pytest.raises(RendezvousError) as caught:
        take_inherited(str(path), http_port=http_port, environment=environment)
    assert not any(is_open(number) for number in range(700, 700 + count)), "a refused socket stays open"
    return str(caught.value)


def test_a_socket_at_another_path_is_refused(place: Path, hand: Hand, opened: ExitStack) -> None:
    said = refused(hand(unix(place, opened), names="mine"), place / "other.sock")

    assert "700 (mine) listens at" in said
    assert "other.sock" in said


def test_an_abstract_socket_is_refused(place: Path, hand: Hand, opened: ExitStack) -> None:
    abstract = opened.enter_context(socket.socket(socket.AF_UNIX))
    abstract.bind(f"\0{place}/daemon.sock")
    abstract.listen()

    assert "but clients look for" in refused(hand(abstract), place / "daemon.sock")


def test_a_socket_that_others_may_reach_is_refused(place: Path, hand: Hand, opened: ExitStack) -> None:
    assert "SocketMode=0600" in refused(hand(unix(place, opened, mode=0o660)), place / "daemon.sock")


def test_a_socket_in_a_directory_that_others_may_enter_is_refused(place: Path, hand: Hand, opened: ExitStack) -> None:
    handed = hand(unix(place, opened))
    os.chmod(place, 0o755)

    assert "chmod 700" in refused(handed, place / "daemon.sock")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_socket_of_another_user_is_refused(place: Path, hand: Hand, opened: ExitStack) -> None:
    handed = hand(unix(place, opened))
    os.chown(place / "daemon.sock", 65534, 65534)

    assert "is not a socket of this user" in refused(handed, place / "daemon.sock")


def test_a_socket_whose_file_was_removed_is_refused(place: Path, hand: Hand, opened: ExitStack) -> None:
    handed = hand(unix(place, opened))
    os.unlink(place / "daemon.sock")

    assert "was removed" in refused(handed, place / "daemon.sock")


def test_what_does_not_listen_is_refused(place: Path, hand: Hand, opened: ExitStack) -> None:
    assert "not a listening" in refused(hand(unix(place, opened, listens=False)), place / "daemon.sock")


def test_what_is_no_socket_is_refused_and_what_came_before_is_closed(
    place: Path, hand: Hand, opened: ExitStack
) -> None:
    with open(place / "file", "wb") as file:
        handed = hand(tcp(opened), file.fileno())

    assert "701 (without a name) is not a socket" in refused(handed, place / "daemon.sock")


def test_a_second_socket_of_a_kind_is_refused(place: Path, hand: Hand, opened: ExitStack) -> None:
    assert "second listening socket for http" in refused(hand(tcp(opened), tcp(opened)), place / "daemon.sock")


def test_http_beyond_this_machine_is_refused(place: Path, hand: Hand, opened: ExitStack) -> None:
    assert "0.0.0.0, which is more than" in refused(hand(tcp(opened, "0.0.0.0")), place / "daemon.sock")


def test_http_on_another_port_than_clients_know_is_refused(place: Path, hand: Hand, opened: ExitStack) -> None:
    http = tcp(opened)

    assert "clients were told 1" in refused(hand(http), place / "daemon.sock", http_port=1)


def test_datagrams_and_ipv6_are_refused(place: Path, hand: Hand, opened: ExitStack) -> None:
    for made in (socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET6)):
        opened.enter_context(made)
        assert "not a listening" in refused(hand(made), place / "daemon.sock")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"LISTEN_PID": "{own}"}, True),
        ({"LISTEN_PID": "1"}, False),
        ({"NOTIFY_SOCKET": "/run/notify"}, True),
        ({"NOTIFY_SOCKET": ""}, False),
        ({"INVOCATION_ID": "f00", "SYSTEMD_EXEC_PID": "{own}"}, True),
        ({"INVOCATION_ID": "f00", "SYSTEMD_EXEC_PID": "1"}, False),
        ({"INVOCATION_ID": "f00"}, True),
        ({"XPC_SERVICE_NAME": LAUNCHD_LABEL}, True),
        ({"XPC_SERVICE_NAME": "application.com.apple.Terminal"}, False),
    ],
)
def test_only_the_process_that_a_manager_started_is_supervised(environment: dict[str, str], expected: bool) -> None:
    own = {name: value.format(own=os.getpid()) for name, value in environment.items()}

    assert is_supervised(own) is expected


@pytest.mark.parametrize("is_abstract", [False, True])
def test_the_manager_hears_how_it_goes(place: Path, is_abstract: bool) -> None:
    address = f"{place}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(5)
        manager.bind(f"\0{address}" if is_abstract else address)

        assert notify(READY, {"NOTIFY_SOCKET": f"@{address}" if is_abstract else address})
        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "@", "vsock:2:1", "relative", "/nowhere/at/all", "/" + "x" * 200])
def test_telling_nobody_is_no_error(address: str) -> None:
    assert not notify(READY, {"NOTIFY_SOCKET": address})


def test_a_reload_says_when_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.clock_gettime_ns", lambda _clock: 12_345_678_999)

    assert reloading() == "RELOADING=1\nMONOTONIC_USEC=12345678"

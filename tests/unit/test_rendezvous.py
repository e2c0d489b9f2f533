from __future__ import annotations

import json
import os
import pwd
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from workroot import rendezvous
from workroot.errors import RendezvousError

if TYPE_CHECKING:
    from pathlib import Path


def test_home_alone_tells_where_the_state_lies() -> None:
    state = rendezvous.state_directory({"HOME": "/home/ada"})
    assert state.startswith("/home/ada/")
    assert state.endswith("workroot")


def test_workroot_home_decides_where_the_state_lies() -> None:
    assert rendezvous.state_directory({"HOME": "/home/ada", "WORKROOT_HOME": "/srv/w/"}) == "/srv/w"


def test_the_socket_lies_below_a_directory_of_this_host() -> None:
    path = rendezvous.socket_path("/s")
    assert path == f"{rendezvous.run_directory('/s')}/daemon.sock"
    assert path.startswith("/s/run/")


def test_a_path_too_long_for_a_socket_goes_through_a_short_one_of_its_own() -> None:
    long, longer = "/" + "x" * 120, "/" + "x" * 121
    assert len(rendezvous.socket_path(long)) <= 100
    assert rendezvous.socket_path(long) != rendezvous.socket_path(longer)
    assert rendezvous.socket_path(long) == rendezvous.socket_path(long)
    assert f"-{os.getuid()}-" in rendezvous.socket_path(long)


def test_a_daemon_inherits_only_what_is_on_the_list() -> None:
    environment = {"HOME": "/h", "PATH": "/bin", "PYTHONPATH": "/evil", "PWD": "/p", "WORKROOT_LOG": "x", "TOKEN": "t"}
    assert rendezvous.daemon_environment(environment) == {"HOME": "/h", "PATH": "/bin", "WORKROOT_LOG": "x"}


def test_a_daemon_that_works_elsewhere_is_told_the_whole_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert rendezvous.daemon_environment({"WORKROOT_HOME": "state"}) == {"WORKROOT_HOME": f"{tmp_path}/state"}


def test_a_hello_line_comes_back_as_it_was_said() -> None:
    line = rendezvous.hello_line(role="mcp", directory=None, environment={"PWD": "/caf\u00e9\udcff"}, boot="b")
    assert line.count(b"\n") == 1
    assert rendezvous.parse_hello(line) == {
        "workroot": 1,
        "oldest": 1,
        "role": "mcp",
        "environment": {"PWD": "/caf\u00e9\udcff"},
        "boot": "b",
    }


@pytest.mark.parametrize("line", [b"", b"\n", b"[]", b"{}", b'{"id": 1}', b"\xff", b"[" * 100_000])
def test_what_is_no_hello_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match="not a workroot hello"):
        rendezvous.parse_hello(line)


@pytest.mark.parametrize("number", ["1", 1.0, 0, -1, True, None, [1]])
def test_a_hello_without_a_protocol_number_is_refused(number: object) -> None:
    with pytest.raises(ValueError, match="not a workroot hello"):
        rendezvous.parse_hello(json.dumps({"workroot": number}).encode())


def test_fields_that_are_not_known_are_kept_and_harm_nothing() -> None:
    fields = rendezvous.parse_client_hello(b'{"workroot": 1, "oldest": 1, "role": "mcp", "mood": {"deep": []}}')
    assert fields["mood"] == {"deep": []}


@pytest.mark.parametrize(
    ("ours", "theirs", "common"),
    [
        ((1, 1), (1, 1), 1),
        ((1, 1), (1, 4), 1),
        ((1, 4), (1, 1), 1),
        ((2, 4), (3, 9), 4),
        ((3, 9), (2, 4), 4),
        ((1, 9), (4, 4), 4),
    ],
)
def test_both_sides_meet_at_the_highest_protocol_that_both_know(
    monkeypatch: pytest.MonkeyPatch, ours: tuple[int, int], theirs: tuple[int, int], common: int
) -> None:
    for sender, mine, said in (("client", ours, theirs), ("daemon", theirs, ours)):
        monkeypatch.setattr(rendezvous, "OLDEST_WIRE_VERSION", mine[0])
        monkeypatch.setattr(rendezvous, "WIRE_VERSION", mine[1])
        assert rendezvous.common_wire({"oldest": said[0], "workroot": said[1]}, sender=sender) == common


@pytest.mark.parametrize(
    ("sender", "ours", "theirs", "message"),
    [
        ("daemon", (2, 3), (1, 1), r"the daemon speaks protocol 1, this client 2 to 3: the daemon .* upgrade`$"),
        ("daemon", (1, 1), (2, 3), r"the daemon speaks protocol 2 to 3, this client 1: the client .* restart this"),
        ("client", (2, 3), (1, 1), r"the client speaks protocol 1, this daemon 2 to 3: the client .* restart this"),
        ("client", (1, 1), (2, 3), r"the client speaks protocol 2 to 3, this daemon 1: the daemon .* upgrade`$"),
    ],
)
def test_without_a_common_protocol_both_sides_name_the_older_one_and_the_cure(
    monkeypatch: pytest.MonkeyPatch, sender: str, ours: tuple[int, int], theirs: tuple[int, int], message: str
) -> None:
    monkeypatch.setattr(rendezvous, "OLDEST_WIRE_VERSION", ours[0])
    monkeypatch.setattr(rendezvous, "WIRE_VERSION", ours[1])
    with pytest.raises(ValueError, match=message):
        rendezvous.common_wire({"oldest": theirs[0], "workroot": theirs[1]}, sender=sender)


@pytest.mark.parametrize("oldest", [None, "1", 0, True, 9])
def test_one_that_says_no_range_knows_the_one_number_that_it_says(
    monkeypatch: pytest.MonkeyPatch, oldest: object
) -> None:
    monkeypatch.setattr(rendezvous, "WIRE_VERSION", 2)
    assert rendezvous.common_wire({"workroot": 2, "oldest": oldest}, sender="daemon") == 2
    with pytest.raises(ValueError, match="speaks protocol 3"):
        rendezvous.common_wire({"workroot": 3, "oldest": oldest}, sender="daemon")


def test_a_control_client_is_heard_whatever_protocol_it_speaks() -> None:
    assert rendezvous.parse_client_hello(b'{"workroot": 9, "oldest": 9, "role": "control"}')["workroot"] == 9
    with pytest.raises(ValueError, match="protocol 9"):
        rendezvous.parse_client_hello(b'{"workroot": 9, "oldest": 9, "role": "mcp"}')


def test_an_installation_is_the_environment_around_it_or_the_checkout_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = tmp_path / "venv/lib/python3/site-packages/workroot/rendezvous.py"
    (tmp_path / "link").symlink_to(tmp_path / "venv")
    monkeypatch.setattr(rendezvous, "__file__", str(module))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "link"))
    assert rendezvous.installation() == str(tmp_path / "venv")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "ven"))
    assert rendezvous.installation() == str(tmp_path / "venv/lib/python3/site-packages")


def test_the_meeting_place_is_made_for_its_user_alone_whatever_the_umask(tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    before = os.umask(0)
    try:
        path = rendezvous.prepare_meeting_place(state)
        os.umask(0o777)
        rendezvous.prepare_meeting_place(state)
    finally:
        os.umask(before)
    directory = os.path.dirname(path)
    while directory != str(tmp_path):
        assert os.stat(directory).st_mode & 0o777 == 0o700, directory
        directory = os.path.dirname(directory)


def test_a_short_way_to_a_long_path_is_made_for_its_user_alone(tmp_path: Path) -> None:
    path = rendezvous.prepare_meeting_place(str(tmp_path / ("x" * 120)))
    assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700
    os.rmdir(os.path.dirname(path))


@pytest.mark.parametrize("mode", [0o701, 0o710, 0o720, 0o777])
def test_a_directory_that_others_may_enter_is_refused_with_the_cure(tmp_path: Path, mode: int) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    directory.chmod(mode)
    with pytest.raises(RendezvousError, match=rf"chmod 700 '{directory}'"):
        rendezvous.check_private_directory(str(directory))
    with pytest.raises(RendezvousError):
        rendezvous.make_private_directory(str(directory))
    assert directory.stat().st_mode & 0o777 == mode, "somebody may have put something there; that is not ours to hide"


def test_a_link_is_no_meeting_place(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    with pytest.raises(RendezvousError, match="not a directory"):
        rendezvous.make_private_directory(str(tmp_path / "link"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_another_user_s_directory_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    directory.mkdir(mode=0o700)
    os.chown(directory, 12345, -1)
    with pytest.raises(RendezvousError, match="12345"):
        rendezvous.check_private_directory(str(directory))


def test_a_private_directory_is_made_with_its_parents(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "state"

    rendezvous.make_private_directory(str(path))
    rendezvous.make_private_directory(str(path))

    assert stat.S_IMODE(path.stat().st_mode) == 0o700


@pytest.mark.parametrize("home", ["", "relative/home"])
def test_a_home_that_is_no_absolute_path_is_looked_up(home: str) -> None:
    assert rendezvous.home_directory({"HOME": home}) == pwd.getpwuid(os.getuid()).pw_dir
    assert os.path.isabs(rendezvous.state_directory({"HOME": home}))

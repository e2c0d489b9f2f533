from __future__ import annotations

import os
import pwd
import stat
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
        "role": "mcp",
        "environment": {"PWD": "/caf\u00e9\udcff"},
        "boot": "b",
    }


@pytest.mark.parametrize("line", [b"", b"\n", b"[]", b"{}", b'{"id": 1}', b"\xff", b"[" * 100_000])
def test_what_is_no_hello_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match="not a workroot hello"):
        rendezvous.parse_hello(line)


def test_a_hello_of_another_protocol_says_which() -> None:
    with pytest.raises(ValueError, match="speaks protocol 2, this one 1"):
        rendezvous.parse_hello(b'{"workroot": 2}')


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

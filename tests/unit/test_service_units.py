"""The units and the agent as they are written: golden files, and what systemd itself says of them."""

from __future__ import annotations

import os
import plistlib
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from workroot.errors import ServiceError
from workroot.service.installation import Installation, find_installation
from workroot.service.launchd_agent import launchd_agent
from workroot.service.systemd_units import service_unit, socket_unit

GOLDEN = Path(__file__).with_name("service_files")
ANALYZE = shutil.which("systemd-analyze", path="/usr/bin:/bin")

needs_analyze = pytest.mark.skipif(ANALYZE is None, reason="there is no systemd-analyze on this machine")


def installed(
    python: str = "/opt/workroot/bin/python3", state: str = "/home/ada/.local/state/workroot"
) -> Installation:
    return Installation(python=python, state=state, names_state=state != "/home/ada/.local/state/workroot")


@pytest.fixture
def _named_host(monkeypatch: pytest.MonkeyPatch) -> None:
    node = os.uname_result(("Linux", "lab", "6", "1", "x86_64"))
    monkeypatch.setattr("os.uname", lambda: node)


@pytest.mark.usefixtures("_named_host")
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("workroot.socket", lambda: socket_unit(installed())),
        ("workroot.service", lambda: service_unit(installed())),
        ("elsewhere.socket", lambda: socket_unit(installed(state='/srv/a 100% "$HOME" ü'))),
        ("elsewhere.service", lambda: service_unit(installed("/opt/$x 5%/python3", '/srv/a 100% "$HOME" ü'))),
        ("workroot.daemon.plist", lambda: launchd_agent(installed())),
    ],
)
def test_the_files_are_as_reviewed(name: str, text: object) -> None:
    assert callable(text)
    assert text() == (GOLDEN / name).read_text()


def test_the_agent_names_the_state_only_if_it_has_to() -> None:
    usual = plistlib.loads(launchd_agent(installed()).encode())
    other = plistlib.loads(launchd_agent(installed(state="/srv/<a> & b")).encode())

    assert "EnvironmentVariables" not in usual
    assert other["EnvironmentVariables"] == {"WORKROOT_HOME": "/srv/<a> & b"}
    assert usual["KeepAlive"] == {"SuccessfulExit": False}
    assert usual["ProgramArguments"] == ["/opt/workroot/bin/python3", "-I", "-m", "workroot", "serve"]


@needs_analyze
@pytest.mark.parametrize(
    "name",
    ["plain", "a b", "100%h", "d$HOME", "${X}", "ü日本", "#x", ";x", "end ", "@x", "-x", "nb\u00a0sp", "\u202etxt"],
)
def test_systemd_accepts_the_units_wherever_workroot_is_installed(tmp_path: Path, name: str) -> None:
    python = tmp_path / name / "python3"
    python.parent.mkdir()
    python.touch(0o755)

    assert verify(tmp_path, installed(str(python), str(tmp_path / name / "state"))) == ""


@needs_analyze
def test_the_check_by_systemd_can_fail(tmp_path: Path) -> None:
    assert "is not executable" in verify(tmp_path, installed(str(tmp_path / "missing")))


@pytest.mark.parametrize("letter", ["'", '"', "\\"])
def test_a_program_that_systemd_would_refuse_is_refused_with_the_reason(letter: str) -> None:
    with pytest.raises(ServiceError, match="systemd starts no program whose path holds"):
        service_unit(installed(f"/opt/a{letter}b/python3"))


def test_a_socket_with_a_long_path_lies_where_clients_look_for_it() -> None:
    installation = installed(state=f"/srv/{'long/' * 30}")

    assert f"ListenStream={installation.socket_path}\n" in socket_unit(installation)


@pytest.mark.usefixtures("_named_host")
def test_a_host_whose_name_is_spelled_otherwise_in_paths_is_named_as_it_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    odd = os.uname_result(("Linux", "lab 7", "6", "1", "x86_64"))
    monkeypatch.setattr("os.uname", lambda: odd)

    assert "/run/lab_7/daemon.sock\n" in socket_unit(installed())


def test_the_state_is_named_when_a_service_would_choose_another() -> None:
    usual = find_installation({"HOME": "/home/ada"}, login_home="/home/ada")
    same = find_installation({"HOME": "/home/ada", "WORKROOT_HOME": usual.state}, login_home="/home/ada")
    chosen = find_installation({"HOME": "/home/ada", "WORKROOT_HOME": "/srv/w"}, login_home="/home/ada")
    elsewhere = find_installation({"HOME": "/tmp/home"}, login_home="/home/ada")

    assert [one.names_state for one in (usual, same, chosen, elsewhere)] == [False, False, True, True]


@pytest.mark.parametrize("state", ["/srv/new\nline", "/srv/\x1b[31m", "/srv/\udcff", "/srv/\x85"])
def test_a_path_that_no_unit_can_hold_is_refused(state: str) -> None:
    with pytest.raises(ServiceError, match="control characters or is not UTF-8"):
        find_installation({"WORKROOT_HOME": state})


def test_a_python_that_does_not_know_its_place_is_refused() -> None:
    with pytest.raises(ServiceError, match="not known which Python"):
        find_installation({"HOME": "/home/ada"}, python="")


@pytest.mark.parametrize(
    ("python", "expected"),
    [("/home/ada/.cache/uv/archive-v0/x/bin/python", True), ("/home/ada/.local/pipx/venvs/workroot/bin/python", False)],
)
def test_an_installation_in_a_cache_is_a_passing_one(python: str, expected: bool) -> None:
    assert installed(python).is_passing({"HOME": "/home/ada"}) is expected


def verify(directory: Path, installation: Installation) -> str:
    """Return what `systemd-analyze verify` complains about."""
    units = directory / "units"
    units.mkdir()
    (units / "workroot.socket").write_text(socket_unit(installation))
    (units / "workroot.service").write_text(service_unit(installation))
    runtime = directory / "runtime"
    runtime.mkdir(stat.S_IRWXU)
    ended = subprocess.run(
        [str(ANALYZE), "--user", "verify", "--man=no", *map(str, sorted(units.iterdir()))],
        env={"XDG_RUNTIME_DIR": str(runtime), "HOME": str(directory), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return ended.stderr + ("" if ended.returncode == 0 else f"exit {ended.returncode}")

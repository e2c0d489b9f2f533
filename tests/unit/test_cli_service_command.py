"""`workroot service` against service managers that are scripts: what they are told, and what is said of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import anyio
import pytest
from click.testing import CliRunner, Result
from fake_daemon import FakeDaemon, short_directory

from workroot import rendezvous
from workroot.cli.exit_codes import ExitCode
from workroot.cli.program import program
from workroot.instance import hold_instance
from workroot.service.host import Host

SYSTEMCTL = """#!/bin/sh
echo "$*" >>calls
for name in HOME XDG_RUNTIME_DIR WORKROOT_HOME; do eval "[ -n \\"\\$$name\\" ] && echo $name" >>variables; done
case "$*" in
"--user show --property=Version") [ ! -e silent ] ;;
"--user show "*" workroot.socket") cat socket ;;
"--user show "*" workroot.service") cat service ;;
"--user reset-failed "*) exit 1 ;;
"--user enable workroot.socket") [ ! -e full ] || { echo "No space left on device" >&2; exit 1; } ;;
esac
"""
STARTED = 'echo "$PWD $PATH" >>TOP/bin/started'
LAUNCHCTL = """#!/bin/sh
echo "$*" >>calls
case "$*" in
"print gui/501") [ ! -e silent ] ;;
"print gui/501/workroot.daemon") [ -e loaded ] && printf '\\tstate = running\\n\\tpid = 4711\\n' ;;
esac
"""
ACTIVE = "UnitFileState=enabled\nActiveState=active\nSubState=listening\nNeedDaemonReload=no\n"
IDLE = "UnitFileState=disabled\nActiveState=inactive\nSubState=dead\nNeedDaemonReload=no\nMainPID=0\n"
INSTALLED = [
    "--user daemon-reload",
    "--user reset-failed workroot.socket workroot.service",
    "--user enable workroot.socket",
    "--user disable workroot.service",
    "--user restart workroot.socket",
]


@dataclass
class System:
    """A system with a service manager, and a user's home on it."""

    top: Path
    host: Host

    @property
    def units(self) -> Path:
        return self.top / "home" / ".config" / "systemd" / "user"

    @property
    def state(self) -> Path:
        return self.top / "state"

    @property
    def changes(self) -> list[str]:
        """What the manager was told to do, in order."""
        calls = self.top / "bin" / "calls"
        said = calls.read_text().splitlines() if calls.exists() else []
        return [line for line in said if not line.startswith(("--user show", "print"))]

    def put(self, name: str, content: str = "") -> None:
        (self.top / "bin" / name).write_text(content)

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(program, ["service", *arguments], obj=self.host)


def system(top: Path, name: str, script: str, platform: str) -> System:
    for directory in ("bin", "home", "booted", "users/501"):
        (top / directory).mkdir(parents=True)
    path = top / "bin" / name
    path.write_text(
        script.replace(
            "#!/bin/sh\n", f"#!/bin/sh\n{STARTED}\nPATH=/usr/bin:/bin\ncd {top}/bin\n".replace("TOP", str(top))
        )
    )
    path.chmod(0o755)
    made = Host(
        platform=platform,
        environment={"HOME": f"{top}/home", "WORKROOT_HOME": f"{top}/state", "LD_PRELOAD": "/evil.so", "PATH": "/evil"},
        program_directories=(f"{top}/bin",),
        booted_mark=f"{top}/booted",
        runtime_directories=f"{top}/users",
        kernel="6.1",
        user_id=501,
    )
    return System(top, made)


@pytest.fixture
def linux() -> Iterator[System]:
    with short_directory() as directory:
        made = system(directory, "systemctl", SYSTEMCTL, "linux")
        made.put("socket", ACTIVE)
        made.put("service", IDLE)
        yield made


@pytest.fixture
def mac() -> Iterator[System]:
    with short_directory() as directory:
        yield system(directory, "launchctl", LAUNCHCTL, "darwin")


def test_installing_writes_the_units_and_starts_the_socket(linux: System) -> None:
    result = linux.run("install")

    assert result.exit_code == ExitCode.OK, result.stderr
    assert sorted(os.listdir(linux.units)) == ["workroot.service", "workroot.socket"]
    assert linux.changes == INSTALLED
    assert f"wrote {linux.units}/workroot.socket" in result.stdout
    assert os.stat(os.path.dirname(rendezvous.socket_path(str(linux.state)))).st_mode & 0o777 == 0o700


def test_the_manager_learns_no_more_of_the_environment_than_it_needs(linux: System) -> None:
    linux.run("install")

    assert set((linux.top / "bin" / "variables").read_text().split()) == {"HOME", "XDG_RUNTIME_DIR"}
    assert set((linux.top / "bin" / "started").read_text().splitlines()) == {f"/ {linux.top}/bin"}


def test_installing_again_changes_nothing(linux: System) -> None:
    linux.run("install")
    before = [path.stat().st_ino for path in linux.units.iterdir()]
    linux.put("calls")

    result = linux.run("install")

    assert result.exit_code == ExitCode.OK
    assert [path.stat().st_ino for path in linux.units.iterdir()] == before
    assert linux.changes == [*INSTALLED[:-1], "--user start workroot.socket"]


def test_with_http_on_the_daemon_starts_at_login(linux: System) -> None:
    linux.state.mkdir(0o700)
    (linux.state / "config.toml").write_text("http = true\n")

    linux.run("install")

    assert linux.changes[3:] == [
        "--user enable workroot.service",
        "--user restart workroot.socket",
        "--user start --no-block workroot.service",
    ]


def test_wrong_settings_are_said_before_anything_is_written(linux: System) -> None:
    linux.state.mkdir(0o700)
    (linux.state / "config.toml").write_text("htpp = true\n")

    result = linux.run("install")

    assert result.exit_code == ExitCode.FAILED
    assert "htpp" in result.stderr
    assert not linux.units.exists()
    assert linux.changes == []


def test_a_dry_run_shows_all_and_does_nothing(linux: System) -> None:
    result = linux.run("install", "--dry-run")

    assert result.exit_code == ExitCode.OK
    assert f"{linux.units}/workroot.service:" in result.stdout
    assert "ListenStream=" in result.stdout
    assert "systemctl --user restart workroot.socket" in result.stdout
    assert not linux.units.exists()
    assert not linux.state.exists()
    assert linux.changes == []


def test_a_dry_run_as_json_has_the_files_whole(linux: System) -> None:
    planned = json.loads(linux.run("install", "--dry-run", "--json").stdout)
    linux.run("install")

    assert {file["path"]: file["text"] for file in planned["files"]} == {
        str(path): path.read_text() for path in linux.units.iterdir()
    }


def test_a_unit_that_is_not_ours_is_never_replaced(linux: System) -> None:
    linux.units.mkdir(parents=True)
    mine = linux.units / "workroot.service"
    mine.write_text("[Service]\nExecStart=/mine\n")

    for arguments in (["install"], ["install", "--force"]):
        result = linux.run(*arguments)
        assert result.exit_code == ExitCode.FAILED
        assert "is not one of workroot's files; nothing was changed" in result.stderr
    assert os.listdir(linux.units) == ["workroot.service"]
    assert mine.read_text() == "[Service]\nExecStart=/mine\n"
    assert linux.changes == []


def test_a_unit_changed_by_hand_is_replaced_only_when_told_so(linux: System) -> None:
    linux.run("install")
    edited = linux.units / "workroot.service"
    original = edited.read_text()
    edited.write_text(original + "Nice=5\n")

    for command in ("install", "uninstall"):
        result = linux.run(command)
        assert result.exit_code == ExitCode.FAILED
        assert "was changed by hand" in result.stderr
    assert edited.read_text() == original + "Nice=5\n"

    assert linux.run("install", "--force").exit_code == ExitCode.OK
    assert edited.read_text() == original


def test_a_manager_that_refuses_is_quoted(linux: System) -> None:
    linux.put("full")

    result = linux.run("install", "--json")

    assert result.exit_code == ExitCode.FAILED
    said = json.loads(result.stdout)["error"]
    assert said["code"] == "service"
    assert "`systemctl --user enable workroot.socket` failed: No space left on device" in said["message"]


def test_a_user_whose_manager_does_not_answer_is_told_what_to_run_later(linux: System) -> None:
    linux.put("silent")

    result = linux.run("install")

    assert result.exit_code == ExitCode.OK
    assert sorted(os.listdir(linux.units)) == ["workroot.service", "workroot.socket"]
    assert linux.changes == []
    assert "run these once you are logged in" in result.stderr
    for command in INSTALLED:
        assert f"    systemctl {command}\n" in result.stderr
    assert json.loads(linux.run("install", "--json").stdout)["to_run"][0] == "systemctl --user daemon-reload"


@pytest.mark.parametrize("lacks", ["systemctl", "systemd"])
def test_a_system_without_systemd_says_what_to_do_instead(linux: System, lacks: str) -> None:
    if lacks == "systemctl":
        (linux.top / "bin" / "systemctl").unlink()
    else:
        (linux.top / "booted").rmdir()

    result = linux.run("install")

    assert result.exit_code == ExitCode.FAILED
    assert "None is needed" in result.stderr
    assert "wsl" not in result.stderr.lower()
    assert not linux.units.exists()
    assert linux.run("install", "--dry-run").exit_code == ExitCode.OK


def test_status_of_a_system_without_systemd_is_that_there_is_no_service_and_none_is_needed(linux: System) -> None:
    linux.run("install")
    keys = json.loads(linux.run("status", "--json").stdout).keys()
    (linux.top / "booted").rmdir()

    result, as_json = linux.run("status"), linux.run("status", "--json")

    assert (result.exit_code, as_json.exit_code) == (ExitCode.FAILED, ExitCode.FAILED)
    assert result.stdout.startswith("not installed, and not possible here: ")
    assert "None is needed" in result.stdout
    assert result.stderr == ""
    document = json.loads(as_json.stdout)
    assert document.keys() == keys
    assert (document["manager"], document["installed"]) == (None, False)


def test_in_windows_the_way_to_systemd_is_named(linux: System) -> None:
    (linux.top / "booted").rmdir()
    linux.host = replace(linux.host, kernel="5.15.167.4-microsoft-standard-WSL2")

    assert "/etc/wsl.conf" in linux.run("install").stderr


def test_a_program_on_the_path_is_not_taken_for_the_systems(linux: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(linux.top / "bin"))
    linux.host = replace(linux.host, program_directories=(str(linux.top / "usr-bin"),))

    assert linux.run("install").exit_code == ExitCode.FAILED
    assert not (linux.top / "bin" / "calls").exists()


def test_variables_that_the_service_will_not_see_are_named(linux: System) -> None:
    linux.host = replace(linux.host, environment={**linux.host.environment, "WORKROOT_HTTP": "1"})

    result = linux.run("install")

    assert "does not see WORKROOT_HTTP" in result.stderr
    assert "--user disable workroot.service" in linux.changes


# A daemon that runs already


@asynccontextmanager
async def running_daemon(linux: System, pid: int, after_stop: Callable[[], object]) -> AsyncIterator[FakeDaemon]:
    """Run a daemon that holds the lock, says that it is process *pid*, and does something when told to stop."""
    hello = b'{"workroot":1,"version":"0.1.0","boot":"b00t","pid":%d}\n' % pid
    fake = FakeDaemon(linux.state, {"stop": {}}, hello=hello, after={"stop": after_stop}, has_lock=False)
    linux.state.mkdir(0o700)
    async with fake.running():
        (linux.state / "run").chmod(0o700)
        with hold_instance(rendezvous.instance_lock_path(str(linux.state))):
            yield fake


@pytest.fixture
def old() -> Iterator[subprocess.Popen[bytes]]:
    """A process to be taken for a daemon's."""
    with subprocess.Popen([sys.executable, "-Ic", "input()"], stdin=subprocess.PIPE) as process:
        yield process


async def test_a_daemon_that_runs_already_makes_room_once_the_socket_is_there(
    linux: System, old: subprocess.Popen[bytes]
) -> None:
    told: list[str] = []

    def end() -> None:
        told.extend(linux.changes)
        old.kill()

    async with running_daemon(linux, old.pid, end):
        result = await anyio.to_thread.run_sync(partial(linux.run, "install"))

    assert result.exit_code == ExitCode.OK, result.stderr
    assert f"stopped the daemon that ran before (pid {old.pid})" in result.stdout
    assert told == INSTALLED


async def test_the_services_own_daemon_is_left_to_the_manager(linux: System) -> None:
    linux.put("service", IDLE.replace("MainPID=0", "MainPID=4711"))
    async with running_daemon(linux, 4711, lambda: None) as fake:
        result = await anyio.to_thread.run_sync(partial(linux.run, "install", "--json"))

    assert result.exit_code == ExitCode.OK, result.stderr
    assert json.loads(result.stdout)["stopped_pid"] is None
    assert fake.asked == []


# Status


def test_status_of_a_service_that_is_well(linux: System) -> None:
    linux.run("install")
    linux.put("service", IDLE.replace("MainPID=0", "MainPID=4711"))

    result = linux.run("status", "--json")

    assert result.exit_code == ExitCode.OK
    said = json.loads(result.stdout)
    assert said["units"] == {
        "workroot.socket": "enabled, active (listening)",
        "workroot.service": "disabled, inactive (dead)",
    }
    assert {
        name: said[name] for name in ("manager", "reachable", "installed", "matches", "enabled", "active", "pid")
    } == {
        "manager": "systemd",
        "reachable": True,
        "installed": True,
        "matches": True,
        "enabled": True,
        "active": True,
        "pid": 4711,
    }
    assert "runs, pid 4711" in linux.run("status").stdout


def test_status_before_anything_is_installed(linux: System) -> None:
    linux.put("socket", IDLE)

    result = linux.run("status")

    assert result.exit_code == ExitCode.FAILED
    assert "not installed" in result.stderr


def test_status_tells_units_of_another_installation(linux: System) -> None:
    linux.run("install")
    other = f"{linux.top}/other"
    linux.host = replace(linux.host, environment={**linux.host.environment, "WORKROOT_HOME": other})

    result = linux.run("status")

    assert result.exit_code == ExitCode.FAILED
    assert "of another installation or version" in result.stderr
    assert json.loads(linux.run("status", "--json").stdout)["matches"] is False


@pytest.mark.parametrize("fault", ["ActiveState=failed", "UnitFileState=disabled", "NeedDaemonReload=yes"])
def test_status_of_a_service_that_is_not_well_fails(linux: System, fault: str) -> None:
    linux.run("install")
    name = fault.partition("=")[0]
    linux.put("socket", "".join(f"{fault if line.startswith(name) else line}\n" for line in ACTIVE.splitlines()))

    assert linux.run("status").exit_code == ExitCode.FAILED


def test_status_where_the_manager_does_not_answer(linux: System) -> None:
    linux.run("install")
    linux.put("silent")

    result = linux.run("status")

    assert result.exit_code == ExitCode.FAILED
    assert "does not answer this user" in result.stdout


# Uninstalling


def test_uninstalling_leaves_nothing(linux: System) -> None:
    linux.run("install")
    wants = linux.units / "sockets.target.wants"
    wants.mkdir()
    (wants / "workroot.socket").symlink_to(linux.units / "workroot.socket")
    linux.put("calls")

    result = linux.run("uninstall")

    assert result.exit_code == ExitCode.OK
    assert [path for path in linux.units.rglob("*") if path != wants] == []
    assert not os.path.lexists(wants / "workroot.socket")
    assert linux.changes == [
        "--user stop workroot.socket workroot.service",
        "--user daemon-reload",
        "--user reset-failed workroot.socket workroot.service",
    ]


def test_uninstalling_what_is_not_installed_changes_nothing(linux: System) -> None:
    result = linux.run("uninstall")

    assert result.exit_code == ExitCode.OK
    assert "no service of workroot's is installed" in result.stdout
    assert linux.changes == []


def test_uninstalling_leaves_what_is_not_ours(linux: System) -> None:
    linux.run("install")
    (linux.units / "workroot.service").write_text("[Service]\nExecStart=/mine\n")
    linux.put("calls")

    result = linux.run("uninstall")

    assert result.exit_code == ExitCode.OK
    assert os.listdir(linux.units) == ["workroot.service"]
    assert "stays" in result.stderr


def test_a_dry_uninstall_removes_nothing(linux: System) -> None:
    linux.run("install")
    linux.put("calls")

    result = linux.run("uninstall", "--dry-run")

    assert "would remove" in result.stdout
    assert len(os.listdir(linux.units)) == 2
    assert linux.changes == []


def test_uninstalling_without_a_manager_removes_the_files_and_says_the_rest(linux: System) -> None:
    linux.run("install")
    linux.put("silent")

    result = linux.run("uninstall")

    assert os.listdir(linux.units) == []
    assert "systemctl --user daemon-reload" in result.stderr


# macOS


def test_on_a_mac_an_agent_is_loaded_once(mac: System) -> None:
    result = mac.run("install")

    agent = mac.top / "home" / "Library" / "LaunchAgents" / "workroot.daemon.plist"
    assert result.exit_code == ExitCode.OK, result.stderr
    assert mac.changes == [f"bootstrap gui/501 {agent}"]
    mac.put("loaded")
    mac.put("calls")
    assert mac.run("install").exit_code == ExitCode.OK
    assert mac.changes == []
    assert json.loads(mac.run("status", "--json").stdout)["pid"] == 4711


def test_on_a_mac_a_changed_agent_is_loaded_anew_and_goes_at_the_end(mac: System) -> None:
    mac.run("install")
    mac.put("loaded")
    mac.put("calls")
    mac.host = replace(mac.host, environment={**mac.host.environment, "WORKROOT_HOME": f"{mac.top}/other"})
    agent = mac.top / "home" / "Library" / "LaunchAgents" / "workroot.daemon.plist"

    mac.run("install")
    mac.run("uninstall")

    bootout = "bootout gui/501/workroot.daemon"
    assert mac.changes == [bootout, f"bootstrap gui/501 {agent}", bootout]
    assert not agent.exists()

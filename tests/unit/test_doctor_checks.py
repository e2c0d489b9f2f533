"""What `workroot doctor` says of the installation, the system, the disk, the settings and HTTP."""

from __future__ import annotations

import os
import sqlite3
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import NoReturn

import pytest
from doctor_findings import cure, only, seen, states

from workroot import __version__, rendezvous
from workroot.doctor import configuration, disk, installation, ports, running, system
from workroot.doctor.asking import Daemon
from workroot.doctor.findings import Found
from workroot.errors import TokenError
from workroot.storage.schema import APPLICATION_ID, MIGRATIONS

# The installation


def test_the_version_is_said() -> None:
    assert seen(only(installation.look_at_version())).startswith(f"workroot {__version__}, CPython 3.")


def no_origin() -> str | None:
    return None


def not_installed() -> str | None:
    raise PackageNotFoundError("workroot")


@pytest.mark.parametrize(
    ("place", "origin", "expected"),
    [
        ("/opt/venv/lib/python3.11/site-packages/workroot", None, "ok"),
        ("/tmp/venv/lib/python3.11/site-packages/workroot", None, "warning"),
        ("/home/ada/.cache/uv/archive-v0/x/lib/python3.11/site-packages/workroot", None, "warning"),
        ("/code/workroot/src/workroot", '{"dir_info": {"editable": true}, "url": "file:///x"}', "note"),
        ("/code/workroot/src/workroot", '{"dir_info": {}, "url": "file:///x"}', "ok"),
    ],
)
def test_an_installation_that_does_not_stay_is_found(place: str, origin: str | None, expected: str) -> None:
    assert states(installation.look_at_place(place, temporary=("/tmp",), read_origin=lambda: origin)) == [expected]


def test_a_package_that_was_copied_is_found() -> None:
    assert states(installation.look_at_place("/x", temporary=(), read_origin=not_installed)) == ["warning"]


def command_in(prefix: Path) -> str:
    (prefix / "bin").mkdir(parents=True)
    command = prefix / "bin" / "workroot"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    return str(prefix / "bin")


def test_the_commands_on_path_are_told_apart_by_installation(tmp_path: Path) -> None:
    own, other, empty = tmp_path / "own", tmp_path / "other", tmp_path / "empty"
    own_bin, other_bin = command_in(own), command_in(other)
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "workroot").symlink_to(own / "bin" / "workroot")
    empty.mkdir()

    def look(*path: str) -> Found:
        return only(installation.look_at_commands({"PATH": os.pathsep.join(path)}, own_prefix=str(own)))

    assert look(own_bin).state == "ok"
    assert look(str(tmp_path / "link"), own_bin).state == "ok"
    assert look(str(empty), "relative/bin", "").state == "note"
    assert look(own_bin, other_bin).state == "note"
    assert other_bin in seen(look(own_bin, other_bin))
    assert look(other_bin, own_bin).state == "warning"


@pytest.mark.parametrize(
    ("requirement", "version", "fault"),
    [
        ("mcp<3,>=2.3", "2.3.0", None),
        ("mcp<3,>=2.3", "2.10", None),
        ("mcp<3,>=2.3", "2.2.9", "mcp is 2.2.9"),
        ("mcp<3,>=2.3", "3.0", "mcp is 3.0"),
        ("mcp<3,>=2.3", None, "mcp is missing"),
        ("uvloop>=0.22; sys_platform != 'win32'", "0.21", "uvloop is 0.21"),
        ("uvicorn[standard] (>=0.40)", "0.40.0.post1", None),
    ],
)
def test_a_package_that_is_missing_or_of_another_version_is_found(
    requirement: str, version: str | None, fault: str | None
) -> None:
    def version_of(name: str) -> str:
        if version is None:
            raise PackageNotFoundError(name)
        return version

    found = only(installation.look_at_packages([requirement], version_of=version_of))

    assert found.state == ("ok" if fault is None else "problem")
    assert (fault or "1 packages") in seen(found)


def test_extras_are_not_needed() -> None:
    def version_of(name: str) -> NoReturn:
        raise PackageNotFoundError(name)

    assert states(installation.look_at_packages(["x>=1; extra == 'otel'"], version_of=version_of)) == ["note"]


def test_the_packages_of_this_installation_are_there() -> None:
    assert states(installation.look_at_packages()) == ["ok"]


@pytest.mark.parametrize(
    ("version", "expected"), [((3, 36, 9), "problem"), ((3, 37, 0), "note"), ((3, 51, 2), "note"), ((3, 51, 3), "ok")]
)
def test_an_old_sqlite_and_its_fault_are_known(version: tuple[int, int, int], expected: str) -> None:
    assert states(installation.look_at_sqlite(version)) == [expected]


# The system


@pytest.mark.parametrize(
    ("release", "platform", "expected"),
    [
        ("6.18.0-1", "linux", "ok"),
        ("5.15.167.4-microsoft-standard-WSL2", "linux", "ok"),
        ("4.4.0-19041-Microsoft", "linux", "problem"),
        ("24.1.0", "darwin", "ok"),
        ("14.2", "freebsd14", "warning"),
    ],
)
def test_wsl1_and_unknown_systems_are_found(release: str, platform: str, expected: str) -> None:
    assert states(system.look_at_kind(release, platform)) == [expected]


@pytest.mark.parametrize(
    ("now", "expected"), [(1_000_000_000, "problem"), (0, "warning"), (400, "warning"), (1200, "ok")]
)
def test_a_clock_before_2020_or_behind_what_was_stored_is_found(tmp_path: Path, now: int, expected: str) -> None:
    stored_at = 1_785_229_200
    (tmp_path / "workroot.db").write_text("")
    os.utime(tmp_path / "workroot.db", (stored_at, stored_at))

    found = only(system.look_at_clock(str(tmp_path), now=now if expected == "problem" else stored_at - 1000 + now))

    assert found.state == expected


@pytest.mark.parametrize(
    ("descriptors", "processes", "expected"),
    [
        ((1024, 524_288), (-1, -1), ["ok"]),
        ((1024, -1), (4096, 4096), ["ok"]),
        ((256, 1024), (-1, -1), ["warning"]),
        ((64, 128), (-1, -1), ["problem"]),
        ((4096, 4096), (100, 100), ["ok", "warning"]),
    ],
)
def test_few_descriptors_and_few_processes_are_found(
    descriptors: tuple[int, int], processes: tuple[int, int], expected: list[str]
) -> None:
    assert states(system.look_at_descriptors(descriptors, processes)) == expected


@pytest.mark.parametrize(
    ("instances", "watches", "used", "expected"),
    [
        (128, 65_536, (5, 100), ["ok"]),
        (128, 65_536, (116, 100), ["warning"]),
        (128, 65_536, (5, 60_000), ["warning"]),
        (128, 4096, (5, 10), ["warning"]),
        (2, 4096, (2, 10), ["warning", "warning"]),
        (None, None, (0, 0), ["ok"]),
    ],
)
def test_limits_of_watching_that_are_nearly_reached_are_found(
    instances: int | None, watches: int | None, used: tuple[int, int], expected: list[str]
) -> None:
    limits = {"max_user_instances": instances, "max_user_watches": watches}

    found = list(system.look_at_watches(limit_of=limits.get, used=lambda: used))

    assert states(found) == expected
    assert all("sysctl fs.inotify." in cure(one) for one in found if one.state != "ok")


def test_the_watches_of_a_user_are_counted_in_what_the_kernel_shows(tmp_path: Path) -> None:
    for pid in ("4711", "4712"):
        for name in ("fd", "fdinfo"):
            (tmp_path / pid / name).mkdir(parents=True)
        (tmp_path / pid / "fd" / "3").symlink_to("anon_inode:inotify")
        (tmp_path / pid / "fd" / "4").symlink_to("/dev/null")
        (tmp_path / pid / "fdinfo" / "3").write_text("pos:\t0\nflags:\t0\ninotify wd:1 ino:2\ninotify wd:2 ino:3\n")
    (tmp_path / "self").mkdir()

    assert system.watches_of_user(str(tmp_path), user_id=os.geteuid()) == (2, 4)
    assert system.watches_of_user(str(tmp_path), user_id=os.geteuid() + 1) == (0, 0)


# The disk


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ([("/", "ext4")], "ok"),
        ([("/", "ext4"), ("/net", "nfs4")], "warning"),
        ([("/", "ext4"), ("/net", "ext4"), ("/net/wr", "fuse.sshfs")], "warning"),
        ([("/", "ext4"), ("/net", "nfs4"), ("/net/wr", "ext4")], "ok"),
        ([("/", "ext4"), ("/ne", "nfs4")], "ok"),
        ([("/", "9p")], "ok"),  # without it nothing here would run
        ([], "ok"),
    ],
)
def test_a_state_directory_on_another_machines_disk_is_slow_and_as_safe_as_that_one(
    tmp_path: Path, kinds: list[tuple[str, str]], expected: str
) -> None:
    def place(point: str) -> str:
        return point if point == "/" else f"{tmp_path}{point}"

    (tmp_path / "net" / "wr").mkdir(parents=True)

    found = only(
        disk.look_at_file_system(
            str(tmp_path / "net" / "wr" / "state"), partitions=lambda: [(place(point), kind) for point, kind in kinds]
        )
    )

    assert found.state == expected


def test_databases_that_were_moved_aside_are_named_until_they_are_removed(tmp_path: Path) -> None:
    assert only(disk.look_at_files_aside(str(tmp_path))).state == "ok"
    names = ("workroot.db.damaged-20261121T130000000000Z", "workroot.db.replaced-20261121T130000000000Z-2")
    for name in (*names, f"{names[0]}-wal", "workroot.db", "workroot.db.v3.bak"):
        (tmp_path / name).write_bytes(b"x" * 1_000_000)

    found = list(disk.look_at_files_aside(str(tmp_path)))

    assert states(found) == ["note", "note"]
    assert [name in seen(one) for one, name in zip(found, names, strict=True)] == [True, True]
    assert "(2.0 MB)" in seen(found[0])
    assert cure(found[0]) == f"if you miss nothing, remove it: `rm {tmp_path / names[0]}*`"
    assert list(disk.look_at_files_aside(str(tmp_path / "none"))) == [
        Found(state="ok", seen=("no database was moved aside",))
    ]


def space(*, free: int = 10**9, files: int = 10**6, all_files: int = 10**7, flags: int = 0) -> os.statvfs_result:
    return os.statvfs_result((1, 1, 10**10, free, free, all_files, files, files, flags, 255))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (space(), "ok"),
        (space(free=100 * 1024 * 1024 - 1), "warning"),
        (space(free=0), "problem"),
        (space(files=10), "warning"),
        (space(files=0), "problem"),
        (space(files=0, all_files=0), "ok"),  # btrfs counts none
        (space(flags=os.ST_RDONLY), "problem"),
    ],
)
def test_a_disk_that_is_nearly_full_or_read_only_is_found(
    tmp_path: Path, status: os.statvfs_result, expected: str
) -> None:
    assert states(disk.look_at_space(str(tmp_path / "none"), status_of=lambda _: status)) == [expected]


def test_a_log_and_a_database_that_are_too_large_are_found(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "workroot.db").write_bytes(b"")

    assert states(disk.look_at_usage(str(tmp_path))) == ["ok"]
    os.truncate(tmp_path / "workroot.db", 70 * 1024 * 1024)  # takes no room
    (tmp_path / "log" / "core").write_bytes(b"")
    os.truncate(tmp_path / "log" / "core", 31_000_000)
    assert states(disk.look_at_usage(str(tmp_path))) == ["warning", "warning"]


# The settings


@pytest.mark.parametrize(
    ("text", "field"),
    [("http = 'perhaps'", "http"), ("htpp = true", "htpp"), ("http_port = 0", "http_port"), ("http = ", "TOML")],
)
def test_settings_that_cannot_be_used_are_a_problem_that_names_them(tmp_path: Path, text: str, field: str) -> None:
    (tmp_path / "config.toml").write_text(text)

    found = only(configuration.look_at_settings({"WORKROOT_HOME": str(tmp_path)}))

    assert found.state == "problem"
    assert field in seen(found)
    assert str(tmp_path / "config.toml") in seen(found)


def test_of_a_name_that_is_no_setting_not_all_names_that_are_there_are_said_to_be_wrong(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("zebra = 1")

    found = only(configuration.look_at_settings({"WORKROOT_HOME": str(tmp_path)}))

    assert found.seen[0] == "the settings cannot be used"
    assert "zebra" in seen(found)


def test_settings_are_named_without_their_values(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("trusted_directories = ['/very/private']\nhttp = true")

    found = only(configuration.look_at_settings({"WORKROOT_HOME": str(tmp_path)}))

    assert (found.state, seen(found)) == ("ok", "set: http, trusted_directories")
    assert seen(only(configuration.look_at_settings({"WORKROOT_HOME": "/none"}))) == "all at their defaults"


def test_variables_that_are_no_settings_are_noted() -> None:
    environment = {"WORKROOT_HOME": "/x", "WORKROOT_HTTP": "1", "WORKROOT_COLOUR": "red", "PATH": "/bin"}

    found = only(configuration.look_at_variables(environment))

    assert (found.state, seen(found)) == ("note", "variables that are no settings of workroot: WORKROOT_COLOUR")
    assert not list(configuration.look_at_variables({"WORKROOT_HTTP": "1"}))


def test_decisions_that_cannot_be_read_are_a_problem(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert states(configuration.look_at_trust(str(tmp_path))) == ["ok"]
    (tmp_path / "trust.json").write_text("{")
    (tmp_path / "trust.json").chmod(0o600)

    found = only(configuration.look_at_trust(str(tmp_path)))

    assert (found.state, "trust.json" in seen(found)) == ("problem", True)


# HTTP


@pytest.mark.parametrize(
    ("is_on", "users", "expected", "words"),
    [
        (False, [], "ok", "off"),
        (False, [None], "ok", "off (1 token)"),
        (True, [], "note", "nobody is let in"),
        (True, [None, "bob"], "ok", "on, 2 tokens, for 1 other users"),
    ],
)
def test_whom_http_lets_in_is_said(is_on: bool, users: list[str | None], expected: str, words: str) -> None:
    found = only(ports.look_at_http(is_on=is_on, token_users=lambda: users, served=ports.UNASKED))

    assert found.state == expected
    assert seen(found).startswith(words) or words in seen(found)


def test_tokens_that_cannot_be_read_are_a_problem() -> None:
    def users() -> NoReturn:
        raise TokenError("/x/tokens.json cannot be understood")

    found = only(ports.look_at_http(is_on=False, token_users=users, served=ports.UNASKED))

    assert (found.state, "/x/tokens.json" in seen(found)) == ("problem", True)


URL = {"url": "http://127.0.0.1:7668/mcp"}


@pytest.mark.parametrize(("is_on", "served"), [(True, None), (False, URL)])
def test_a_daemon_that_was_started_with_another_setting_of_http_is_noted(
    is_on: bool, served: dict[str, str] | None
) -> None:
    found = list(ports.look_at_http(is_on=is_on, token_users=lambda: [None], served=served))

    assert states(found) == ["note", "ok"]
    assert "workroot stop" in cure(found[0])


@pytest.mark.parametrize(("is_on", "served"), [(True, URL), (False, None), (True, ports.UNASKED)])
def test_a_daemon_that_serves_http_as_it_is_set_is_fine(
    is_on: bool, served: dict[str, str] | ports.Unasked | None
) -> None:
    assert states(ports.look_at_http(is_on=is_on, token_users=lambda: [None], served=served)) == ["ok"]


def test_http_that_cannot_be_served_is_a_problem() -> None:
    served = {"url": None, "problem": "127.0.0.1:7668 is used by another program"}

    found = list(ports.look_at_http(is_on=True, token_users=lambda: [None], served=served))

    assert states(found) == ["problem", "ok"]
    assert "is used by another program" in seen(found[0])


OURS, THEIRS = 4711, 4712


@pytest.mark.parametrize(
    ("listeners", "is_on", "expected"),
    [
        ([], True, ["ok"]),
        ([ports.Listener("127.0.0.1", 7668, OURS, "python3")], True, ["ok"]),
        ([ports.Listener("127.0.0.1", 7669, THEIRS, "node")], True, ["ok"]),
        ([ports.Listener("127.0.0.1", 7668, THEIRS, "node")], True, ["problem"]),
        ([ports.Listener("127.0.0.1", 7668, THEIRS, "node")], False, ["note"]),
        ([ports.Listener("0.0.0.0", 7668, None, None)], True, ["problem"]),
    ],
)
def test_another_program_on_our_port_is_found(
    listeners: list[ports.Listener], is_on: bool, expected: list[str]
) -> None:
    found = list(ports.look_at_port(7668, listeners, is_on=is_on, daemon_pid=OURS))

    assert states(found) == expected
    if expected != ["ok"]:
        assert "is used by another program" in seen(found[0])
        assert listeners[0].pid is None or f"node, pid {THEIRS}" in seen(found[0])


def test_a_socket_that_a_service_manager_shares_with_the_daemon_is_the_daemons() -> None:
    listeners = [ports.Listener("127.0.0.1", 7668, THEIRS, "systemd")]

    assert states(ports.look_at_port(7668, listeners, is_on=True, daemon_pid=OURS, served_port=7668)) == ["ok"]
    assert states(ports.look_at_port(7668, listeners, is_on=True, daemon_pid=OURS, served_port=7669)) == ["problem"]


def test_with_no_daemon_whoever_has_the_port_is_a_stranger() -> None:
    listeners = [ports.Listener("127.0.0.1", 7668, None, None)]

    assert states(ports.look_at_port(7668, listeners, is_on=True, daemon_pid=None)) == ["problem"]
    assert states(ports.look_at_port(None, listeners, is_on=True, daemon_pid=None)) == ["ok"]


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.5", "127.0.0.2", "::1"])
def test_a_daemon_that_listens_anywhere_but_on_127_0_0_1_is_a_problem(address: str) -> None:
    listeners = [ports.Listener("127.0.0.1", 7668, OURS, None), ports.Listener(address, 7000, OURS, None)]

    assert states(ports.look_at_addresses(listeners, daemon_pid=OURS)) == ["problem"]
    assert states(ports.look_at_addresses(listeners, daemon_pid=THEIRS)) == ["ok"]
    assert states(ports.look_at_addresses(listeners[:1], daemon_pid=OURS)) == ["ok"]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, []),
        ({"HTTP_PROXY": "http://secret@proxy"}, ["warning"]),
        ({"http_proxy": "http://proxy", "no_proxy": "localhost, 127.0.0.1"}, ["ok"]),
        ({"ALL_PROXY": "http://proxy", "NO_PROXY": "*"}, ["ok"]),
        ({"HTTPS_PROXY": "http://proxy"}, []),
    ],
)
def test_a_proxy_that_would_see_our_tokens_is_found(environment: dict[str, str], expected: list[str]) -> None:
    found = list(ports.look_at_proxy(environment, is_on=True))

    assert states(found) == expected
    assert not any("secret" in seen(one) + cure(one) for one in found)
    assert not list(ports.look_at_proxy(environment, is_on=False))


@pytest.mark.parametrize(
    ("text", "port"), [("7668\n", 7668), ("", None), ("70000", None), ("x", None), ("\u0661", None), ("9" * 99, None)]
)
def test_the_port_that_was_chosen_is_read(tmp_path: Path, text: str, port: int | None) -> None:
    (tmp_path / "http-port").write_text(text, "utf-8")

    assert ports.kept_port(str(tmp_path)) == port


# The daemon


def hello(**fields: object) -> dict[str, object]:
    return {"workroot": rendezvous.WIRE_VERSION, "version": __version__, "pid": OURS, **fields}


def test_one_version_of_one_installation_is_fine_and_none_is_said_without_a_daemon() -> None:
    same = Daemon(hello=hello(installation="/venv"), status={})

    assert states(running.look_at_versions(same, own_installation="/venv")) == ["ok"]
    assert states(running.look_at_versions(Daemon(hello=hello(), status={}), own_installation="/venv")) == ["ok"]
    assert not list(running.look_at_versions(Daemon(), own_installation="/venv"))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"version": "0.0.9"}, ["warning"]),
        ({"installation": "/other"}, ["warning"]),
        ({"version": "9", "installation": "/other"}, ["warning", "warning"]),
        ({"workroot": 99, "oldest": 98}, ["problem"]),
        ({"version": "<b>\n"}, ["warning"]),
    ],
)
def test_another_version_installation_or_protocol_is_found(fields: dict[str, object], expected: list[str]) -> None:
    found = list(running.look_at_versions(Daemon(hello=hello(**fields), status={}), own_installation="/venv"))

    assert states(found) == expected
    assert not any("<b>" in seen(one) for one in found)
    assert all("workroot upgrade" in cure(one) for one in found)


def database(state: Path, *, application: int = APPLICATION_ID, version: int) -> Path:
    path = state / "workroot.db"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA application_id = {application}")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    return path


@pytest.mark.parametrize(
    ("application", "version", "expected"),
    [
        (APPLICATION_ID, len(MIGRATIONS), "ok"),
        (APPLICATION_ID, len(MIGRATIONS) - 1, "note"),
        (APPLICATION_ID, len(MIGRATIONS) + 1, "problem"),
        (1234, 1, "problem"),
    ],
)
def test_a_database_of_another_version_or_program_is_found(
    tmp_path: Path, application: int, version: int, expected: str
) -> None:
    path = database(tmp_path, application=application, version=version)
    before = path.read_bytes()

    assert states(running.look_at_database(str(tmp_path))) == [expected]
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["workroot.db"]


def test_what_is_in_a_log_beside_the_database_counts(tmp_path: Path) -> None:
    path = database(tmp_path, version=len(MIGRATIONS))
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    try:
        before = path.read_bytes()

        assert states(running.look_at_database(str(tmp_path))) == ["problem"]
        assert path.read_bytes() == before
    finally:
        writer.close()


@pytest.mark.parametrize(("content", "expected"), [(b"", "ok"), (b"junk", "problem"), (b"x" * 200, "problem")])
def test_a_file_that_is_no_database_is_a_problem_unless_it_is_empty(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    (tmp_path / "workroot.db").write_bytes(content)

    assert states(running.look_at_database(str(tmp_path))) == [expected]


def test_a_pipe_in_the_place_of_the_database_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "workroot.db")

    found = only(running.look_at_database(str(tmp_path)))

    assert (found.state, "not a plain file" in seen(found)) == ("problem", True)


def test_no_database_is_fine(tmp_path: Path) -> None:
    assert states(running.look_at_database(str(tmp_path))) == ["ok"]


@pytest.mark.parametrize(
    ("daemon", "expected"),
    [
        (Daemon(), "note"),
        (Daemon(hello=hello(), status={"pid": OURS}, is_held=True), "ok"),
        (Daemon(is_held=True, failure="it did not answer"), "problem"),
        (Daemon(is_listened_for=True), "note"),
        (Daemon(lock_failure="/x is not a plain file"), "problem"),
    ],
)
def test_a_daemon_that_does_not_answer_is_a_problem_and_none_is_not(daemon: Daemon, expected: str) -> None:
    found = only(running.look_at_daemon(daemon, "/state", holder=OURS if daemon.is_held else None))

    assert found.state == expected
    if daemon.is_held and daemon.status is None:
        assert f"kill {OURS}" in cure(found)


def test_the_holder_of_a_lock_is_found_in_the_kernels_table(tmp_path: Path) -> None:
    lock = Path(rendezvous.instance_lock_path(str(tmp_path)))
    lock.parent.mkdir(parents=True)
    lock.write_text("")
    status = lock.stat()
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    table = tmp_path / "locks"
    table.write_text(
        f"1: POSIX  ADVISORY  WRITE 1 {device}:{status.st_ino} 0 EOF\n"
        f"2: FLOCK  ADVISORY  WRITE 2 {device}:{status.st_ino + 1} 0 EOF\n"
        f"3: FLOCK  ADVISORY  WRITE {OURS} {device}:{status.st_ino} 0 EOF\n"
    )

    assert running.lock_holder(str(tmp_path), table=str(table)) == OURS
    table.write_text("nonsense\n")
    assert running.lock_holder(str(tmp_path), table=str(table)) is None
    assert running.lock_holder(str(tmp_path), table="/nowhere") is None

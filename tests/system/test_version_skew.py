"""Two versions of workroot on one machine: whoever meets whom, sessions go on, and one daemon writes at a time."""

from __future__ import annotations

import hashlib
import shlex
import shutil
import signal
import stat
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from connector_fakes import call
from installations import Installation, answered, daemons_of
from real_daemon import Home, Process, open_home

from workroot.connector import EXIT_NOT_STARTED
from workroot.storage.schema import MIGRATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

OLD, SAME, NEW = "1.9.0", "1.10.0", "1.11.0rc1"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return Installation.make(tmp_path_factory.mktemp("installed") / "pristine")


@pytest.fixture
def here(pristine: Installation, tmp_path: Path) -> Installation:
    """Return an installation of the version in the middle."""
    return pristine.copy(tmp_path / "here", SAME)


@pytest.fixture
def home() -> Iterator[Home]:
    with open_home() as home:
        yield home


def backups(home: Home) -> list[Path]:
    return sorted((home.state / "backups").glob("*")) if (home.state / "backups").exists() else []


@pytest.mark.parametrize("connector", [OLD, SAME, NEW])
@pytest.mark.parametrize("is_same", [True, False], ids=["same-installation", "another-installation"])
def test_whoever_meets_whom_sessions_go_on_and_only_a_newer_one_of_the_same_place_replaces(
    pristine: Installation, here: Installation, home: Home, tmp_path: Path, connector: str, is_same: bool
) -> None:
    one, two = home.repository("one"), home.repository("two")
    with ExitStack() as stack:
        first = stack.enter_context(here.open_client(home, one))
        first.initialize()
        session = first.result_of("set_working_directory", directory=str(two))["session_id"]
        before = home.ask("status")
        if is_same:
            here.change(connector)
        other = here if is_same else pristine.copy(tmp_path / "other", connector)

        second = stack.enter_context(other.open_client(home, one))
        second.initialize()
        asked = second.result_of("get_working_directory", session_id=session)
        after = home.ask("status")

        assert asked["working_directory"] == str(two), "what the earlier client stored is seen by the later one"
        assert first.result_of("get_working_directory", session_id=session)["working_directory"] == str(two)
        assert home.ask("status")["pid"] == after["pid"], "they do not fight for the place"
        assert daemons_of(home) == [after["pid"]]
        is_replaced = is_same and connector == NEW
        assert after["version"] == (NEW if is_replaced else SAME)
        assert (after["pid"] != before["pid"]) == is_replaced
        note = second.read_note()
    if is_replaced:
        assert f"version {NEW} runs in place of {SAME}" in note
        [backup] = backups(home)
        assert str(backup) in note
    else:
        assert backups(home) == []
        if is_same or connector == SAME:
            assert note == ""
        else:
            assert note.count("\n") == 1
            assert f"version {connector} of the installation in '{other.top}'" in note
            assert f"the daemon is version {SAME} of '{here.top}'; `workroot upgrade` makes" in note


def test_many_newer_connectors_at_once_replace_the_daemon_once(here: Installation, home: Home) -> None:
    one = home.repository("one")
    with ExitStack() as stack:
        first = stack.enter_context(here.open_client(home, one))
        first.initialize()
        session = first.result_of("set_working_directory", directory=str(one))["session_id"]
        here.change(NEW)
        clients = [stack.enter_context(here.open_client(home, one)) for _ in range(6)]
        for client in clients:
            client.initialize()
            assert client.result_of("get_working_directory", session_id=session)["working_directory"] == str(one)
        [pid] = daemons_of(home)
        assert home.ask("status")["pid"] == pid
        assert home.ask("status")["version"] == NEW
    assert len(backups(home)) == 1


def test_calls_in_flight_during_a_replacement_are_answered_or_fail_with_the_advice_to_retry(
    here: Installation, home: Home
) -> None:
    one = home.repository("one")
    with here.open_client(home, one) as first:
        first.initialize()
        assert "result" in first.ask("get_working_directory")
        here.change(NEW)
        with here.open_client(home, one) as second:
            second.initialize()  # answered by the new daemon
            while home.ask("status")["version"] != NEW:
                answer = first.ask("get_working_directory")
                assert "result" in answer or answer["error"]["data"] == {"retry": True}
            assert "result" in first.ask("get_working_directory")


def test_a_connector_from_before_an_upgrade_in_place_can_start_the_next_daemon(here: Installation, home: Home) -> None:
    one = home.repository("one")
    with ExitStack() as clients:
        with here.open_client(home, one) as starter:
            starter.initialize()
            first = clients.enter_context(here.open_client(home, one))
            first.initialize()
        here.change(NEW)
        here.rename("spawn_lock_path", "turn_path")
        home.kill_daemon()

        assert "result" in first.ask("get_working_directory")
        assert home.ask("status")["version"] == NEW


def test_a_connector_whose_installation_changes_while_it_starts_says_so(here: Installation, home: Home) -> None:
    broken = here.package / "connector" / "starting.py"
    broken.write_text("from workroot.rendezvous import of_another_version\n")
    with here.open_client(home, home.repository("one")) as first:
        first.send(call(0, "initialize"))
        assert "restart this server in the client" in str(first.read_message()["error"])
        assert first.wait() == EXIT_NOT_STARTED


def test_whatever_goes_wrong_in_a_connector_its_client_is_answered(here: Installation, home: Home) -> None:
    broken = here.package / "connector" / "starting.py"
    broken.write_text(broken.read_text().replace("    lock = open_turn(state)\n", "    lock = int(state)\n"))
    with here.open_client(home, home.repository("one")) as first:
        first.send(call(0, "initialize"))
        assert "this call was not carried out: invalid literal" in str(first.read_message()["error"])
        assert first.wait() == 1
        assert "ValueError: invalid literal" in first.read_errors()


def test_a_connector_that_may_start_no_daemon_replaces_none(here: Installation, home: Home) -> None:
    one = home.repository("one")
    with here.open_client(home, one) as first:
        first.initialize()
        here.change(NEW)
        with here.open_client(home, one, "--no-spawn") as second:
            second.initialize()
            assert home.ask("status")["version"] == SAME


def test_a_daemon_that_cannot_be_copied_goes_on(here: Installation, home: Home) -> None:
    one = home.repository("one")
    with here.open_client(home, one) as first:
        first.initialize()
        (home.state / "backups").write_text("in the way")
        here.change(NEW)
        with here.open_client(home, one) as second:
            second.initialize()
            assert home.ask("status")["version"] == SAME
            note = second.read_note()
    assert "the daemon was not replaced by version" in note
    assert "is not a directory" in note
    assert "workroot upgrade" in note


# The protocol


@pytest.mark.parametrize(
    ("daemon", "connector"), [((1, 1), (1, 2)), ((1, 2), (1, 1)), ((1, 3), (2, 4))], ids=["newer", "older", "overlap"]
)
def test_different_protocols_with_a_common_number_work_together(
    pristine: Installation, home: Home, tmp_path: Path, daemon: tuple[int, int], connector: tuple[int, int]
) -> None:
    ranges = [dict(zip(("OLDEST_WIRE_VERSION", "WIRE_VERSION"), each, strict=True)) for each in (daemon, connector)]
    ours, theirs = (pristine.copy(tmp_path / str(index), SAME, **each) for index, each in enumerate(ranges))
    one = home.repository("one")
    with ours.open_client(home, one) as first, theirs.open_client(home, one) as second:
        first.initialize()
        second.initialize()
        assert second.result_of("get_working_directory")["working_directory"] == str(one)


@pytest.mark.parametrize(
    ("daemon", "connector", "older", "cure"),
    [
        (1, 2, "the daemon is the older one", "run `workroot upgrade`"),
        (2, 1, "the client is the older one", "restart this server in the editor"),
    ],
)
def test_without_a_common_protocol_the_client_is_told_who_is_older_and_what_to_do(
    pristine: Installation, home: Home, tmp_path: Path, daemon: int, connector: int, older: str, cure: str
) -> None:
    ours = pristine.copy(tmp_path / "ours", SAME, WIRE_VERSION=daemon, OLDEST_WIRE_VERSION=daemon)
    theirs = pristine.copy(tmp_path / "theirs", SAME, WIRE_VERSION=connector, OLDEST_WIRE_VERSION=connector)
    one = home.repository("one")
    with ours.open_client(home, one) as first:
        first.initialize()
        with theirs.open_client(home, one) as second:
            second.send(b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n')
            answer = second.read_message()
            assert second.wait() == 5
            note = second.read_errors()
        assert answer["id"] == 1
        assert older in str(answer["error"])
        assert older in note
        assert cure in note
        assert "result" in first.ask("get_working_directory"), "nobody else notices"
        # The command line is understood all the same, or nobody could cure it.
        upgraded = answered(theirs.run(home, "upgrade", "--json"))
        assert upgraded["to"]["installation"] == str(theirs.top)
        assert home.ask("status")["pid"] in daemons_of(home)


def test_a_newer_connector_of_the_same_place_replaces_a_daemon_that_it_cannot_talk_to(
    here: Installation, home: Home
) -> None:
    one = home.repository("one")
    with here.open_client(home, one) as first:
        first.initialize()
        here.change(NEW, WIRE_VERSION=2, OLDEST_WIRE_VERSION=2)
        with here.open_client(home, one) as second:
            second.initialize()
            assert second.result_of("get_working_directory")["working_directory"] == str(one)
            assert home.ask("status")["version"] == NEW


# workroot upgrade


def test_upgrade_makes_the_daemon_that_of_this_installation_and_the_printed_way_leads_back(
    pristine: Installation, here: Installation, home: Home, tmp_path: Path
) -> None:
    other = pristine.copy(tmp_path / "other", NEW)
    one, two = home.repository("one"), home.repository("two")
    with here.open_client(home, one) as client:
        client.initialize()
        session = client.result_of("set_working_directory", directory=str(two))["session_id"]

        done = other.run(home, "upgrade", "--json")
        assert done.returncode == 0, done.stderr
        said = answered(done)
        assert (said["replaced"], said["from"], said["to"]) == (
            True,
            {"version": SAME, "installation": str(here.top)},
            {"version": NEW, "installation": str(other.top)},
        )
        [backup] = backups(home)
        assert said["backup"]["path"] == str(backup)
        assert stat.S_IMODE(backup.stat().st_mode) == 0o600
        assert stat.S_IMODE(backup.parent.stat().st_mode) == 0o700
        assert client.result_of("get_working_directory", session_id=session)["working_directory"] == str(two)
        assert (home.ask("status")["version"], daemons_of(home)) == (NEW, [home.ask("status")["pid"]])
        later = client.result_of("set_working_directory", directory=str(one), session_id=session)
        assert later["working_directory"] == str(one)

        again = other.run(home, "upgrade")
        assert (again.returncode, backups(home)) == (0, [backup]), "a second time there is nothing to do"
        assert "already" in again.stdout

        back = subprocess.run(
            [*shlex.split(said["way_back"][0]), "--restore", str(backup)],
            env=home.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert back.returncode == 0, back.stderr
        assert home.ask("status")["version"] == SAME
        assert daemons_of(home) == [home.ask("status")["pid"]]
        restored = client.result_of("get_working_directory", session_id=session)
        assert restored["working_directory"] == str(two), "the database is as it was"


@pytest.mark.parametrize("is_running", [True, False])
def test_after_a_crash_any_connector_starts_the_daemon_that_upgrade_chose(
    here: Installation, home: Home, tmp_path: Path, is_running: bool
) -> None:
    there = here.copy(tmp_path / "there", NEW)
    with here.open_client(home, home.repository("one")) as old:
        old.initialize()
        if not is_running:
            home.ask("stop")
            home.wait_until(lambda: not daemons_of(home), what="the daemon is gone")
        assert there.run(home, "upgrade").returncode == 0
        if is_running:
            home.kill_daemon()

        assert "result" in old.ask("get_working_directory")
        assert home.ask("status")["version"] == NEW
        shutil.rmtree(there.package)
        home.kill_daemon()
        assert "result" in old.ask("get_working_directory")
        assert home.ask("status")["version"] == SAME, "the chosen one is gone: its own will do"


def test_a_newer_schema_is_refused_untouched_and_left_by_the_printed_way(
    pristine: Installation, here: Installation, home: Home, tmp_path: Path
) -> None:
    other = pristine.copy(tmp_path / "other", NEW)
    other.patch(
        "storage/schema.py",
        r'^"""The step at index n',
        'MIGRATIONS = (*MIGRATIONS, lambda c: None)\n"""The step at index n',
    )
    one = home.repository("one")
    with here.open_client(home, one) as client:
        client.initialize()
        session = client.result_of("set_working_directory", directory=str(one))["session_id"]
        [way_back] = answered(other.run(home, "upgrade", "--json"))["way_back"]
        pid = home.ask("status")["pid"]

        refused = here.run(home, "upgrade", "--json")
        assert refused.returncode == 1
        assert answered(refused)["error"]["code"] == "store_too_new"
        newest = len(MIGRATIONS)
        assert f"has schema version {newest + 1}, this workroot reads up to {newest}" in refused.stderr
        assert home.ask("status")["pid"] == pid
        assert len(backups(home)) == 1

        other.run(home, "stop")
        before = hashlib.sha256((home.state / "workroot.db").read_bytes()).digest()
        assert here.run(home, "upgrade").returncode == 1
        assert hashlib.sha256((home.state / "workroot.db").read_bytes()).digest() == before

        back = subprocess.run(
            shlex.split(way_back), env=home.environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert back.returncode == 0, back.stderr
        assert client.result_of("get_working_directory", session_id=session)["working_directory"] == str(one)
        assert home.ask("status")["version"] == SAME


def test_a_new_daemon_that_does_not_come_up_is_reported_with_the_way_back(
    pristine: Installation, here: Installation, home: Home, tmp_path: Path
) -> None:
    broken = pristine.copy(tmp_path / "broken", NEW)
    broken.patch("daemon/__init__.py", r'^__all__ = \["serve"\]$', 'raise RuntimeError("it is broken")')
    one = home.repository("one")
    with here.open_client(home, one) as client:
        client.initialize()
        session = client.result_of("set_working_directory", directory=str(one))["session_id"]
        done = broken.run(home, "upgrade")
        assert done.returncode == 4
        assert "it is broken" in done.stderr
        [backup] = backups(home)
        assert "the way back:" in done.stderr
        assert str(backup) in done.stderr
        assert str(here.python) in done.stderr
        # The connector that is attached has started its own again: the old one, which is sound.
        assert client.result_of("get_working_directory", session_id=session)["working_directory"] == str(one)
        assert home.ask("status")["version"] == SAME


def test_without_a_daemon_upgrade_copies_the_database_and_starts_none(here: Installation, home: Home) -> None:
    assert here.run(home, "upgrade").returncode == 0, "nothing is there yet"
    assert not home.state.exists()
    with here.open_client(home, home.repository("one")) as client:
        client.initialize()
        client.result_of("get_working_directory")
    assert here.run(home, "stop").returncode == 0

    done = here.run(home, "upgrade", "--json")

    assert done.returncode == 0, done.stderr
    said = answered(done)
    assert (said["replaced"], said["from"], said["way_back"]) == (False, None, [])
    assert [str(backup) for backup in backups(home)] == [said["backup"]["path"]]
    assert not home.is_running()


def test_a_damaged_database_gives_way_to_a_copy_of_it_and_is_not_lost(here: Installation, home: Home) -> None:
    one = home.repository("one")
    with here.open_client(home, one) as client:
        client.initialize()
        session = client.result_of("set_working_directory", directory=str(one))["session_id"]
        home.ask("stop")
    home.wait_until(lambda: not daemons_of(home), what="the daemon is gone")
    copy = answered(here.run(home, "upgrade", "--json"))["backup"]["path"]
    database = home.state / "workroot.db"
    database.write_bytes(b"no database" * 1000)

    assert "is not a database" in here.run(home, "upgrade").stderr
    done = here.run(home, "upgrade", "--restore", copy, "--json")

    assert "no copy was made" in done.stderr
    assert Path(answered(done)["damaged"]).read_bytes() == b"no database" * 1000
    with here.open_client(home, one) as client:
        client.initialize()
        assert client.result_of("get_working_directory", session_id=session)["working_directory"] == str(one)


def test_upgrade_says_when_the_old_daemon_hangs_and_changes_nothing(
    pristine: Installation, here: Installation, home: Home, tmp_path: Path
) -> None:
    other = pristine.copy(tmp_path / "other", NEW)
    other.patch("cli/upgrade_command.py", r"^_ANSWER_SECONDS = .*$", "_ANSWER_SECONDS = 1.0")
    with here.open_client(home, home.repository("one")) as client:
        client.initialize()
        daemon = Process(home.ask("status")["pid"])
        try:
            daemon.signal(signal.SIGSTOP)
            done = other.run(home, "upgrade")
            daemon.signal(signal.SIGCONT)
        finally:
            daemon.close()
        assert done.returncode == 1
        assert f"pid {daemon.pid}" in done.stderr
        assert "result" in client.ask("get_working_directory")
        assert home.ask("status")["pid"] == daemon.pid

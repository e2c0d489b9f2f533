"""What `workroot doctor` says of owners and modes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from doctor_findings import cure, only, seen, states

from workroot.doctor.permissions import look_at_directories, look_at_files, look_at_parents, look_at_umask

ME = os.geteuid()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    made = tmp_path / "state"
    (made / "log").mkdir(parents=True)
    made.chmod(0o700)
    (made / "log").chmod(0o700)
    return made


def put(state: Path, name: str, mode: int = 0o600) -> Path:
    path = state / name
    path.write_text("x")
    path.chmod(mode)
    return path


def repair(found_cure: str) -> None:
    """Run the command that a cure names."""
    subprocess.run(["/bin/sh", "-c", found_cure.split("`")[1]], check=True, timeout=10)


# Directories


def test_directories_of_ones_own_are_fine(state: Path) -> None:
    assert states(look_at_directories(str(state), user_id=ME)) == ["ok"]


def test_a_state_directory_that_is_not_there_yet_is_only_noted(tmp_path: Path) -> None:
    assert states(look_at_directories(str(tmp_path / "none"), user_id=ME)) == ["note"]


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701, 0o777, 0o500])
@pytest.mark.parametrize("name", [".", "log"])
def test_a_directory_with_another_mode_is_a_problem_that_its_cure_solves(state: Path, name: str, mode: int) -> None:
    (state / name).chmod(mode)

    found = only(look_at_directories(str(state), user_id=ME))

    assert found.state == "problem"
    assert f"{mode:04o}" in seen(found)
    repair(cure(found))
    assert states(look_at_directories(str(state), user_id=ME)) == ["ok"]


def test_a_directory_of_somebody_else_is_a_problem(state: Path) -> None:
    found = list(look_at_directories(str(state), user_id=ME + 1))

    assert states(found) == ["problem", "problem"]
    assert f"belongs to the user with id {ME}" in seen(found[0])


def test_a_link_in_the_place_of_the_state_directory_is_a_problem(state: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(state)

    assert "symbolic link" in seen(next(iter(look_at_directories(str(tmp_path / "link"), user_id=ME))))


def test_a_file_in_the_place_of_a_directory_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")

    found = next(iter(look_at_directories(str(tmp_path / "state"), user_id=ME)))

    assert found.state == "problem"
    assert "not a directory" in seen(found)
    repair(cure(found))
    assert states(look_at_directories(str(tmp_path / "state"), user_id=ME)) == ["note"]


def test_of_what_is_below_a_file_in_the_place_of_a_directory_nothing_more_is_said(state: Path) -> None:
    shutil.rmtree(state / "run", ignore_errors=True)
    (state / "run").write_text("")

    found = only(look_at_directories(str(state), user_id=ME))

    repair(cure(found))
    assert states(look_at_directories(str(state), user_id=ME)) == ["ok"]


# Files


def test_private_files_are_fine_and_settings_may_be_read_by_others(state: Path) -> None:
    for name in ("workroot.db", "tokens.json", "trust.json", "daemon.key"):
        put(state, name)
    put(state, "config.toml", 0o644)

    found = only(look_at_files(str(state), user_id=ME))

    assert (found.state, seen(found)) == ("ok", "5 files, yours alone")


@pytest.mark.parametrize(
    ("name", "mode", "state_of_it"),
    [
        ("tokens.json", 0o644, "warning"),
        ("tokens.json", 0o620, "problem"),
        ("trust.json", 0o640, "problem"),
        ("daemon.key", 0o604, "problem"),
        ("workroot.db", 0o644, "warning"),
        ("config.toml", 0o622, "problem"),
        ("config.toml", 0o200, "problem"),
        ("workroot.db", 0o400, "problem"),
        ("log/daemon.log", 0o666, "problem"),
    ],
)
def test_a_file_that_others_may_use_is_found_and_its_cure_solves_it(
    state: Path, name: str, mode: int, state_of_it: str
) -> None:
    put(state, name, mode)

    found = only(look_at_files(str(state), user_id=ME))

    assert found.state == state_of_it
    assert name in seen(found)
    repair(cure(found))
    assert states(look_at_files(str(state), user_id=ME)) == ["ok"]


def test_a_link_in_the_place_of_a_secret_is_a_problem_that_its_cure_solves(state: Path, tmp_path: Path) -> None:
    put(tmp_path, "elsewhere.json")
    (state / "trust.json").symlink_to(tmp_path / "elsewhere.json")

    found = only(look_at_files(str(state), user_id=ME))

    assert (found.state, "symbolic link" in seen(found)) == ("problem", True)
    repair(cure(found))
    assert states(look_at_files(str(state), user_id=ME)) == ["ok"]


def test_a_link_to_nothing_is_a_problem_that_its_cure_solves(state: Path, tmp_path: Path) -> None:
    (state / "trust.json").symlink_to(tmp_path / "none")

    found = only(look_at_files(str(state), user_id=ME))

    assert found.state == "problem"
    repair(cure(found))
    assert states(look_at_files(str(state), user_id=ME)) == ["ok"]


def test_linked_settings_are_nobodys_business(state: Path, tmp_path: Path) -> None:
    put(tmp_path, "dotfile.toml")
    (state / "config.toml").symlink_to(tmp_path / "dotfile.toml")

    assert states(look_at_files(str(state), user_id=ME)) == ["ok"]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_plain_file_is_a_problem_that_its_cure_solves(state: Path, make: Callable[[Path], None]) -> None:
    make(state / "tokens.json")

    found = only(look_at_files(str(state), user_id=ME))

    assert (found.state, "not a plain file" in seen(found)) == ("problem", True)
    repair(cure(found))
    assert states(look_at_files(str(state), user_id=ME)) == ["ok"]


def test_a_file_of_somebody_else_is_a_problem(state: Path) -> None:
    put(state, "daemon.key")

    assert "belongs to the user" in seen(only(look_at_files(str(state), user_id=ME + 1)))


# Above, and the umask


@pytest.mark.parametrize(
    ("mode", "groups", "expected"),
    [
        (0o755, (), "ok"),
        (0o1777, (), "ok"),
        (0o775, "own", "ok"),
        (0o775, (), "warning"),
        (0o777, "own", "problem"),
    ],
)
def test_what_others_may_change_above_the_state_directory_is_found(
    tmp_path: Path, mode: int, groups: tuple[int, ...] | str, expected: str
) -> None:
    above = tmp_path / "above"
    above.mkdir()
    above.chmod(mode)
    private = (above.stat().st_gid,) if groups == "own" else ()

    found = only(look_at_parents(str(above / "state"), user_id=ME, private_groups=private))

    assert found.state == expected
    if expected != "ok":
        repair(cure(found))
        assert states(look_at_parents(str(above / "state"), user_id=ME, private_groups=())) == ["ok"]


@pytest.mark.parametrize(
    ("umask", "expected"), [(0o022, ["ok"]), (0o077, ["ok"]), (0o777, ["warning"]), (0o200, ["warning"]), (None, [])]
)
def test_a_umask_that_takes_ones_own_rights_is_found(umask: int | None, expected: list[str]) -> None:
    assert states(look_at_umask(umask)) == expected

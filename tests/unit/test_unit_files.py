"""Only files with our mark are replaced or removed, and by hand changed ones are told from others."""

from __future__ import annotations

import os
import plistlib
from collections.abc import Callable
from pathlib import Path

import pytest

from workroot.errors import ServiceError
from workroot.service.unit_files import FileState, UnitFile, look, remove, write


def unit(directory: Path, text: str = "[Unit]\nDescription=one\n") -> UnitFile:
    return UnitFile.marked(str(directory / "made" / "workroot.socket"), text)


def written(directory: Path, text: str = "[Unit]\nDescription=one\n") -> Path:
    file = unit(directory, text)
    write(file, look(file))
    return Path(file.path)


def test_a_file_that_is_not_there_is_written_for_this_user_alone(tmp_path: Path) -> None:
    assert look(unit(tmp_path)).state is FileState.ABSENT

    path = written(tmp_path)

    assert path.read_text().endswith("\n[Unit]\nDescription=one\n")
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["workroot.socket"]
    assert look(unit(tmp_path)).state is FileState.CURRENT


def test_what_an_earlier_installation_wrote_is_ours_to_replace(tmp_path: Path) -> None:
    written(tmp_path)
    new = unit(tmp_path, "[Unit]\nDescription=two\n")

    assert look(new).state is FileState.OUTDATED
    write(new, look(new))
    assert look(new).state is FileState.CURRENT


@pytest.mark.parametrize(("old", "new"), [("one\n", "one\n# mine\n"), ("one", "two")])
def test_a_change_by_hand_is_noticed(tmp_path: Path, old: str, new: str) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text().replace(old, new))

    assert look(unit(tmp_path)).state is FileState.EDITED


@pytest.mark.parametrize("content", [b"", b"[Unit]\n", b"\xff\xfe", b"# sha256:" + b"0" * 64 + b"\n", b"x" * 100_000])
def test_a_file_without_our_mark_is_foreign_and_stays(tmp_path: Path, content: bytes) -> None:
    file = unit(tmp_path)
    Path(file.path).parent.mkdir()
    Path(file.path).write_bytes(content)
    found = look(file)

    assert found.state is FileState.FOREIGN
    for act in (write, remove):
        with pytest.raises(ServiceError, match="not one of workroot's files"):
            act(file, found)
    assert Path(file.path).read_bytes() == content


@pytest.mark.parametrize("kind", ["masked", "dangling", "link to ours", "fifo", "directory"])
def test_what_is_no_plain_file_is_foreign(tmp_path: Path, kind: str) -> None:
    file = unit(tmp_path)
    place = Path(file.path)
    place.parent.mkdir()
    other = tmp_path / "other"
    other.write_text(file.text)
    make: dict[str, Callable[[], object]] = {
        "masked": lambda: place.symlink_to(os.devnull),
        "dangling": lambda: place.symlink_to("/nowhere"),
        "link to ours": lambda: place.symlink_to(other),
        "fifo": lambda: os.mkfifo(place),
        "directory": place.mkdir,
    }
    make[kind]()

    assert look(file).state is FileState.FOREIGN


def test_what_came_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    file = unit(tmp_path)
    found = look(file)
    Path(file.path).parent.mkdir()
    Path(file.path).write_text("somebody's\n")

    with pytest.raises(ServiceError, match="has changed at this moment"):
        write(file, found)
    assert Path(file.path).read_text() == "somebody's\n"
    assert os.listdir(tmp_path / "made") == ["workroot.socket"]


def test_what_changed_meanwhile_is_not_removed(tmp_path: Path) -> None:
    path = written(tmp_path)
    found = look(unit(tmp_path))
    path.write_text("somebody's\n")

    with pytest.raises(ServiceError, match="has changed at this moment"):
        remove(unit(tmp_path), found)
    assert path.exists()


def test_removing_leaves_nothing(tmp_path: Path) -> None:
    path = written(tmp_path)

    remove(unit(tmp_path), look(unit(tmp_path)))

    assert os.listdir(path.parent) == []


def test_a_property_list_stays_one_with_its_mark(tmp_path: Path) -> None:
    file = UnitFile.marked(str(tmp_path / "a.plist"), plistlib.dumps({"Label": "a"}).decode())
    write(file, look(file))

    assert plistlib.loads(Path(file.path).read_bytes()) == {"Label": "a"}
    assert look(file).state is FileState.CURRENT
    Path(file.path).write_text(file.text.replace("<string>a<", "<string>b<"))
    assert look(file).state is FileState.EDITED

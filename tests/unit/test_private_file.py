from __future__ import annotations

import errno
import os
import stat
import threading
import time
from pathlib import Path

import pytest

from workroot import private_file
from workroot.errors import TrustError, WorkrootError
from workroot.private_file import PrivateFile


def open_file(path: Path, **changes: object) -> PrivateFile[bytes]:
    clock = changes.get("clock", time.time)
    assert callable(clock)
    return PrivateFile(path, parse=lambda content: content, empty=b"", error=TrustError, max_bytes=100, clock=clock)


def write(path: Path, content: bytes) -> None:
    with open_file(path).changing() as replace:
        replace(content)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "file.json"


def test_what_does_not_exist_is_empty(path: Path) -> None:
    assert open_file(path).load() == b""
    path.parent.mkdir()
    assert open_file(path).load() == b""


def test_what_was_written_is_read_and_is_the_users_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        write(path, b"one")
    finally:
        os.umask(before)

    assert open_file(path).load() == b"one"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert os.listdir(path.parent) == ["file.json"]


def test_a_umask_that_takes_everything_leaves_the_file_usable(path: Path) -> None:
    path.parent.mkdir()
    before = os.umask(0o777)
    try:
        write(path, b"one")
    finally:
        os.umask(before)

    assert open_file(path).load() == b"one"


def test_what_another_process_writes_is_read_at_once(path: Path) -> None:
    file = open_file(path, clock=lambda: time.time() + 10)
    for content in (b"one", b"two", b"six"):
        write(path, content)
        assert file.load() == content

    path.unlink()
    assert file.load() == b""


def test_a_settled_file_is_not_read_again_until_it_changes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = open_file(path, clock=lambda: time.time() + 10)
    write(path, b"one")
    assert file.load() == b"one"

    with monkeypatch.context() as patched:
        patched.delattr(os, "fdopen")
        assert file.load() == b"one"


def test_a_fresh_file_is_read_again_since_its_times_are_too_coarse(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_file, "_identity", lambda _status: (0,))  # both changes fall into one tick
    file = open_file(path)
    write(path, b"one")
    assert file.load() == b"one"

    write(path, b"two")
    assert file.load() == b"two"


def test_a_change_is_on_disk_before_it_is_acknowledged(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(descriptor: int) -> None:
        done.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def note_replace(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        done.append("replace")
        replace(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    write(path, b"one")

    assert done == ["file", "replace", "directory"]


def test_what_is_read_while_it_is_replaced_is_one_of_the_two(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, b"one")
    system_open = os.open

    def replace_after_open(name: object, flags: int, *args: object, **kwargs: object) -> int:
        descriptor = system_open(name, flags, *args, **kwargs)  # type: ignore[arg-type]  # passed through
        if name == "file.json":
            monkeypatch.undo()
            write(path, b"two")
        return descriptor

    monkeypatch.setattr(os, "open", replace_after_open)
    assert open_file(path).load() == b"one"
    assert open_file(path).load() == b"two"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o610, 0o666])
def test_a_file_that_others_may_touch_is_refused_and_left_as_it_is(path: Path, mode: int) -> None:
    file = open_file(path, clock=lambda: time.time() + 10)
    write(path, b"one")
    assert file.load() == b"one"
    path.chmod(mode)

    for use in (file.load, open_file(path).load):
        with pytest.raises(TrustError, match=rf"{path} must be a plain file .*mode 0600.*begin anew"):
            use()
    assert path.read_bytes() == b"one"
    path.chmod(0o600)
    assert file.load() == b"one"


def test_a_link_a_second_name_a_pipe_and_a_directory_are_refused(path: Path) -> None:
    write(path, b"one")
    elsewhere = path.with_name("elsewhere")
    path.rename(elsewhere)

    path.symlink_to(elsewhere)
    with pytest.raises(TrustError, match="must be a plain file"):
        open_file(path).load()
    path.unlink()
    path.hardlink_to(elsewhere)
    with pytest.raises(TrustError, match="must be a plain file"):
        open_file(path).load()
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(TrustError, match="must be a plain file"):
        open_file(path).load()
    path.unlink()
    path.mkdir()
    with pytest.raises(TrustError, match="must be a plain file"):
        open_file(path).load()


def test_a_file_that_becomes_a_link_after_it_was_looked_at_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, b"one")
    looked_at = path.stat()
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")
    monkeypatch.setattr(os, "stat", lambda *_args, **_kwargs: looked_at)

    with pytest.raises(TrustError, match="must be a plain file"):
        open_file(path).load()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_or_directory_of_another_user_is_refused(path: Path) -> None:
    write(path, b"one")
    os.chown(path, 12345, -1)
    with pytest.raises(TrustError, match="belongs to you"):
        open_file(path).load()

    os.chown(path, 0, -1)
    os.chown(path.parent, 12345, -1)
    with pytest.raises(TrustError, match="must belong to you"):
        open_file(path).load()


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
def test_a_directory_that_others_may_write_to_is_refused(path: Path, mode: int) -> None:
    write(path, b"one")
    path.parent.chmod(mode)

    with pytest.raises(TrustError, match=rf"{path.parent} must belong to you.*0700"):
        open_file(path).load()
    with pytest.raises(TrustError, match="nobody else may write"):
        write(path, b"two")
    assert path.read_bytes() == b"one"


def test_what_is_too_large_is_neither_read_nor_written(path: Path) -> None:
    write(path, b"x" * 100)
    with pytest.raises(TrustError, match="larger than 100 bytes"):
        write(path, b"x" * 101)
    assert open_file(path).load() == b"x" * 100

    path.write_bytes(b"x" * 101)
    with pytest.raises(TrustError, match="larger than 100 bytes"):
        open_file(path).load()


@pytest.mark.parametrize("call", ["fsync", "replace", "fchmod"])
def test_a_write_that_fails_leaves_everything_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    write(path, b"one")

    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        with pytest.raises(TrustError, match="cannot be written: No space left"):
            write(path, b"two")
    assert os.listdir(path.parent) == ["file.json"]
    assert open_file(path).load() == b"one"


def test_what_a_killed_process_left_is_removed_by_the_next_change(path: Path) -> None:
    write(path, b"one")
    path.with_name(".file.json.0123456789abcdef").write_bytes(b"half")
    path.with_name("other").write_bytes(b"stays")

    write(path, b"two")

    assert sorted(os.listdir(path.parent)) == ["file.json", "other"]


def test_changes_made_at_once_are_all_kept(path: Path) -> None:
    start = threading.Barrier(8)

    def append(letter: bytes) -> None:
        file = open_file(path)
        start.wait(timeout=5)
        for _ in range(5):
            with file.changing() as replace:
                replace(file.load() + letter)

    writers = [threading.Thread(target=append, args=(b"%d" % number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(timeout=10)

    assert sorted(open_file(path).load()) == sorted(b"01234567" * 5)


def test_a_failure_while_changing_lets_the_next_one_in(path: Path) -> None:
    def refuse() -> None:
        raise WorkrootError("no")

    with pytest.raises(WorkrootError, match="no"), open_file(path).changing():
        refuse()

    write(path, b"one")
    assert open_file(path).load() == b"one"


def test_what_cannot_be_opened_is_an_error_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    below_a_file = tmp_path / "file" / "file.json"
    with pytest.raises(TrustError, match=f"{below_a_file} cannot be read: Not a directory"):
        open_file(below_a_file).load()
    with pytest.raises(TrustError, match=f"{below_a_file} cannot be written: File exists"):
        write(below_a_file, b"one")

    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "stat", fail)
    with pytest.raises(TrustError, match="cannot be read: Input/output error"):
        open_file(tmp_path / "file.json").load()

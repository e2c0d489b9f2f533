"""One daemon per user."""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from workroot.errors import AlreadyRunningError, RendezvousError
from workroot.instance import hold_instance, holder_pid, is_instance_held


def open_descriptors(file: os.stat_result) -> list[int]:
    """Return this process' descriptors of *file*."""
    found = []
    for descriptor in range(256):
        with suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), file):
                found.append(descriptor)
    return found


@pytest.fixture
def lock_path(tmp_path: Path) -> str:
    return str(tmp_path / "daemon.lock")


def test_of_two_the_second_is_refused(lock_path: str) -> None:
    with (
        hold_instance(lock_path),
        pytest.raises(AlreadyRunningError, match="a daemon runs already"),
        hold_instance(lock_path),
    ):
        pass


def test_the_place_is_free_again_after_leaving(lock_path: str) -> None:
    with pytest.raises(ZeroDivisionError), hold_instance(lock_path):
        1 / 0  # noqa: B018 - any failure inside

    with hold_instance(lock_path):
        pass
    assert os.path.exists(lock_path)


def test_of_a_holder_that_left_in_order_nothing_is_said(lock_path: str) -> None:
    with hold_instance(lock_path) as first:
        pass
    with hold_instance(lock_path) as second:
        pass

    assert (first.left_by, second.left_by) == (None, None)


@pytest.mark.parametrize(
    ("said", "left_by"), [(b"4711\n", 4711), (b"", None), (b"odd", None), (b"9" * 100, int("9" * 20))]
)
def test_whoever_left_without_order_is_known_to_the_next(lock_path: str, said: bytes, left_by: int | None) -> None:
    with open(lock_path, "wb") as lock:
        lock.write(said)

    with hold_instance(lock_path) as instance:
        assert instance.left_by == left_by
        assert holder_pid(lock_path) == os.getpid()


def test_the_place_is_free_again_when_its_holder_dies(lock_path: str) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with hold_instance(lock_path):
            os.write(writing, b".")
            os.kill(os.getpid(), 9)
    os.read(reading, 1)
    os.waitpid(child, 0)
    os.close(reading)
    os.close(writing)

    with hold_instance(lock_path):
        pass


def test_the_lock_is_the_users_alone_and_not_inherited(lock_path: str) -> None:
    with hold_instance(lock_path):
        lock = os.stat(lock_path)
        assert stat.S_IMODE(lock.st_mode) == 0o600
        assert [os.get_inheritable(each) for each in open_descriptors(lock)] == [False]


def test_a_link_in_the_locks_place_is_not_followed(lock_path: str, tmp_path: Path) -> None:
    target = tmp_path / "target"
    os.symlink(target, lock_path)

    with pytest.raises(RendezvousError, match="is not a plain file; move it away"), hold_instance(lock_path):
        pass
    assert not target.exists()


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_in_the_locks_place_is_named_and_left_alone(
    lock_path: str, make: Callable[[str], None]
) -> None:
    make(lock_path)

    with pytest.raises(RendezvousError, match="is not a plain file; move it away"), hold_instance(lock_path):
        pass
    assert stat.S_IFMT(os.lstat(lock_path).st_mode) in (stat.S_IFDIR, stat.S_IFIFO)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_lock_of_another_user_is_refused(lock_path: str) -> None:
    Path(lock_path).touch()
    os.chown(lock_path, 65534, 65534)

    with pytest.raises(RendezvousError, match="belongs to the user with id 65534"), hold_instance(lock_path):
        pass
    with pytest.raises(RendezvousError):
        is_instance_held(lock_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_a_lock_that_may_not_be_opened_is_refused_with_the_cure(lock_path: str) -> None:
    Path(lock_path).touch(mode=0)

    with pytest.raises(RendezvousError, match="cannot be opened by you; look whose it is"), hold_instance(lock_path):
        pass


@pytest.mark.parametrize("junk", ["", "1\n", "\0\0\0", "one", "9" * 500])
def test_what_stands_in_the_locks_file_decides_nothing(lock_path: str, junk: str) -> None:
    Path(lock_path).write_text(junk)

    assert not is_instance_held(lock_path)
    with hold_instance(lock_path):
        assert holder_pid(lock_path) == os.getpid()
    assert holder_pid(lock_path) is None


def test_others_may_not_open_the_lock_whatever_its_mode_was(lock_path: str) -> None:
    Path(lock_path).touch()
    os.chmod(lock_path, 0o666)

    with hold_instance(lock_path):
        assert stat.S_IMODE(os.stat(lock_path).st_mode) == 0o600


def test_the_second_is_told_the_pid_of_the_first(lock_path: str) -> None:
    with (
        hold_instance(lock_path),
        pytest.raises(AlreadyRunningError, match=f"pid {os.getpid()} holds"),
        hold_instance(lock_path),
    ):
        pass


def test_a_lock_that_was_removed_or_replaced_is_noticed(lock_path: str) -> None:
    with hold_instance(lock_path) as instance:
        assert instance.is_kept()
        os.rename(lock_path, f"{lock_path}.away")
        assert not instance.is_kept()
        with hold_instance(lock_path) as second:
            assert second.is_kept()
            assert not instance.is_kept()
        os.rename(f"{lock_path}.away", lock_path)
        assert instance.is_kept()


def test_a_lock_that_is_removed_while_it_is_taken_is_taken_anew(
    lock_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    removals = iter([lock_path])
    take = fcntl.flock

    def remove_then_take(descriptor: int, how: int) -> None:
        for path in removals:
            os.unlink(path)
        take(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", remove_then_take)

    with hold_instance(lock_path) as instance:
        assert instance.is_kept()


def test_who_only_looks_at_the_lock_does_not_keep_a_daemon_from_starting(lock_path: str) -> None:
    assert not is_instance_held(lock_path)
    with open(lock_path, "w") as looked_at:
        fcntl.flock(looked_at, fcntl.LOCK_SH)
        looking = threading.Timer(0.005, looked_at.close)
        looking.start()

        with hold_instance(lock_path):
            assert is_instance_held(lock_path)
        looking.join()
    assert not is_instance_held(lock_path)

"""One daemon per user."""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from workroot.errors import AlreadyRunningError
from workroot.instance import hold_instance, is_instance_held


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

    with pytest.raises(OSError, match="symbolic link"), hold_instance(lock_path):
        pass
    assert not target.exists()


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

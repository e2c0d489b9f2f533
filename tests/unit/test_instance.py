"""One daemon per user."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from workroot.errors import AlreadyRunningError, RendezvousError
from workroot.instance import hold_instance, prepare_private_directory


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


def test_a_private_directory_is_made_with_its_parents(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "state"

    prepare_private_directory(str(path))
    prepare_private_directory(str(path))

    assert stat.S_IMODE(path.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o777])
def test_a_directory_that_others_may_use_is_refused_and_left_as_it_is(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "state"
    path.mkdir()
    path.chmod(mode)

    with pytest.raises(RendezvousError, match="is open to other users; run: chmod 700"):
        prepare_private_directory(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)

    for name in ("file", "link"):
        with pytest.raises(RendezvousError, match="is not a directory"):
            prepare_private_directory(str(tmp_path / name))


def test_a_directory_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    path.mkdir(mode=0o700)
    us = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: us + 1)

    with pytest.raises(RendezvousError, match=f"belongs to user {us}"):
        prepare_private_directory(str(path))

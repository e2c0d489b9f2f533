"""What is said of a place that cannot be written, by what the system says of it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from workroot.lost_disks import explained, is_disk_lost, memory_only, why_unwritable

ELSEWHERE = "or set WORKROOT_HOME to a directory elsewhere, in your editors' entries too"


def disk(monkeypatch: pytest.MonkeyPatch, *, free: int = 10, flags: int = 0) -> None:
    status = os.statvfs_result((1, 1, 100, free, free, 100, 100, 100, flags, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: status)


def failure(number: int, path: object = None) -> OSError:
    return OSError(number, os.strerror(number), path)


@pytest.mark.parametrize(
    ("number", "is_lost"),
    [
        (errno.ENOSPC, True),
        (errno.EDQUOT, True),
        (errno.EROFS, True),
        (errno.EACCES, True),
        (errno.EIO, True),
        (errno.ELOOP, False),
        (errno.ENOENT, False),
        (errno.EPERM, False),
    ],
)
def test_a_disk_is_lost_if_nothing_could_be_written_whatever_it_is(number: int, is_lost: bool) -> None:
    assert is_disk_lost(failure(number)) is is_lost


@pytest.mark.parametrize("number", [errno.EROFS, errno.EIO])
def test_a_read_only_mount_is_named_by_what_the_disk_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    disk(monkeypatch, flags=os.ST_RDONLY)
    path = str(tmp_path / "state" / "run")

    said = f"{path} is on a file system that is mounted read-only: mount it writable, {ELSEWHERE}"
    assert why_unwritable(path, failure(number)) == said


def test_a_read_only_mount_is_named_by_the_error_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch)

    assert "mounted read-only" in str(why_unwritable(str(tmp_path), failure(errno.EROFS)))


@pytest.mark.parametrize(("free", "number"), [(0, None), (10, errno.ENOSPC), (10, errno.EDQUOT)])
def test_a_full_disk_and_a_quota_need_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, number: int | None
) -> None:
    disk(monkeypatch, free=free)
    cause = failure(number) if number is not None else None

    said = f"{tmp_path} cannot be written, its disk is full: free some space there, {ELSEWHERE}"
    assert why_unwritable(str(tmp_path), cause) == said


def test_the_cause_of_an_error_counts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch)
    outer = RuntimeError("in other words")
    outer.__cause__ = failure(errno.ENOSPC)

    assert "disk is full" in str(why_unwritable(str(tmp_path), outer))
    assert why_unwritable(str(tmp_path), RuntimeError("without a cause")) is None


def test_missing_rights_are_named_where_they_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch)
    monkeypatch.setattr(os, "access", lambda path, mode: path != str(tmp_path))

    said = f"you may not write to {tmp_path}: correct its owner and mode, {ELSEWHERE}"
    assert why_unwritable(str(tmp_path / "none" / "none")) == said


def test_a_place_that_cannot_be_looked_at_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> os.statvfs_result:
        raise failure(errno.EACCES, path)

    monkeypatch.setattr(os, "statvfs", refuse)

    said = f"{tmp_path} cannot be looked at (Permission denied): make it accessible, {ELSEWHERE}"
    assert why_unwritable(str(tmp_path)) == said


def test_what_cannot_be_explained_is_left_to_the_doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch)
    path = str(tmp_path)

    assert explained(failure(errno.ELOOP, path)) == (
        f"{path}: Too many levels of symbolic links; `workroot doctor` looks what is wrong there"
    )
    assert explained(failure(errno.EIO, path)) == (
        f"{path}: Input/output error; `workroot doctor` looks what is wrong there"
    )
    assert explained(failure(errno.ENOSPC, path)).startswith(f"{path} cannot be written, its disk is full")
    assert explained(failure(errno.ENOSPC)) == "No space left on device"
    assert explained(OSError("odd")) == "odd"


def test_the_time_is_utc_and_the_reason_follows() -> None:
    assert memory_only(1795266000.9, "the disk is full") == "memory only since 2026-11-21T13:00:00Z: the disk is full"

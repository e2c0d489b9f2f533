"""Databases that are moved aside: the move outlives a power failure."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from workroot.storage.moved_aside import move_aside

if TYPE_CHECKING:
    from pathlib import Path


def test_the_move_is_on_the_disk_when_it_is_reported(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[set[str]] = []

    def note(descriptor: int) -> None:
        assert os.path.samestat(os.fstat(descriptor), path.parent.stat())
        synced.append(set(os.listdir(path.parent)))

    monkeypatch.setattr(os, "fsync", note)

    aside = os.path.basename(move_aside(str(path), "damaged"))

    assert synced == [{aside, f"{aside}-wal"}]


def test_a_move_that_may_not_outlive_a_power_failure_is_not_reported(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)

    with pytest.raises(OSError, match="Input/output error"):
        move_aside(str(path), "damaged")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "state.db"
    path.touch()
    for end in ("-wal", "-shm"):
        path.with_name(f"{path.name}{end}").touch()
    return path

"""The daemon's key: made once, the same for all who start at once, and refused if anybody else could know it."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from workroot.daemon_key import load_daemon_key
from workroot.errors import DaemonKeyError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path / "daemon.key"


def test_the_key_is_made_once_and_private(path: Path) -> None:
    first = load_daemon_key(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(bytes.fromhex(path.read_text())) == 32
    assert load_daemon_key(path).derive("x") == first.derive("x")
    path.unlink()
    assert load_daemon_key(path).derive("x") != first.derive("x")


def test_daemons_that_start_at_once_get_one_key(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = {key.derive("x") for key in pool.map(lambda _: load_daemon_key(path), range(32))}

    assert len(keys) == 1
    assert os.listdir(path.parent) == ["daemon.key"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o606])
def test_a_key_that_others_can_read_or_write_is_refused(path: Path, mode: int) -> None:
    load_daemon_key(path)
    path.chmod(mode)

    with pytest.raises(DaemonKeyError, match=r"nobody else can read\s+or write \(mode 0600\)"):
        load_daemon_key(path)


def test_a_key_behind_a_link_is_refused(path: Path) -> None:
    load_daemon_key(path.with_name("real.key"))
    path.symlink_to("real.key")

    with pytest.raises(DaemonKeyError):
        load_daemon_key(path)


@pytest.mark.parametrize("content", [b"\n", b"zz", b"00" * 31, b"\xff" * 64, b"00" * 300])
def test_a_file_that_holds_no_key_is_refused_and_left(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)

    with pytest.raises(DaemonKeyError, match=r"daemon's key must be|larger than"):
        load_daemon_key(path)
    assert path.read_bytes() == content

"""File systems of the tests' own, through /dev/fuse: one that never answers, and one that folds case."""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import threading
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_DETACH = 2  # MNT_DETACH
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def mounted(point: Path, kind: str = "fuse.test") -> Iterator[int]:
    """Mount at *point*; give the descriptor on which a server has to answer. Closing it frees all who wait."""
    point.mkdir(parents=True, exist_ok=True)
    try:
        device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        pytest.skip(f"/dev/fuse cannot be opened: {error.strerror}")
    try:
        options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
        if _libc.mount(b"test", os.fsencode(point), kind.encode(), 0, options.encode()) != 0:
            pytest.skip(f"mounting is not permitted: {os.strerror(ctypes.get_errno())}")
        try:
            yield device
        finally:
            unmount(point)
    finally:
        with suppress(OSError):  # a test may have closed it
            os.close(device)


def unmount(point: Path) -> None:
    """Take a mount away, whether it answers or not."""
    _libc.umount2(os.fsencode(point), _DETACH)


# A server with a tree of directories that finds names whatever their case and composition


class FoldingTree:
    """Serves directories, given by their paths, until the descriptor is closed. Listings say how they are spelled.

    Attributes:
        is_silent: set it, and nothing is answered any more.
    """

    LOOKUP, FORGET, GETATTR, INIT, OPENDIR, READDIR = 1, 2, 3, 26, 27, 28

    def __init__(self, device: int, directories: list[str]) -> None:
        self._device, self._began = device, int(time.time()) - 3600
        self._names: dict[int, dict[str, int]] = {1: {}}
        self.is_silent = False
        self._changed_at: dict[int, int] = {}
        for directory in directories:
            node = 1
            for name in directory.split("/"):
                if name not in self._names[node]:
                    self._names[node][name] = len(self._names) + 1
                    self._names[len(self._names) + 1] = {}
                node = self._names[node][name]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def spell(self, parent: str, before: str, after: str) -> None:
        """Spell a directory in *parent* otherwise."""
        node = 1
        for name in parent.split("/"):
            node = self._names[node][name]
        self._names[node] = {after if name == before else name: at for name, at in self._names[node].items()}
        self._changed_at[node] = self._changed_at.get(node, 0) + 1

    def wait_closed(self) -> None:
        self._thread.join(5)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        while True:
            try:
                request = os.read(self._device, 1 << 17)
            except OSError:
                return  # unmounted
            if self.is_silent:
                return
            _, opcode, unique, node = struct.unpack_from("<IIQQ", request)
            if opcode == self.FORGET or opcode == 42:
                continue
            body = self._answer(opcode, node, request[40:])
            error, content = (-body, b"") if isinstance(body, int) else (0, body)
            with suppress(OSError):  # nobody waits for it any more
                os.write(self._device, struct.pack("<IiQ", 16 + len(content), error, unique) + content)

    def _answer(self, opcode: int, node: int, body: bytes) -> bytes | int:
        if opcode == self.INIT:
            return struct.pack("<IIIIHHIIHHI28x", 7, 31, 0, 0, 12, 9, 4096, 1, 32, 0, 0)
        if opcode == self.LOOKUP:
            wanted = _folded(body.rstrip(b"\0").decode())
            found = [number for name, number in self._names[node].items() if _folded(name) == wanted]
            return struct.pack("<QQQQII", found[0], 0, 0, 0, 0, 0) + self._attributes(found[0]) if found else 2
        if opcode == self.GETATTR:
            return struct.pack("<QII", 0, 0, 0) + self._attributes(node)
        if opcode == self.OPENDIR:
            return struct.pack("<QII", 0, 0, 0)
        if opcode == self.READDIR:
            return self._listing(node) if struct.unpack_from("<QQ", body)[1] == 0 else b""
        return 38  # ENOSYS

    def _attributes(self, node: int) -> bytes:
        at = self._began + self._changed_at.get(node, 0)
        return struct.pack(
            "<QQQQQQIIIIIIIIII", node, 0, 0, at, at, at, 0, 0, 0, stat.S_IFDIR | 0o755, 2, 0, 0, 0, 4096, 0
        )

    def _listing(self, node: int) -> bytes:
        listing = b""
        for name, number in self._names[node].items():
            encoded = name.encode()
            entry = struct.pack("<QQII", number, len(listing) + 1, len(encoded), 4) + encoded
            listing += entry + b"\0" * (-len(entry) % 8)
        return listing


def _folded(name: str) -> str:
    return unicodedata.normalize("NFD", name).casefold()

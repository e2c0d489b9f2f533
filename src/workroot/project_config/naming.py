"""Gives a finished file its name, in one step that never takes the name from another file.

A file that has two names even for a moment is refused as a hard link by a reader in that moment, and for ever if
its writer is killed then. So it is renamed by the call of the system that refuses a name which is taken; Python has
none. Where the system or the file system has none either, the file gets a second name and loses its first.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["exclusive_rename", "name_new"]

_EXCLUSIVE = 4 if sys.platform == "darwin" else 1  # RENAME_EXCL of <sys/stdio.h>, RENAME_NOREPLACE of <linux/fs.h>
_NOT_HERE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM)  # old kernels, NFS, seccomp
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)  # FAT, some FUSE file systems


def exclusive_rename() -> Callable[[int, bytes, int, bytes], int] | None:
    """Return the system's rename that never replaces, or None if it has none.

    It takes the opened directory and the name of what is there, and the same of what is wanted, and returns 0 or the
    number of the error.
    """
    name = {"linux": "renameat2", "darwin": "renameatx_np"}.get(sys.platform)
    function = getattr(ctypes.CDLL(None, use_errno=True), name, None) if name is not None else None
    if function is None:  # musl, other systems
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    function.restype = ctypes.c_int

    def rename(source: int, old: bytes, target: int, new: bytes) -> int:
        ctypes.set_errno(0)
        return 0 if function(source, old, target, new, _EXCLUSIVE) == 0 else ctypes.get_errno() or errno.EIO

    return rename


_rename = exclusive_rename()


def name_new(temporary: str, name: str, holder: int) -> None:
    """Give the file *temporary* in an opened directory the name *name*, unless that is taken.

    Raises:
        FileExistsError: it is taken; nothing was changed.
        OSError: it could not be named.
    """
    if _rename is not None:
        error = _rename(holder, os.fsencode(temporary), holder, os.fsencode(name))
        if error == 0:
            return
        if error not in _NOT_HERE:
            raise OSError(error, os.strerror(error), name)
    _link(temporary, name, holder)


def _link(temporary: str, name: str, holder: int) -> None:
    try:  # unlike a plain rename, never over another file
        os.link(temporary, name, src_dir_fd=holder, dst_dir_fd=holder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        with contextlib.suppress(FileNotFoundError):
            os.stat(name, dir_fd=holder, follow_symlinks=False)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name) from None
        os.rename(temporary, name, src_dir_fd=holder, dst_dir_fd=holder)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=holder)

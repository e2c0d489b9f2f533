"""Reads `config.toml` of the state directory: what lies there may be anything, and none of it holds up a start."""

from __future__ import annotations

import os
import stat
import tomllib
from typing import TYPE_CHECKING

from workroot.errors import SettingsError
from workroot.escaping import escaped

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_settings_file"]

_MAX_BYTES = 64 * 1024


def read_settings_file(path: Path) -> dict[str, object]:
    """Return what the file says; nothing if there is none.

    A link is followed, since people keep their settings elsewhere and link to them.

    Raises:
        SettingsError: it is no TOML, no plain file of the user's or of root's, too large, or others may change it.
    """
    try:
        return tomllib.loads(_read_text(path))
    except FileNotFoundError:
        return {}
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(str(path), f"is not TOML: {escaped(str(error))}") from None
    except RecursionError:
        raise SettingsError(str(path), "is nested too deeply") from None
    except UnicodeDecodeError:
        raise SettingsError(str(path), "is not UTF-8 text") from None
    except OSError as error:
        raise SettingsError(str(path), f"cannot be read: {error.strerror or error}") from None


def _read_text(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise SettingsError(str(path), "cannot be read: it is not a plain file")
        if found.st_uid not in (os.geteuid(), 0):
            raise SettingsError(str(path), f"belongs to the user with id {found.st_uid}; make it yours")
        if found.st_mode & 0o002:
            raise SettingsError(str(path), f"can be changed by every user; run: chmod o-w '{path}'")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(_MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > _MAX_BYTES:
        raise SettingsError(str(path), f"is larger than {_MAX_BYTES // 1024} KiB")
    return content.decode("utf-8-sig")  # some editors begin a file with a byte order mark

"""The store of sessions, and files that its content comes from."""

from __future__ import annotations

from workroot.errors.tree import WorkrootError

__all__ = [
    "ArchiveError",
    "ChangeRefusedError",
    "StoreError",
    "StoreInUseError",
    "StoreTooNewError",
    "StoreUnavailableError",
]


class StoreError(WorkrootError):
    """The store of sessions cannot be used."""

    code = "store_error"


class StoreUnavailableError(StoreError):
    """Nothing was written; the call may be repeated."""

    code = "store_unavailable"


class ChangeRefusedError(StoreError):
    """The store will not keep this, now or later: repeating the call does not help. Nothing of it was kept."""

    code = "change_refused"

    def __init__(self, what: str, problem: str) -> None:
        super().__init__(f"{what} cannot be kept: {problem}")


class StoreTooNewError(StoreError):
    """The database was written by a newer workroot; it was left untouched."""

    code = "store_too_new"

    def __init__(self, path: str, found: int, supported: int) -> None:
        super().__init__(
            f"{path} has schema version {found}, this workroot reads up to {supported}: "
            f"start the newer workroot again, or move the file away to begin anew"
        )


class StoreInUseError(StoreError):
    """Another process owns the database."""

    code = "store_in_use"

    def __init__(self, path: str, pid: str | None = None, host: str | None = None, here: str | None = None) -> None:
        if host is not None and host != here:
            super().__init__(
                f"{path} is in use by process {pid} on host {host!r}, this one is {here!r}: a state directory serves "
                f"one host at a time; run `workroot stop` there, or give each host a WORKROOT_HOME of its own"
            )
            return
        who = "another process" if pid is None else f"process {pid}"
        super().__init__(
            f"{path} is in use by {who}; connect to the running daemon instead (in Python, workroot.connect())"
        )


class ArchiveError(WorkrootError):
    """A file that was to be imported is no whole archive; nothing was imported.

    Attributes:
        line: where it is wrong, from 1; None if no line is.
    """

    code = "bad_archive"

    def __init__(self, name: str, problem: str, *, line: int | None = None) -> None:
        self.line = line
        where = f"{name}, line {line}" if line is not None else name
        super().__init__(f"{where}: {problem}")

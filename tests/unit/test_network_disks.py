"""Which journal a database gets, by what the system says of the file system that holds it."""

from __future__ import annotations

import pytest

from workroot.project_finder.mounts import remote_file_system
from workroot.storage.network_disks import journal_for, journal_warning

MOUNTS = (
    ("/", "9p"),  # without it nothing would run
    ("/home", "ext4"),
    ("/home/ada/cloud", "fuse.sshfs"),
    ("/srv", "nfs4"),
    ("/srv/disk", "xfs"),
    ("/mnt", "autofs"),
    ("/mnt", "ext4"),
    ("/share", "ext4"),
    ("/share", "CIFS"),
)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/workroot.db", None),
        ("/home/ada/.local/state/workroot/workroot.db", None),
        ("/home/ada/cloud/workroot.db", "fuse.sshfs"),
        ("/home/ada/cloudy/workroot.db", None),
        ("/srv/workroot.db", "nfs4"),
        ("/srv", "nfs4"),
        ("/srv/disk/workroot.db", None),
        ("/mnt/workroot.db", None),
        ("/share/workroot.db", "CIFS"),
        ("/", None),
    ],
)
def test_the_file_system_that_holds_a_path_is_the_one_mounted_last_and_nearest(path: str, kind: str | None) -> None:
    assert remote_file_system(path, lambda: MOUNTS) == kind


@pytest.mark.parametrize(
    "kind",
    ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "afs", "ceph", "glusterfs", "vboxsf", "virtiofs", "drvfs"],
)
def test_the_log_is_refused_where_another_machine_or_a_program_serves_the_files(kind: str) -> None:
    found = remote_file_system("/net/workroot.db", lambda: [("/", "ext4"), ("/net", kind)])

    assert found == kind
    assert [(pragma.name, pragma.expected) for pragma in journal_for(found)] == [
        ("locking_mode", "exclusive"),
        ("journal_mode", "delete"),
        ("synchronous", 3),
    ]


def test_on_a_disk_of_this_machine_the_log_is_synced_at_every_commit() -> None:
    assert [(pragma.name, pragma.expected) for pragma in journal_for(None)] == [
        ("journal_mode", "wal"),
        ("synchronous", 2),
    ]


def test_nothing_is_said_of_the_log_where_it_is_in_use() -> None:
    assert journal_warning("/home/ada/workroot.db", "wal", None) is None


def test_the_reason_and_the_alternative_are_said() -> None:
    said = journal_warning("/srv/workroot.db", "delete", "nfs4")

    assert said is not None
    assert said.startswith("/srv/workroot.db lies on a network file system or one that a program serves (nfs4)")
    assert "write-ahead log is refused" in said
    assert "journal_mode=DELETE, locking_mode=EXCLUSIVE, synchronous=EXTRA" in said
    assert "set WORKROOT_HOME to a directory on a local disk" in said


def test_another_reason_is_not_called_a_network() -> None:
    said = journal_warning("/home/ada/workroot.db", "delete", None)

    assert said is not None
    assert said.startswith("/home/ada/workroot.db lies where SQLite cannot keep its write-ahead log")


def test_where_nobody_can_tell_the_disk_is_taken_for_this_machine_s() -> None:
    def fail() -> list[tuple[str, str]]:
        raise FileNotFoundError("/proc/filesystems")

    assert remote_file_system("/srv/workroot.db", fail) is None


def test_this_machine_s_own_table_is_asked_if_no_other_is_given() -> None:
    assert remote_file_system("/") is None

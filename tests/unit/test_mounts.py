"""Which mounts may hang, from tables as the systems give them."""

from __future__ import annotations

from pathlib import Path

import pytest

from workroot.project_finder.mounts import Mount, Mounts, PolledMountTable, WatchedMountTable, may_hang, mount_table

TABLE = rb"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
40 27 0:40 / /srv/nas rw,relatime shared:7 master:1 - nfs4 nas:/export rw,vers=4.2
41 27 0:41 / /home/ada/my\040cloud rw,nosuid - fuse.sshfs ada@host:/ rw,user_id=1000
42 27 8:1 / /media/stick rw - fuseblk /dev/sdb1 rw
43 27 0:43 / /host/proc rw - proc proc rw
44 27 0:44 / /tmp rw - tmpfs tmpfs rw
"""


def read(tmp_path: Path, table: bytes = TABLE) -> Mounts:
    path = tmp_path / "mountinfo"
    path.write_bytes(table)
    return WatchedMountTable(str(path)).current()


@pytest.mark.parametrize(
    "kind", ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "fuse", "afs", "ceph", "autofs", "AFPFS"]
)
def test_what_another_machine_or_a_program_serves_may_hang(kind: str) -> None:
    assert may_hang(kind)


@pytest.mark.parametrize("kind", ["ext4", "btrfs", "xfs", "zfs", "apfs", "tmpfs", "overlay", "vfat", "fuseblk"])
def test_disks_and_memory_do_not(kind: str) -> None:
    assert not may_hang(kind)


def test_the_kernel_s_table_is_read(tmp_path: Path) -> None:
    mounts = read(tmp_path)

    assert mounts.remote == (Mount("/home/ada/my cloud", "41/0:41"), Mount("/srv/nas", "40/0:40"))
    assert mounts.magic == ("/host/proc", "/proc")


@pytest.mark.parametrize(
    ("path", "point"),
    [
        ("/srv", None),
        ("/srv/nas", "/srv/nas"),
        ("/srv/nas/a/b", "/srv/nas"),
        ("/srv/nas-local", None),
        ("/srv/nasty/nas", None),
        ("/SRV/NAS/a", "/srv/nas"),
        ("/home/ada/my cloud/x", "/home/ada/my cloud"),
        ("/", None),
    ],
)
def test_a_path_touches_the_mount_that_it_leads_into(tmp_path: Path, path: str, point: str | None) -> None:
    mount = read(tmp_path).touched_by(path)

    assert (mount.point if mount is not None else None) == point


def test_of_mounts_in_one_another_the_inner_one_is_touched() -> None:
    mounts = Mounts.of([Mount("/a"), Mount("/a/b"), Mount("/a/c")])

    assert mounts.touched_by("/a/b/x") == Mount("/a/b")
    assert mounts.touched_by("/a/d") == Mount("/a")


def test_what_is_mounted_at_the_top_counts_as_local() -> None:
    assert Mounts.of([Mount("/")]).touched_by("/home") is None


def test_a_link_is_magic_only_below_a_mount_of_proc(tmp_path: Path) -> None:
    mounts = read(tmp_path)

    assert [mounts.is_magic(link) for link in ("/proc/self", "/host/proc/1/cwd", "/proclaimed/x", "/a/proc/self")] == [
        True,
        True,
        False,
        False,
    ]


def test_a_table_that_did_not_change_is_not_read_again() -> None:
    table = mount_table()

    assert table.current() is table.current()


def test_elsewhere_the_table_is_read_once_a_second() -> None:
    now, partitions = [100.0], [("/", "apfs"), ("/Volumes/nas", "smbfs")]
    table = PolledMountTable(lambda: partitions, clock=lambda: now[0])
    before = table.current()
    assert before.remote == (Mount("/Volumes/nas"),)

    partitions.pop()
    now[0] += 0.9
    assert table.current() is before
    now[0] += 0.1
    after = table.current()
    assert (after.remote, after.generation != before.generation) == ((), True)
    now[0] += 1
    assert table.current() is after


def test_the_partitions_of_this_system_can_be_read() -> None:
    pytest.importorskip("psutil", reason="comes with the dependencies")

    assert isinstance(PolledMountTable().current(), Mounts)

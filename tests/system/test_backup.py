"""Copies of a real database: consistent while it is written, private, few, and of use."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from workroot.errors import RendezvousError, StoreInUseError, StoreTooNewError, StoreUnavailableError
from workroot.storage.backup import KEPT_BACKUPS, back_up_unused, restore_backup, schema_version, write_copy
from workroot.storage.database_file import lock_database
from workroot.storage.schema import MIGRATIONS
from workroot.storage.sqlite import open_sqlite_store

VERSION = "1.2.3"


@pytest.fixture
def database(tmp_path: Path) -> str:
    return str(tmp_path / "workroot.db")


@pytest.fixture
def directory(tmp_path: Path) -> str:
    return str(tmp_path / "backups")


async def make(database: str) -> str:
    """Make a database, and return the namespace that tells it from others."""
    async with open_sqlite_store(database) as store:
        return str((await store.load()).namespace)


def namespace(path: str) -> str:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return str(connection.execute("SELECT value FROM meta WHERE key = 'namespace'").fetchone()[0])


async def test_a_copy_of_a_database_in_use_is_whole_private_and_closed(database: str, directory: str) -> None:
    async with open_sqlite_store(database) as store:
        before = os.umask(0)
        try:
            made = await store.back_up(directory, version=VERSION)
        finally:
            os.umask(before)
        assert os.path.getsize(f"{database}-wal") > 0, "what is copied lies in the log still"
        assert made.schema == len(MIGRATIONS) == schema_version(made.path)
        assert namespace(made.path) == str((await store.load()).namespace)
        assert stat.S_IMODE(os.stat(made.path).st_mode) == 0o600
        assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
        assert os.listdir(directory) == [os.path.basename(made.path)]
        assert os.path.basename(made.path).startswith(f"workroot-{VERSION}-")


async def test_only_the_newest_copies_stay_and_nothing_else_is_touched(database: str, directory: str) -> None:
    async with open_sqlite_store(database) as store:
        os.mkdir(directory, 0o700)
        mine = Path(directory) / "mine.db"
        mine.write_text("")
        made = [(await store.back_up(directory, version=f"{9 - number}.0")).path for number in range(KEPT_BACKUPS + 2)]
        assert sorted(map(str, Path(directory).iterdir())) == sorted([*made[-KEPT_BACKUPS:], str(mine)])


@pytest.mark.parametrize("years", ["2999", "1999"], ids=["to come", "past"])
async def test_a_new_copy_stays_whatever_the_clock_said_when_the_others_were_made(
    database: str, directory: str, years: str
) -> None:
    async with open_sqlite_store(database) as store:
        os.mkdir(directory, 0o700)
        of_then = [f"workroot-{VERSION}-{years}010{number}T000000000000Z.db" for number in range(1, KEPT_BACKUPS + 1)]
        for name in of_then:
            (Path(directory) / name).touch()
        made = [os.path.basename((await store.back_up(directory, version=VERSION)).path) for _ in range(2)]

        assert sorted(os.listdir(directory)) == sorted([*of_then[2:], *made])


async def test_a_directory_that_others_may_enter_gets_no_copy(database: str, directory: str) -> None:
    async with open_sqlite_store(database) as store:
        os.mkdir(directory)
        os.chmod(directory, 0o755)
        with pytest.raises(RendezvousError, match="chmod 700"):
            await store.back_up(directory, version=VERSION)
        assert os.listdir(directory) == []


async def test_a_copy_that_fails_leaves_nothing_and_says_why(database: str, directory: str) -> None:
    async with open_sqlite_store(database) as store:
        with pytest.raises(StoreUnavailableError):
            await store.back_up(directory, version="no/such/directory")
        assert os.listdir(directory) == []
        await store.back_up(directory, version=VERSION)


async def test_a_copy_has_its_name_only_once_it_is_on_the_disk_and_so_is_its_name_then(
    database: str, directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await make(database)
    synced: list[set[int]] = []
    fsync, rename = os.fsync, os.replace

    def note_fsync(descriptor: int) -> None:
        synced[-1].add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def note_rename(old: str, new: str) -> None:
        rename(old, new)
        synced.append(set())

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_rename)
    synced.append(set())
    made = back_up_unused(database, directory, version=VERSION)

    assert made is not None
    assert namespace(made.path) == kept
    before, after = synced
    assert os.stat(made.path).st_ino in before
    assert os.stat(directory).st_ino in after


async def test_a_copy_that_cannot_get_its_name_leaves_nothing(
    database: str, directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(database)

    def refuse(old: str, new: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(os, "replace", refuse)
        with pytest.raises(StoreUnavailableError, match="No space left"):
            back_up_unused(database, directory, version=VERSION)
    assert os.listdir(directory) == []

    assert back_up_unused(database, directory, version=VERSION) is not None


async def test_half_a_copy_that_a_crash_left_is_in_nobody_s_way(database: str, directory: str) -> None:
    kept = await make(database)
    with closing(sqlite3.connect(database)) as connection:
        copy = os.path.join(os.path.dirname(database), "copy.db")
        Path(f"{copy}.part").write_text("half of one")
        write_copy(connection, copy)

    assert namespace(copy) == kept
    assert not os.path.exists(f"{copy}.part")


async def test_what_sqlite_says_of_a_copy_that_fails_is_said_as_ours(database: str, directory: str) -> None:
    await make(database)
    sound = Path(database).read_bytes()
    with closing(sqlite3.connect(database)) as connection:
        page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'projects'").fetchone()
    at = (page - 1) * page_bytes  # nobody but the copy reads this page
    Path(database).write_bytes(sound[:at] + b"\xa5" * page_bytes + sound[at + page_bytes :])

    with pytest.raises(StoreUnavailableError) as raised:
        back_up_unused(database, directory, version=VERSION)

    assert isinstance(raised.value.__cause__, sqlite3.DatabaseError)
    assert os.listdir(directory) == []


async def test_of_a_deleted_database_no_copy_is_made(database: str, directory: str) -> None:
    async with open_sqlite_store(database) as store:
        os.unlink(database)
        with pytest.raises(StoreUnavailableError, match="deleted or replaced"):
            await store.back_up(directory, version=VERSION)


async def test_a_database_that_nobody_uses_is_copied_too(database: str, directory: str) -> None:
    assert back_up_unused(database, directory, version=VERSION) is None
    kept = await make(database)
    made = back_up_unused(database, directory, version=VERSION)
    assert made is not None
    assert namespace(made.path) == kept


async def test_one_in_use_is_neither_copied_nor_overwritten_from_outside(database: str, directory: str) -> None:
    async with open_sqlite_store(database) as store:
        made = await store.back_up(directory, version=VERSION)
        with pytest.raises(StoreInUseError):
            back_up_unused(database, directory, version=VERSION)
        with pytest.raises(StoreInUseError):
            restore_backup(made.path, database)


@pytest.mark.parametrize("is_there", [True, False])
async def test_a_restored_database_is_what_it_was(database: str, directory: str, is_there: bool) -> None:
    kept = await make(database)
    made = back_up_unused(database, directory, version=VERSION)
    assert made is not None
    os.unlink(database)
    if is_there:
        assert await make(database) != kept
    assert restore_backup(made.path, database) is None
    assert stat.S_IMODE(os.stat(database).st_mode) == 0o600
    assert await make(database) == kept, "it can be opened, and holds what it held"
    assert namespace(made.path) == kept, "the copy is still there"


@pytest.mark.parametrize("spoilt_from", [0, 5000])
@pytest.mark.parametrize("has_log", [True, False])
async def test_a_damaged_database_is_moved_aside_before_a_copy_takes_its_place(
    database: str, directory: str, spoilt_from: int, has_log: bool
) -> None:
    kept = await make(database)
    made = back_up_unused(database, directory, version=VERSION)
    assert made is not None
    sound = Path(database).read_bytes()
    spoilt = sound[:spoilt_from] + b"\xa5" * (len(sound) - spoilt_from)
    Path(database).write_bytes(spoilt)
    if has_log:
        Path(f"{database}-wal").write_bytes(b"what was last")
    with pytest.raises(StoreUnavailableError):
        back_up_unused(database, directory, version=VERSION)

    with pytest.raises(StoreUnavailableError, match="is not a backup"):
        restore_backup(f"{made.path}.gone", database, is_damaged=True)
    assert Path(database).exists(), "a copy that cannot be used costs nothing"
    aside = restore_backup(made.path, database, is_damaged=True)

    assert aside is not None
    assert Path(aside).read_bytes()[spoilt_from:] == spoilt[spoilt_from:]
    assert not has_log or Path(f"{aside}-wal").read_bytes() == b"what was last"
    assert await make(database) == kept


async def test_what_is_no_sound_backup_is_not_restored(database: str, tmp_path: Path) -> None:
    kept = await make(database)
    empty, text, other, newer, cut = (str(tmp_path / name) for name in ("empty", "text", "other", "newer", "cut"))
    Path(empty).touch()
    Path(text).write_text("not a database" * 100)
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    shutil.copy(database, newer)
    with closing(sqlite3.connect(newer)) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    Path(cut).write_bytes(Path(database).read_bytes()[:-4096])
    for path in (empty, text, other, cut):
        with pytest.raises(StoreUnavailableError):
            restore_backup(path, database)
    with pytest.raises(StoreTooNewError):
        restore_backup(newer, database)
    assert await make(database) == kept


async def test_a_database_that_another_host_uses_is_refused_with_the_name_of_that_host(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(database)
    lock = lock_database(database)
    try:
        with pytest.raises(StoreInUseError, match=f"process {os.getpid()}; connect to the running daemon"):
            lock_database(database)
        Path(f"{database}.lock").write_text("4711 elsewhere.example\n")
        with pytest.raises(
            StoreInUseError, match=r"process 4711 on host 'elsewhere\.example', this one is .* WORKROOT_HOME"
        ):
            lock_database(database)
        Path(f"{database}.lock").write_text("\0 nonsense of any kind")
        with pytest.raises(StoreInUseError, match="another process"):
            lock_database(database)
    finally:
        os.close(lock)
    Path(f"{database}.lock").write_text("4711 elsewhere.example\n")
    await make(database)  # what is written there decides nothing


async def test_where_no_directory_can_be_no_copy_is_made(database: str, tmp_path: Path) -> None:
    async with open_sqlite_store(Path(database)):
        pass
    (tmp_path / "file").touch()

    with pytest.raises(StoreUnavailableError):
        back_up_unused(database, str(tmp_path / "file" / "backups"), version="1")


async def test_a_backup_that_contradicts_itself_is_not_restored(database: str, directory: str) -> None:
    async with open_sqlite_store(Path(database)):
        pass
    made = back_up_unused(database, directory, version="1")
    assert made is not None
    spoilt = bytearray(Path(made.path).read_bytes())
    spoilt[36:40] = (1).to_bytes(4, "big")  # free pages, of which there are none (sqlite.org/fileformat2.html)
    Path(made.path).write_bytes(spoilt)
    before = Path(database).read_bytes()

    with pytest.raises(StoreUnavailableError, match=r"(?s)is damaged .*; nothing was restored"):
        restore_backup(made.path, database)

    assert Path(database).read_bytes() == before


async def test_a_backup_is_not_restored_to_where_no_database_can_be(
    database: str, directory: str, tmp_path: Path
) -> None:
    async with open_sqlite_store(Path(database)):
        pass
    made = back_up_unused(database, directory, version="1")
    assert made is not None
    (tmp_path / "taken").mkdir()

    for place in (tmp_path / "taken", tmp_path / "absent" / "workroot.db"):
        with pytest.raises(StoreUnavailableError):
            restore_backup(made.path, str(place))

"""An archive: what is written is what is read, and nothing else is read."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest

from workroot.archive.document import check_archive, read_body, records_of
from workroot.archive.moving import Moving
from workroot.archive.records import (
    LONGEST_LINE,
    VERSION,
    ProjectIdRecord,
    ProjectRecord,
    Record,
    SessionRecord,
    decode,
    encode,
)
from workroot.archive.state import state_of
from workroot.core.allocations import MAX_METADATA_BYTES, AllocatedSession, SessionStatus, as_text
from workroot.core.changes import AliasBound, ProjectSeen, StoredState
from workroot.core.connections import EndedAlias, KeptConnection
from workroot.core.projects import Directory, KnownId, KnownProject, ProjectId, ProjectKey
from workroot.core.sessions import Alias, EndedSession, Ending, Owner, PinnedSign, SessionContext, SessionId
from workroot.errors import ArchiveError

NAMESPACE = "5f0c0c7e-6d0b-4e0e-9e57-3a6f6f0f2a11"
PROJECT_ID = ProjectId("0b9a1f52-8a0c-4a53-9a52-0d6b3a0f3c10")
ADA = Owner("uid:1000")
BOT = Owner("user:bot", "team")

SESSION = SessionContext(
    session_id=SessionId("wr_one"),
    owner=ADA,
    working_directory=Directory("/home/ada/tea/pots"),
    given_directory="/home/ada/tea/pots/",
    config_path="/home/ada/tea/.workroot/config.toml",
    project_id=PROJECT_ID,
    project_root=Directory("/home/ada/tea"),
    project_name="Tee — 茶",
    signs=(PinnedSign("roots: 1", "/home/ada/tea", agreed=True),),
    set_at=1_000.5,
    last_used=2_000.25,
    revision=7,
)
LENT = AllocatedSession(
    session_id=SessionId("chosen"),
    owner=ADA,
    user_id="bob@größe",
    created_at=1_000.5,
    deadline=60.25,  # on a clock that stands at 0
    last_accessed=2_000.25,
    metadata='{"cart":["🦀",1.5,null],"{\\"":{}}',
    revision=7,
)
ARCHIVED = ("session", "ended", "allocation", "alias", "connection", "ended_alias", "project", "project_id")
STATE = StoredState(
    namespace=NAMESPACE,
    sessions=(SESSION, replace(SESSION, session_id=SessionId("bare"), owner=BOT, project_id=None, project_name=None)),
    ended=(
        EndedSession(
            session_id=SessionId("wr_gone"),
            owner=ADA,
            last_directory=Directory("/home/ada/milk"),
            ending=Ending.CLOSED,
            ended_at=1_500.0,
        ),
    ),
    aliases=(AliasBound(ADA, Alias("connector-1"), SESSION.session_id),),
    projects=(
        ProjectSeen(
            ADA,
            KnownProject(
                project_id=PROJECT_ID,
                name="Tea",
                root=Directory("/home/ada/tea"),
                worktree_of=Directory("/home/ada/main"),
                seen_at=1_900.0,
            ),
        ),
    ),
    project_ids=(
        KnownId(
            key=ProjectKey("/home/ada/main/.git", ""),
            project_id=PROJECT_ID,
            name="Tea",
            root=Directory("/home/ada/tea"),
            is_joined=True,
        ),
    ),
    connections=(
        KeptConnection(
            owner=ADA,
            alias=Alias("connector-1"),
            subscriptions=frozenset({"workroot://projects", "workroot://sessions/wr_one"}),
            log_level="info",
            is_resumable=True,
            last_used=1_800.0,
        ),
    ),
    ended_aliases=(EndedAlias(BOT, Alias("wrh_over"), 1_700.0),),
    allocations=(
        LENT,
        replace(LENT, session_id=SESSION.session_id, owner=BOT, user_id=None, metadata="{}"),
        *(
            replace(LENT, session_id=SessionId(each), deadline=0.0, metadata="{}", status=each, ended_at=1_800.5)
            for each in SessionStatus
            if each.is_final
        ),
    ),
)


def written(state: StoredState = STATE, *, now: float = 0.0) -> list[str]:
    """The lines of an archive."""
    return [encode(record) for record in records_of(state, principal="uid:1000", now=now)]


def number_of(lines: list[str], kind: str) -> int:
    """At which index the first record of a kind is."""
    return next(index for index, line in enumerate(lines) if json.loads(line)["kind"] == kind)


def file_of(lines: list[str]) -> io.BytesIO:
    return io.BytesIO("".join(f"{line}\n" for line in lines).encode())


def changed(line: str, **fields: object) -> str:
    """A line with other fields; None takes one away."""
    record = {**json.loads(line), **fields}
    return json.dumps({name: value for name, value in record.items() if value is not None})


def test_what_is_written_is_read_again() -> None:
    archive = file_of(written())

    head = check_archive(archive, "a.jsonl")
    archive.seek(0)
    found = state_of(read_body(archive, "a.jsonl"))

    assert (head.principal, head.namespace) == ("uid:1000", NAMESPACE)
    assert found == replace(STATE, namespace="")


def test_an_archive_holds_records_of_these_kinds_and_no_others() -> None:
    """So nothing that grants anything is in it: neither trust nor tokens, nor a key."""
    assert {json.loads(line)["kind"] for line in written()} == set(ARCHIVED) | {"workroot-archive", "end"}
    for kind in ("trust", "token", "key", "settings"):
        with pytest.raises(ValueError, match="does not match any of the expected tags"):
            decode(json.dumps({"kind": kind}))


def test_an_empty_state_is_an_archive_too() -> None:
    lines = written(StoredState(namespace=NAMESPACE))

    assert [json.loads(line)["kind"] for line in lines] == ["workroot-archive", "end"]
    assert check_archive(file_of(lines), "a").namespace == NAMESPACE


@pytest.mark.parametrize("kept", range(len(written())))
def test_an_archive_cut_short_after_any_line_is_refused(kept: int) -> None:
    with pytest.raises(ArchiveError, match="empty" if kept == 0 else f"cut short after {kept} lines"):
        check_archive(file_of(written()[:kept]), "a.jsonl")


@pytest.mark.parametrize("missing", range(1, len(written()) - 1))
def test_an_archive_that_lacks_any_line_is_refused(missing: int) -> None:
    lines = written()
    del lines[missing]

    with pytest.raises(ArchiveError):
        check_archive(file_of(lines), "a.jsonl")


def test_what_follows_the_end_is_refused() -> None:
    lines = written()

    with pytest.raises(ArchiveError, match=rf"a.jsonl, line {len(lines) + 1}: something follows the end"):
        check_archive(file_of([*lines, lines[1]]), "a.jsonl")


def test_a_second_head_is_refused() -> None:
    lines = written()

    with pytest.raises(ArchiveError, match="line 2: only the first line"):
        check_archive(file_of([lines[0], *lines]), "a")


@pytest.mark.parametrize("line", ["", "{}", "[]", "null", "{", "GIF89a", "[" * 100_000, '{"kind": "session"}'])
def test_a_file_of_another_kind_is_said_to_be_one(line: str) -> None:
    with pytest.raises(ArchiveError, match="line 1: this is not an archive that `workroot export` wrote"):
        check_archive(file_of([line]), "a")


def test_an_archive_of_a_newer_workroot_asks_for_an_upgrade_whatever_it_holds() -> None:
    head = changed(written()[0], version=VERSION + 1, workroot="9.9", something_new=True)

    with pytest.raises(ArchiveError, match=rf"a newer workroot \(9\.9\) wrote it, in form {VERSION + 1}.*upgrade"):
        check_archive(file_of([head]), "a")


def test_a_line_without_an_end_is_not_read_for_ever() -> None:
    with pytest.raises(ArchiveError, match="line 2: it is longer than 256 KiB"):
        check_archive(io.BytesIO(f"{written()[0]}\n{'x' * (LONGEST_LINE + 1)}".encode()), "a")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"session_id": "../etc"}, "session_id: "),
        ({"session_id": None}, "session_id: Field required"),
        ({"working_directory": "tea"}, "working_directory: .*absolute path"),
        ({"working_directory": "/tea\0pot"}, "working_directory: .*absolute path"),
        ({"working_directory": f"/{'x' * 4095}"}, "working_directory: .*4,095 bytes"),
        ({"project_id": "tea"}, "project_id: "),
        ({"revision": 0}, "revision: "),
        ({"revision": 1.5}, "revision: "),
        ({"revision": "7"}, "revision: "),
        ({"last_used": -1}, "last_used: "),
        ({"last_used": "2000"}, "last_used: "),
        ({"last_used": True}, "last_used: "),
        ({"last_used": 1e300}, "last_used: "),
        ({"set_at": 2.6e11}, "set_at: "),  # no date has that year
        ({"principal": ""}, "principal: "),
        ({"colour": "red"}, "colour: Extra inputs"),
        ({"signs": [["one"]]}, "signs.0.1: Field required"),
    ],
)
def test_a_wrong_field_is_named_with_its_line(fields: dict[str, object], problem: str) -> None:
    lines = written()
    lines[1] = changed(lines[1], **fields)

    with pytest.raises(ArchiveError, match=f"a.jsonl, line 2: {problem}"):
        check_archive(file_of(lines), "a.jsonl")


@pytest.mark.parametrize("version", [0, "1", True, None, 1.5])
def test_a_version_that_is_none_is_refused(version: object) -> None:
    with pytest.raises(ArchiveError, match="line 1: version: "):
        check_archive(file_of([changed(written()[0], version=version)]), "a")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"log_level": "loud"}, "log_level: "),
        ({"subscriptions": [f"workroot://sessions/{number}" for number in range(257)]}, "subscriptions: "),
    ],
)
def test_a_conversation_that_no_daemon_would_keep_is_refused(fields: dict[str, object], problem: str) -> None:
    lines = written()
    number = next(index for index, line in enumerate(lines) if '"connection"' in line)
    lines[number] = changed(lines[number], **fields)

    with pytest.raises(ArchiveError, match=f"line {number + 1}: {problem}"):
        check_archive(file_of(lines), "a")


def test_an_archive_without_allocated_sessions_is_of_the_form_that_older_versions_read() -> None:
    lines = written(replace(STATE, allocations=()))

    assert json.loads(lines[0])["version"] == 1
    assert check_archive(file_of(lines), "a").version == 1
    assert json.loads(written()[0])["version"] == VERSION == 2


@pytest.mark.parametrize(("deadline", "remaining"), [(1_060.25, 60.25), (1_000.0, 0.0), (-5.0, 0.0)])
def test_the_time_to_live_that_is_left_is_archived(deadline: float, remaining: float) -> None:
    state = StoredState(namespace=NAMESPACE, allocations=(replace(LENT, deadline=deadline),))

    (found,) = state_of(decode(line) for line in written(state, now=1_000.0)).allocations

    assert found == replace(LENT, deadline=remaining)


def test_of_what_has_ended_no_time_is_left() -> None:
    over = replace(LENT, deadline=1_060.0, metadata="{}", status=SessionStatus.TERMINATED, ended_at=1_800.5, seen=990.0)

    (found,) = state_of(
        decode(line) for line in written(StoredState(namespace=NAMESPACE, allocations=(over,)), now=1_000.0)
    ).allocations

    assert found == replace(over, deadline=0.0, seen=0.0)


@pytest.mark.parametrize("character", ["\\", "\x01", '"', "é", "🦀"])
def test_the_longest_metadata_is_a_line_that_is_read_again(character: str) -> None:
    each = len(as_text({"a": character}).encode()) - len('{"a":""}')
    lent = replace(LENT, metadata=as_text({"a": character * ((MAX_METADATA_BYTES - len('{"a":""}')) // each)}))
    lines = written(StoredState(namespace=NAMESPACE, allocations=(lent,)))

    archive = file_of(lines)
    check_archive(archive, "a")
    archive.seek(0)

    assert state_of(read_body(archive, "a")).allocations == (lent,)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"metadata": "[]"}, "metadata: .*JSON object"),
        ({"metadata": "{"}, "metadata: .*JSON object"),
        ({"metadata": "[" * 60_000}, "metadata: .*JSON object"),
        ({"metadata": '{"a":NaN}'}, "metadata: .*JSON object"),
        ({"metadata": '{"a":"\\udcff"}'}, "metadata: .*JSON object"),
        ({"metadata": json.dumps({"a": "x" * MAX_METADATA_BYTES})}, "metadata: .*65536 bytes"),
        ({"metadata": {"a": 1}}, "metadata: "),
        ({"status": "asleep"}, "status: "),
        ({"status": "expired"}, ".*ended_at if it has ended, and only then"),
        ({"ended_at": 5.0}, ".*ended_at if it has ended, and only then"),
        ({"remaining_seconds": -1}, "remaining_seconds: "),
        ({"remaining_seconds": 1e300}, "remaining_seconds: "),
        ({"user_id": ""}, "user_id: "),
        ({"user_id": "bob\n"}, "user_id: "),
        ({"user_id": "x" * 1025}, "user_id: "),
        ({"session_id": "../etc"}, "session_id: "),
        ({"deadline": 5.0}, "deadline: Extra inputs"),
    ],
)
def test_an_allocated_session_that_no_daemon_would_keep_is_refused(fields: dict[str, object], problem: str) -> None:
    lines = written()
    number = number_of(lines, "allocation")
    lines[number] = changed(lines[number], **fields)

    with pytest.raises(ArchiveError, match=f"line {number + 1}: {problem}"):
        check_archive(file_of(lines), "a")


def test_an_allocated_session_that_is_there_twice_is_refused() -> None:
    lines = written()
    number = number_of(lines, "allocation")
    lines.insert(number + 1, lines[number])

    with pytest.raises(ArchiveError, match=f"line {number + 2}: allocated session chosen is there twice"):
        check_archive(file_of(lines), "a")


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(text: str) -> None:
    lines = written()
    lines[1] = lines[1].replace("2000.25", text)

    with pytest.raises(ArchiveError, match="line 2"):
        check_archive(file_of(lines), "a")


def test_a_text_that_is_not_unicode_is_refused() -> None:
    lines = written()
    lines[1] = lines[1].replace("/home/ada/tea/pots/", "/home/\\udcff")

    with pytest.raises(ArchiveError, match="line 2"):
        check_archive(file_of(lines), "a")


def test_an_error_quotes_nothing_of_a_line() -> None:
    lines = written()
    lines[1] = changed(lines[1], project_id="a-secret")

    with pytest.raises(ArchiveError) as refused:
        check_archive(file_of(lines), "a")

    assert "a-secret" not in str(refused.value)


def test_a_session_that_is_there_twice_is_refused() -> None:
    lines = written()
    lines.insert(2, lines[1])

    with pytest.raises(ArchiveError, match="line 3: session wr_one is there twice"):
        check_archive(file_of(lines), "a")


def test_a_name_for_a_session_that_is_not_there_is_refused() -> None:
    lines = written()
    number = next(index for index, line in enumerate(lines) if '"alias"' in line)
    lines[number] = changed(lines[number], session_id="nobody")

    with pytest.raises(ArchiveError, match=f"line {number + 1}: it names session nobody"):
        check_archive(file_of(lines), "a")


def moved(record: Record) -> Record:
    return Moving(("uid:1000", "uid:501"), [("/home/ada", "/Users/ada"), ("/home", "/elsewhere")]).moved(record)


def test_elsewhere_the_user_and_the_directories_are_others() -> None:
    session, bare = (decode(line) for line in written()[1:3])

    there = moved(session)

    assert isinstance(there, SessionRecord)
    assert (there.principal, there.session_id, there.project_id) == ("uid:501", "wr_one", PROJECT_ID)
    assert there.working_directory == "/Users/ada/tea/pots"
    assert there.given_directory == "/Users/ada/tea/pots/"
    assert there.config_path == "/Users/ada/tea/.workroot/config.toml"
    assert there.project_root == "/Users/ada/tea"
    assert there.signs == (("roots: 1", "/Users/ada/tea", True),)
    assert getattr(moved(bare), "principal", None) == "user:bot"


def test_projects_move_with_their_repositories() -> None:
    records = [decode(line) for line in written()]
    project = next(record for record in records if isinstance(record, ProjectRecord))
    known = next(record for record in records if isinstance(record, ProjectIdRecord))

    assert moved(project).model_dump(include={"root", "worktree_of"}) == {
        "root": "/Users/ada/tea",
        "worktree_of": "/Users/ada/main",
    }
    assert moved(known).model_dump(include={"root", "repository", "path"}) == {
        "root": "/Users/ada/tea",
        "repository": "/Users/ada/main/.git",
        "path": "",
    }
    outside = known.model_copy(update={"repository": "", "path": "/home/ada/tea"})
    assert moved(outside).model_dump(include={"repository", "path"}) == {"repository": "", "path": "/Users/ada/tea"}


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("/home/ada", "/Users/ada"),
        ("/home/adam", "/elsewhere/adam"),
        ("/srv/home/ada", "/srv/home/ada"),
    ],
)
def test_a_path_moves_by_whole_names_and_the_first_move_that_fits(path: str, there: str) -> None:
    moving = Moving(("a", "b"), [("/home/ada/", "/Users/ada"), ("/home", "/elsewhere")])

    assert moving.path(path) == there


def test_all_can_move_into_the_root_directory_and_out_of_it() -> None:
    assert Moving(("a", "b"), [("/home", "/")]).path("/home") == "/"
    assert Moving(("a", "b"), [("/", "/disk")]).path("/home") == "/disk/home"

"""Grid paths: whatever ids are called, each path names one thing and each thing has one path."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from workroot.grid_paths import (
    GridPath,
    Scope,
    generate_artifact_key,
    get_canonical_prefix,
    get_session_prefix_pattern,
    parse_grid_key,
)

HOSTILE = (
    *("users", "shared", "sessions", "grid", "user-", "user-alice", "session-1", "sessions/1", "users/alice"),
    *(".", "..", "../..", "/", "//", "a/b", "%", "%2F", "%2f", "%75sers", "a%20b", "a b", "\\", "\x00", "a\nb"),
    *("\ud800", "\ud83d\ude00", "😀", "é", "e\u0301", "\u202e", " ", "-", "@", "a" * 300),
)
names = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(exclude_categories=()), min_size=1, max_size=12),
    st.text("usernhad-/.%2F75", min_size=1, max_size=10),
)
subpaths = st.none() | st.lists(names, min_size=1, max_size=3).map("/".join).filter(
    lambda text: "" not in text.split("/")
)


@st.composite
def paths(draw: st.DrawFn) -> GridPath:
    scope = draw(st.sampled_from(Scope))
    return GridPath(
        sandbox_id=draw(names),
        session_id=draw(names) if scope is Scope.SESSION else None,
        user_id=draw(names) if scope is Scope.USER else None,
        artifact_id=draw(names),
        subpath=draw(subpaths),
    )


def some_keys() -> st.SearchStrategy[str]:
    part = names | st.sampled_from(["", "user-a", "%2E", "%2E%2E", "%73hared", "%E9", "%C3%A9"])
    likely = st.lists(part, max_size=6).map(lambda parts: "/".join(["grid", *parts]))
    return st.text(st.characters(exclude_categories=())) | likely | paths().map(lambda path: path.key)


@pytest.mark.row("G3", "G5", "B23")
@given(path=paths())
def test_what_is_written_is_read_again(path: GridPath) -> None:
    assert GridPath.parse(path.key) == path
    assert str(path) == path.key


@pytest.mark.row("G5", "B23")
@given(one=paths(), other=paths())
def test_two_things_never_have_one_path(one: GridPath, other: GridPath) -> None:
    assume(one != other)
    assert one.key != other.key


@pytest.mark.row("G3", "G5")
@given(key=some_keys())
@example(key="grid")
@example(key="grid///")
@example(key="grid/s/users/a")
@example(key="grid/s/a/%")
@example(key="grid/s/a/%ED%A0")
@example(key="grid/\ud800/a/%41")
def test_any_text_is_read_without_an_error(key: str) -> None:
    path = GridPath.parse(key)
    parts = parse_grid_key(key)
    if path is None:
        assert parts is None
    else:
        assert key.startswith("grid/")
        assert GridPath.parse(path.key) == path
        assert (parts is not None) == (path.scope is Scope.SESSION)


@pytest.mark.row("G2", "B23")
@given(path=paths())
def test_a_path_is_plain_whatever_the_ids_hold(path: GridPath) -> None:
    first, *parts = path.key.split("/")
    assert first == "grid"
    assert path.key.isascii()
    assert path.key.isprintable()
    assert not {"", ".", ".."} & set(parts)
    depth = 3 + (path.subpath.count("/") + 1 if path.subpath else 0)
    assert len(parts) == depth


@pytest.mark.row("G1", "G4", "B23")
@given(path=paths(), sandbox=names, session=names)
def test_a_prefix_holds_what_belongs_to_it_and_nothing_else(path: GridPath, sandbox: str, session: str) -> None:
    for box, who in ((sandbox, session), (path.sandbox_id, path.session_id or session)):
        is_within = (path.sandbox_id, path.session_id) == (box, who)
        assert path.key.startswith(get_canonical_prefix(who, sandbox=box)) is is_within
        assert path.key.startswith(get_session_prefix_pattern(sandbox=box)) is (path.sandbox_id == box)


@pytest.mark.row("G1", "G2", "G3")
@given(ids=st.lists(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._~@-]{0,40}", fullmatch=True), min_size=3, max_size=3))
def test_ordinary_ids_stand_as_they_are(ids: list[str]) -> None:
    sandbox, session, artifact = ids
    assume(session not in ("users", "sessions", "shared") and not session.startswith("user-"))
    key = generate_artifact_key(session, artifact, sandbox=sandbox)
    assert key == f"grid/{sandbox}/{session}/{artifact}"
    assert get_canonical_prefix(session, sandbox=sandbox) == f"grid/{sandbox}/{session}/"
    assert parse_grid_key(f"{key}/a/b.txt") == {
        "sandbox_id": sandbox,
        "session_id": session,
        "artifact_id": artifact,
        "subpath": "a/b.txt",
    }

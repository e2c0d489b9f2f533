"""Grid paths, as the systems before wrote them and as they are written here."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from importlib import metadata
from typing import cast

import pytest

import workroot
from workroot.errors import GridPathError, WorkrootError
from workroot.grid_paths import (
    GridPath,
    Scope,
    generate_artifact_key,
    get_canonical_prefix,
    get_session_prefix_pattern,
    parse_grid_key,
)
from workroot.session_manager import SessionManager

ALICE = "sess-alice-1234567890-abcd1234"


@pytest.mark.row("G1")
def test_the_prefix_of_a_session_is_as_documented() -> None:
    assert get_canonical_prefix(ALICE, sandbox="webapp") == f"grid/webapp/{ALICE}/"


@pytest.mark.row("G2")
def test_the_key_of_an_artifact_is_as_documented() -> None:
    assert generate_artifact_key(ALICE, "document123", sandbox="webapp") == f"grid/webapp/{ALICE}/document123"
    assert generate_artifact_key("s", "ws", "src/a.py", sandbox="webapp") == "grid/webapp/s/ws/src/a.py"


@pytest.mark.row("G3")
def test_a_key_is_parsed_into_the_documented_parts() -> None:
    assert parse_grid_key(f"grid/webapp/{ALICE}/document123") == {
        "sandbox_id": "webapp",
        "session_id": ALICE,
        "artifact_id": "document123",
        "subpath": None,
    }
    found = parse_grid_key("grid/webapp/s/ws/src/a.py")
    assert found is not None
    assert found["subpath"] == "src/a.py"


@pytest.mark.row("G3")
@pytest.mark.parametrize(
    "key",
    [
        *(
            "",
            "grid",
            "grid/",
            "grid/a",
            "grid/a/b",
            "grid/a/b/",
            "grid//b/c",
            "grid/a//c",
            "other/a/b/c",
            "/grid/a/b/c",
        ),
        *(
            "GRID/a/b/c",
            "grid/a/b/c/",
            "grid/a/b/c//d",
            "grid/a/../c",
            "grid/./b/c",
            "grid/a/b/c/../d",
            "grid/a/user-/c",
        ),
        *("grid/a/sessions/b", "grid/a/users/b", "grid/a/b/%", "grid/a/b/%zz", "grid/a/b/%FF", "grid/a/b%2fc/d"),
        *("grid/a/%62/c", "grid/a/b/c\x00", "grid/a/b\n/c", "grid/a/b/c/d%2Fe", "grid/a/\ud800/c", "grid/a/é%20/c"),
    ],
)
def test_what_is_no_key_of_an_artifact_is_none(key: str) -> None:
    assert parse_grid_key(key) is None
    assert GridPath.parse(key) is None


@pytest.mark.row("G4")
def test_the_pattern_of_a_sandbox_is_as_documented() -> None:
    assert get_session_prefix_pattern(sandbox="webapp") == "grid/webapp/"
    assert get_session_prefix_pattern(sandbox="a/b") == "grid/a%2Fb/"


@pytest.mark.row("G5")
@pytest.mark.parametrize(
    ("key", "scope", "session_id", "user_id", "subpath"),
    [
        # the scopes of the context documents
        ("grid/box/session-001/ns-1", Scope.SESSION, "session-001", None, None),
        ("grid/box/user-alice/ns-1", Scope.USER, None, "alice", None),
        ("grid/box/shared/ns-1", Scope.SANDBOX, None, None, None),
        # the artifact store
        ("grid/box/sessions/001/ns-1", Scope.SESSION, "001", None, None),
        ("grid/box/users/alice/ns-1/a/b", Scope.USER, None, "alice", "a/b"),
        ("grid/box/shared/ns-1/a", Scope.SANDBOX, None, None, "a"),
        ("grid/box/sessions/user-alice/ns-1", Scope.SESSION, "user-alice", None, None),
        ("grid/box/users/shared/ns-1", Scope.USER, None, "shared", None),
        # the namespaces
        ("grid/box/001/ns-1", Scope.SESSION, "001", None, None),
        ("grid/box/user-auth0|1 2é/ns-1", Scope.USER, None, "auth0|1 2é", None),
        ("grid/box/my session/ns-1", Scope.SESSION, "my session", None, None),
    ],
)
def test_all_three_old_forms_are_read(
    key: str, scope: Scope, session_id: str | None, user_id: str | None, subpath: str | None
) -> None:
    path = GridPath.parse(key)
    assert path == GridPath(
        sandbox_id="box", session_id=session_id, user_id=user_id, artifact_id="ns-1", subpath=subpath
    )
    assert path is not None
    assert path.scope is scope


@pytest.mark.row("G5")
def test_a_prefix_that_a_writer_put_before_session_ids_is_taken_away_on_request() -> None:
    path = GridPath.parse("grid/box/session-001/ns-1", session_prefix="session-")
    assert path is not None
    assert path.session_id == "001"
    bare = GridPath.parse("grid/box/001/ns-1", session_prefix="session-")
    assert bare == path


@pytest.mark.row("G5", "B23")
@pytest.mark.parametrize(
    ("session_id", "written"),
    [
        ("users", "%75sers"),
        ("sessions", "%73essions"),
        ("shared", "%73hared"),
        ("user-alice", "%75ser-alice"),
        ("..", "%2E%2E"),
        ("a/b", "a%2Fb"),
        ("100%", "100%25"),
        ("\x00", "%00"),
        ("é", "%C3%A9"),
    ],
)
def test_an_id_that_could_be_taken_for_something_else_is_escaped(session_id: str, written: str) -> None:
    assert get_canonical_prefix(session_id, sandbox="box") == f"grid/box/{written}/"


@pytest.mark.row("B23")
def test_a_session_called_as_a_scope_is_not_that_scope() -> None:
    session = GridPath(sandbox_id="box", session_id="user-alice", artifact_id="doc")
    user = GridPath(sandbox_id="box", user_id="alice", artifact_id="doc")
    assert (session.key, user.key) == ("grid/box/%75ser-alice/doc", "grid/box/user-alice/doc")
    assert parse_grid_key(user.key) is None, "a user's key has no session"
    found = parse_grid_key(session.key)
    assert found is not None
    assert found["session_id"] == "user-alice"


@pytest.mark.parametrize(
    "parts",
    [
        {"sandbox_id": "", "session_id": "s", "artifact_id": "a"},
        {"sandbox_id": "b", "session_id": "", "artifact_id": "a"},
        {"sandbox_id": "b", "user_id": "", "artifact_id": "a"},
        {"sandbox_id": "b", "session_id": "s", "artifact_id": ""},
        {"sandbox_id": "b", "session_id": "s", "user_id": "u", "artifact_id": "a"},
        {"sandbox_id": "b", "session_id": "s", "artifact_id": "a", "subpath": ""},
        {"sandbox_id": "b", "session_id": "s", "artifact_id": "a", "subpath": "x//y"},
    ],
)
def test_a_path_with_an_empty_part_cannot_be_made(parts: dict[str, str]) -> None:
    with pytest.raises(GridPathError) as caught:
        GridPath(**parts)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, WorkrootError)


def test_a_session_called_as_the_prefix_keeps_its_name() -> None:
    path = GridPath.parse("grid/box/session-/doc", session_prefix="session-")
    assert path == GridPath(sandbox_id="box", session_id="session-", artifact_id="doc")


@pytest.mark.parametrize("nothing", ["", None, 7, b"s"])
def test_what_is_no_id_names_no_session_and_never_the_whole_sandbox(nothing: object) -> None:
    nobody = cast("str", nothing)
    calls: tuple[Callable[[], str], ...] = (
        lambda: get_canonical_prefix(nobody, sandbox="box"),
        lambda: generate_artifact_key(nobody, "doc", sandbox="box"),
        lambda: generate_artifact_key("s", nobody, sandbox="box"),
        lambda: generate_artifact_key("s", "doc", sandbox=nobody),
        lambda: get_session_prefix_pattern(sandbox=nobody),
    )
    for make in calls:
        with pytest.raises(GridPathError, match="that is text of at least one character"):
            make()


@pytest.mark.parametrize("name", [".", "...", "." * 10_000, "\u00e9" * 10_000, "/" * 10_000, "%" * 10_000])
def test_ids_of_dots_and_of_ten_thousand_characters_are_read_again(name: str) -> None:
    path = GridPath(sandbox_id=name, user_id=name, artifact_id=name)
    assert GridPath.parse(path.key) == path
    found = parse_grid_key(generate_artifact_key(name, name, sandbox=name))
    assert found == {"sandbox_id": name, "session_id": name, "artifact_id": name, "subpath": None}


def test_a_sandbox_without_a_name_has_no_pattern() -> None:
    with pytest.raises(GridPathError):
        get_session_prefix_pattern(sandbox="")


@pytest.mark.row("G1", "G2", "G3", "B22")
def test_the_manager_of_the_documents_has_the_four_helpers_of_the_documents() -> None:
    manager = SessionManager(sandbox_id="webapp")
    key = manager.generate_artifact_key(ALICE, "document123")
    assert manager.get_canonical_prefix(ALICE) == f"grid/webapp/{ALICE}/"
    assert manager.get_session_prefix_pattern() == "grid/webapp/"
    assert key == f"grid/webapp/{ALICE}/document123"
    assert manager.parse_grid_key(key) == parse_grid_key(key)
    assert parse_grid_key(key) is not None


@pytest.mark.row("B22")
def test_the_version_is_the_installed_ones_and_no_stray_package_is_needed() -> None:
    assert metadata.version("workroot") == workroot.__version__
    needed = {re.split(r"[^A-Za-z0-9._-]", line)[0].lower() for line in metadata.requires("workroot") or ()}
    assert needed
    assert not needed & (set(sys.stdlib_module_names) | {"dotenv", "csrf"})

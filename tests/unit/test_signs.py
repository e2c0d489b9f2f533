"""What a connector's facts and a client's roots say."""

from __future__ import annotations

import pytest

from workroot.core.reading import hints_of, is_looked_at
from workroot.core.signs import Authority, ConnectorFacts, Hint, Signs, Source, connector_hints, path_of_root


def hints(option: str | None = None, own: str | None = None, **environment: str) -> list[tuple[str, str]]:
    facts = ConnectorFacts(option=option, own_directory=own, environment=environment)
    read = hints_of(Signs(hints=connector_hints(facts)))
    return [(hint.detail, hint.directory) for hint in read if is_looked_at(hint)]


def test_a_connectors_facts_are_believed_in_their_order() -> None:
    assert hints("/option", "/own", PWD="/pwd", WORKSPACE_FOLDER_PATHS="/folder", CLAUDE_PROJECT_DIR="/claude") == [
        ("--directory", "/option"),
        ("CLAUDE_PROJECT_DIR", "/claude"),
        ("working directory", "/own"),
        ("WORKSPACE_FOLDER_PATHS", "/folder"),
        ("PWD", "/pwd"),
    ]


def test_only_the_option_is_the_users_word() -> None:
    facts = ConnectorFacts(option="/option", own_directory="/own", environment={})

    assert connector_hints(facts) == (
        Hint(Source.CONNECTOR, "--directory", "/option", Authority.USER),
        Hint(Source.CONNECTOR, "working directory", "/own", Authority.CLIENT),
    )


@pytest.mark.parametrize("literal", ["${workspaceFolder}", "/home/ada/${workspaceFolderBasename}"])
def test_a_value_that_the_client_did_not_expand_says_nothing(literal: str) -> None:
    assert hints(literal, CLAUDE_PROJECT_DIR=literal, WORKSPACE_FOLDER_PATHS=literal, PWD="/pwd") == [("PWD", "/pwd")]


@pytest.mark.parametrize(("folders", "expected"), [("/a:/b", []), (":", []), ("", []), ("/a:", ["/a"]), ("/a", ["/a"])])
def test_workspace_folders_count_only_when_there_is_one(folders: str, expected: list[str]) -> None:
    assert [directory for _, directory in hints(WORKSPACE_FOLDER_PATHS=folders)] == expected


def test_what_is_empty_or_missing_says_nothing() -> None:
    assert hints("", None, CLAUDE_PROJECT_DIR="", PWD="") == []


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///home/ada/app", "/home/ada/app"),
        ("file://localhost/home/ada/app", "/home/ada/app"),
        ("file://LOCALHOST/home/ada/app", "/home/ada/app"),
        ("file:/home/ada/app", "/home/ada/app"),
        ("FILE:///home/ada/app", "/home/ada/app"),
        ("file:///home/ada/my%20app%23/Z%C3%BCrich", "/home/ada/my app#/Zürich"),
        ("file:///home/ada/Zürich", "/home/ada/Zürich"),
        ("file:///home/ada/100%", "/home/ada/100%"),
    ],
)
def test_a_file_uri_names_its_path(uri: str, path: str) -> None:
    assert path_of_root(uri) == path


@pytest.mark.parametrize(
    "uri",
    [
        "http://example.org/home/ada",
        "file://server/share/app",
        "/home/ada/app",
        "file:///home/ada/%FF",
        "file:///home/ada/\ud800",
        "file://[broken/home",
        "",
    ],
)
def test_any_other_uri_names_no_path_here(uri: str) -> None:
    assert path_of_root(uri) is None


@pytest.mark.parametrize(
    "uri", ["file:///work/c#/app", "file:///work/what?/app", "file:///work/a\tb", "file:///work/a\nb"]
)
def test_a_path_that_was_not_encoded_is_not_taken_for_another_one(uri: str) -> None:
    assert path_of_root(uri) is None

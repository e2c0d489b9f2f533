"""What a call's `_meta` says of its caller's directory and conversation, whatever stands in it."""

from __future__ import annotations

import json

import pytest

from workroot.core.meta_signs import MAX_CONVERSATION_LETTERS, conversation_of, meta_hints, meta_session
from workroot.core.signs import ClientTraits, Hint, Source
from workroot.errors import SessionError

SANDBOX = "codex/sandbox-state-meta"
TURN = "x-codex-turn-metadata"
CODEX = ClientTraits(conversation_keys=("threadId", "sessionId"))


def test_directories_are_believed_in_their_order_whatever_the_order_they_come_in() -> None:
    meta = {
        TURN: {"workspaces": {"/turn": {"commit": "abc"}}},
        "agent-working-dir": "/agent",
        SANDBOX: {"sandboxCwd": "file:///sand%20box", "sandboxPolicy": {}},
        "workroot/directory": "/ours",
        "other/key": "/other",
    }

    assert meta_hints(meta) == (
        Hint(Source.META, "workroot/directory", "/ours"),
        Hint(Source.META, "codex/sandbox-state-meta.sandboxCwd", "/sand box"),
        Hint(Source.META, "agent-working-dir", "/agent"),
        Hint(Source.TURN_METADATA, "x-codex-turn-metadata.workspaces", "/turn"),
    )


@pytest.mark.parametrize(
    "given", ["file:///home/ada/Z%C3%BCrich", "FILE://localhost/home/ada/Zürich", "/home/ada/Zürich"]
)
@pytest.mark.parametrize("key", ["workroot/directory", "agent-working-dir", "sandboxCwd", "workspaces"])
def test_a_directory_is_a_path_or_a_file_uri(key: str, given: str) -> None:
    inner: dict[str, dict[str, object]] = {
        "sandboxCwd": {SANDBOX: {"sandboxCwd": given}},
        "workspaces": {TURN: {"workspaces": {given: None}}},
    }

    [hint] = meta_hints(inner.get(key, {key: given}))

    assert (hint.directory, hint.problem) == ("/home/ada/Zürich", None)


@pytest.mark.parametrize("turn", [{"workspaces": {"/turn": {}}}, json.dumps({"workspaces": {"/turn": {}}})])
def test_turn_metadata_may_be_an_object_or_json_text(turn: object) -> None:
    assert meta_hints({TURN: turn}) == (Hint(Source.TURN_METADATA, f"{TURN}.workspaces", "/turn"),)


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"workroot/directory": None, SANDBOX: None, "agent-working-dir": None, TURN: None},
        {SANDBOX: {}},
        {SANDBOX: {"sandboxCwd": None}},
        {TURN: {}},
        {TURN: {"workspaces": None}},
        {TURN: {"workspaces": {}}},
        {TURN: '{"workspaces": {}}'},
    ],
)
def test_what_is_missing_or_null_says_nothing(meta: dict[str, object]) -> None:
    assert meta_hints(meta) == ()


@pytest.mark.parametrize(
    ("meta", "detail", "directory", "problem"),
    [
        ({"workroot/directory": 5}, "workroot/directory", "", "is a number, not text"),
        ({"workroot/directory": ["/a"]}, "workroot/directory", "", "is a list, not text"),
        ({"workroot/directory": {"path": "/a"}}, "workroot/directory", "", "is an object, not text"),
        ({"workroot/directory": True}, "workroot/directory", "", "is true or false, not text"),
        ({"workroot/directory": ""}, "workroot/directory", "", "is empty"),
        ({"workroot/directory": "/\ud800"}, "workroot/directory", "/?", "is not Unicode text"),
        ({"workroot/directory": "/" * 4097}, "workroot/directory", "/" * 200, "is too long for a directory"),
        (
            {"agent-working-dir": "file://other-host/a"},
            "agent-working-dir",
            "file://other-host/a",
            "is not the file: URI of a directory here",
        ),
        ({SANDBOX: "/a"}, SANDBOX, "", "is a text, not an object"),
        ({SANDBOX: {"sandboxCwd": 1.5}}, f"{SANDBOX}.sandboxCwd", "", "is a number, not text"),
        ({TURN: "no JSON"}, TURN, "", "is text, but not JSON"),
        ({TURN: "[" * 100_000}, TURN, "", "is a text, not an object"),
        ({TURN: "[" * 60_000}, TURN, "", "is text, but not JSON"),
        ({TURN: '"text"'}, TURN, "", "is a text, not an object"),
        ({TURN: ["/a"]}, TURN, "", "is a list, not an object"),
        ({TURN: {"workspaces": ["/a"]}}, f"{TURN}.workspaces", "", "is a list, not an object"),
        ({TURN: {"workspaces": {"": {}}}}, f"{TURN}.workspaces", "", "is empty"),
        ({TURN: r'{"workspaces": {"/\ud800": {}}}'}, f"{TURN}.workspaces", "/?", "is not Unicode text"),
        (
            {TURN: {"workspaces": {"/a": {}, "/b": {}}}},
            f"{TURN}.workspaces",
            "",
            "names 2 workspaces, and not which one this turn is about",
        ),
    ],
)
def test_what_cannot_be_used_is_a_hint_with_a_problem(
    meta: dict[str, object], detail: str, directory: str, problem: str
) -> None:
    [hint] = meta_hints(meta)

    assert (hint.detail, hint.directory, hint.problem) == (detail, directory, problem)
    assert hint.source is (Source.TURN_METADATA if TURN in meta else Source.META)


def test_a_problem_with_one_key_leaves_the_others_as_they_are() -> None:
    hints = meta_hints({"workroot/directory": 5, "agent-working-dir": "/agent"})

    assert [(hint.directory, hint.problem is None) for hint in hints] == [("", False), ("/agent", True)]


# Sessions and conversations


def test_meta_names_a_session_or_none() -> None:
    assert meta_session({"workroot/session": "wr_1"}) == "wr_1"
    assert meta_session({"workroot/session": ""}) == ""
    assert meta_session({"workroot/session": None}) is None
    assert meta_session({}) is None


@pytest.mark.parametrize("session", [5, ["wr_1"], {"id": "wr_1"}, False])
def test_a_session_that_is_no_text_is_an_error_and_not_none(session: object) -> None:
    with pytest.raises(SessionError, match=r'_meta\["workroot/session"\] is .*, not text'):
        meta_session({"workroot/session": session})


@pytest.mark.parametrize(
    ("meta", "traits", "expected"),
    [
        ({"threadId": "t", "sessionId": "s"}, CODEX, "threadId:t"),
        ({"sessionId": "s"}, CODEX, "sessionId:s"),
        ({"threadId": "t", "sessionId": "s"}, ClientTraits(), None),
        ({"vscode.conversationId": "v"}, ClientTraits(), "vscode.conversationId:v"),
        ({"agent-session-id": "g"}, ClientTraits(), "agent-session-id:g"),
        ({"agent-session-id": "g", "threadId": "t"}, CODEX, "threadId:t"),
        ({"threadId": 5, "sessionId": "s"}, CODEX, "sessionId:s"),
        ({"threadId": "", "sessionId": None}, CODEX, None),
        ({"threadId": "t" * MAX_CONVERSATION_LETTERS}, CODEX, f"threadId:{'t' * MAX_CONVERSATION_LETTERS}"),
        ({}, CODEX, None),
    ],
)
def test_a_conversation_is_known_by_the_clients_own_id(
    meta: dict[str, object], traits: ClientTraits, expected: str | None
) -> None:
    assert conversation_of(meta, traits) == expected


def test_two_keys_with_one_value_are_two_conversations() -> None:
    assert conversation_of({"vscode.conversationId": "1"}, CODEX) != conversation_of({"agent-session-id": "1"}, CODEX)


def test_an_id_that_cannot_be_kept_as_it_is_still_tells_conversations_apart() -> None:
    ids = ["a\nb", "a\nc", "\ud800", "t" * (MAX_CONVERSATION_LETTERS + 1), "t" * (MAX_CONVERSATION_LETTERS + 2)]

    found = [conversation_of({"threadId": each}, CODEX) for each in ids]

    assert len(set(found)) == len(ids)
    assert found == [conversation_of({"threadId": each}, CODEX) for each in ids]
    for alias in found:
        assert alias is not None
        assert alias.startswith("threadId#")
        assert alias.isascii()
        assert len(alias) < MAX_CONVERSATION_LETTERS

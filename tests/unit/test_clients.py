"""What the clients that are known send, and what the answer has to be: every case of every file, without a daemon."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from pydantic import ValidationError

from fakes import place
from workroot.client_profiles import (
    ClientCase,
    ClientProfile,
    TraitsByName,
    client_profiles,
    read_profiles,
    traits_of,
)
from workroot.core.meta_signs import CONVERSATION_KEYS, conversation_of, meta_hints, meta_session
from workroot.core.projects import Place
from workroot.core.resolution import Around, Resolution, decide, directories_of
from workroot.core.signs import (
    ClientTraits,
    ConnectorFacts,
    Hint,
    Roots,
    RootsAnswer,
    Signs,
    Source,
    connector_hints,
)
from workroot.errors import DirectoryError
from workroot.identity import os_owner
from workroot.rendezvous import ENVIRONMENT_SIGNS
from workroot.transports.http_guard import OWNER_KEY
from workroot.transports.http_signs import PEER_PROCESS_KEY, hints_of
from workroot.transports.peer_process import PeerProcesses, TcpEnds
from workroot.transports.shared_processes import Program

DIRECTORIES = {
    "HERE": "/work/hier, é #1",
    "ELSEWHERE": "/work/100% else",
    "HOME": "/home/ada",
    "APP": "/usr/share/editor",
}
PROJECTS = {DIRECTORIES[name]: name.lower() for name in ("HERE", "ELSEWHERE")}
BARE = ("/", DIRECTORIES["HOME"], f"{DIRECTORIES['HOME']}/.mcporter", DIRECTORIES["APP"])

CASES = [
    pytest.param(profile, case, id=f"{name}: {case.title}")
    for name, profile in client_profiles().items()
    for case in profile.cases
]


def look_at(directory: str) -> Place | DirectoryError:
    for root, project in PROJECTS.items():
        if directory == root or directory.startswith(f"{root}/"):
            return place(directory, project=project, root=root)
    return place(directory) if directory in BARE else DirectoryError(directory, "Directory does not exist")


def ask(signs: Signs) -> Resolution:
    """Decide as the daemon does."""
    seen = {each: look_at(each) for each in directories_of(signs, None)}
    return decide(signs, None, seen, Around(home=DIRECTORIES["HOME"]))


CLIENT = Program(arguments=("client",))


@dataclass(frozen=True)
class Found:
    """The process of a client over HTTP, in a directory."""

    place: str
    pid: int = 77
    program: Program = CLIENT

    def directory(self) -> str:
        return self.place


@dataclass(frozen=True)
class Finder:
    found: Found

    def find(self, ends: TcpEnds, likely: Iterable[int], deadline: float) -> Found:
        return self.found


async def signs_of(profile: ClientProfile, case: ClientCase) -> Signs:
    """Gather the signs of a case, as the doors do."""
    traits = traits_of(profile.client_name(case))
    at_the_door = await http_hints(case) if case.door == "http" else facts_of(case)
    return Signs(
        meta_session=meta_session(case.meta),
        conversation=conversation_of(case.meta, traits),
        hints=(*meta_hints(case.meta), *at_the_door),
        roots=Roots(RootsAnswer.GIVEN, case.roots) if case.roots is not None else Roots(),
        traits=traits,
    )


def facts_of(case: ClientCase) -> tuple[Hint, ...]:
    said = {name: case.environment[name] for name in ENVIRONMENT_SIGNS if name in case.environment}
    if "PWD" in said:
        said["PWD"] = str(case.own_directory)  # the shell that starts the launcher corrects it (POSIX, sh: PWD)
    return connector_hints(ConnectorFacts(option=case.option, own_directory=case.own_directory, environment=said))


async def http_hints(case: ClientCase) -> tuple[Hint, ...]:
    state = {}
    if case.process is not None:
        ends = TcpEnds(("127.0.0.1", 40_000), ("127.0.0.1", 7668))
        state = {PEER_PROCESS_KEY: PeerProcesses(Finder(Found(case.process))).at(ends)}
    headers = [(name.lower().encode(), value.encode()) for name, value in case.headers.items()]
    query = urlencode(case.query).encode()
    scope = {"type": "http", "method": "POST", "headers": headers, "query_string": query, "state": state}
    return await hints_of({**scope, OWNER_KEY: os_owner()})


@pytest.mark.parametrize(("profile", "case"), CASES)
async def test_a_client_is_answered_as_its_file_says(profile: ClientProfile, case: ClientCase) -> None:
    placed = case.placed(DIRECTORIES)

    found = ask(await signs_of(profile, placed))

    expected = placed.answer
    assert (found.place.directory if found.place else None, found.source) == (expected.directory, expected.source), (
        found
    )
    told = tuple(warning for warning in found.warnings if not warning.startswith("passed over: "))
    assert told == expected.warnings
    if expected.detail is not None:
        detail = found.detail if found.source is not Source.PROCESS else found.detail.partition(" ")[0]
        assert detail == expected.detail


@pytest.mark.parametrize(("profile", "case"), CASES)
async def test_no_sign_of_a_client_is_lost(profile: ClientProfile, case: ClientCase) -> None:
    signs = await signs_of(profile, case.placed(DIRECTORIES))

    shown = Counter((step.source, step.detail) for step in ask(signs).steps)

    roots = [(Source.ROOTS, f"root {number}") for number in range(1, len(signs.roots.uris) + 1)]
    assert shown == Counter([*((hint.source, hint.detail) for hint in signs.hints), *roots])


# Names


@pytest.mark.parametrize(
    ("name", "profile"),
    [
        ("claude-code", "claude-code"),
        ("claude-code (via mcp-remote 0.15.1)", "claude-code"),
        ("cursor-vscode (via mcp-remote 0.1.37)", "cursor"),
        ("qwen-cli-mcp-client-workroot", "qwen-code"),
        ("Visual Studio Code", "vscode"),
        ("Visual Studio Code - Insiders", "vscode"),
        ("codex-mcp-client", "codex"),
    ],
)
def test_a_client_is_known_by_its_name(name: str, profile: str) -> None:
    assert traits_of(name) == client_profiles()[profile].client_traits


@pytest.mark.parametrize("name", [None, "", "claude", "claude-code-2", "Claude-Code", "mcp-test-client", "x" * 100_000])
def test_of_a_client_without_a_file_nothing_is_known(name: str | None) -> None:
    assert traits_of(name) == ClientTraits()


def test_what_is_known_of_clients() -> None:
    assert traits_of("claude-code") == ClientTraits(first_root_is_working_directory=True)
    assert traits_of("cursor-vscode") == ClientTraits(shares_process=True)
    assert traits_of("codex-mcp-client").conversation_keys == ("threadId", "sessionId")


def test_a_full_name_goes_before_a_beginning_and_a_longer_beginning_before_a_shorter() -> None:
    def known_as(name: str, key: str) -> ClientProfile:
        return ClientProfile.model_validate({**GOOD, "names": [name], "traits": {"conversation_keys": [key]}})

    traits = TraitsByName([known_as("ed*", "short"), known_as("editor*", "long"), known_as("editor-2", "full")])

    names = ("ed", "editor", "editor-22", "editor-2", "editor-2 (via mcp-remote 1)", "e")
    assert [traits.of(name).conversation_keys for name in names] == [
        ("short",),
        ("long",),
        ("long",),
        ("full",),
        ("full",),
        (),
    ]


# The files


def test_no_key_names_the_conversations_of_two_clients() -> None:
    used = Counter(key for profile in client_profiles().values() for key in profile.traits.conversation_keys)

    assert [key for key, count in used.items() if count > 1 or key in CONVERSATION_KEYS] == []


def test_the_titles_of_a_file_are_different() -> None:
    for profile in client_profiles().values():
        assert len({case.title for case in profile.cases}) == len(profile.cases), profile.title


@pytest.mark.parametrize(("profile", "case"), CASES)
def test_a_case_is_of_the_client_whose_file_it_is_in(profile: ClientProfile, case: ClientCase) -> None:
    name = profile.client_name(case)

    assert (name is None) == (not profile.names and case.client is None)
    if case.client is None or not ("(" in case.client or profile.title.startswith("mcp-remote")):
        assert traits_of(name) == profile.client_traits


@pytest.mark.parametrize(
    "name", ["claude-code", "codex", "gemini-cli", "qwen-code", "opencode", "copilot-cli", "cline-cli"]
)
def test_a_client_that_was_run_has_a_case_here_elsewhere_and_at_home(name: str) -> None:
    assert {case.where for case in client_profiles()[name].cases} == {"here", "elsewhere", "home"}


GOOD: dict[str, Any] = {
    "title": "T",
    "basis": "seen",
    "names": ["t"],
    "case": [
        {
            "title": "C",
            "door": "connector",
            "eras": ["modern"],
            "where": "here",
            "own_directory": "{HERE}",
            "answer": {"source": "connector", "detail": "working directory", "directory": "{HERE}"},
        }
    ],
}


def with_case(**changes: object) -> dict[str, Any]:
    [case] = GOOD["case"]
    return {**GOOD, "case": [{**case, **changes}]}


def test_a_file_in_its_form_is_read() -> None:
    profile = ClientProfile.model_validate(GOOD)

    assert profile.client_traits == ClientTraits()
    assert profile.client_name(profile.cases[0]) == "t"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({**GOOD, "nmaes": []}, "nmaes"),
        ({**GOOD, "traits": {"shares_proces": True}}, "shares_proces"),
        ({**GOOD, "case": []}, "case"),
        ({**GOOD, "basis": "heard"}, "basis"),
        (with_case(eras=[]), "eras"),
        (with_case(eras=["2025"]), "eras"),
        (with_case(headers={"Workroot-Directory": "{HERE}"}), "a connector sends no request"),
        (with_case(process="{HERE}"), "a connector sends no request"),
        (with_case(own_directory=None), "own_directory is missing"),
        (with_case(door="http"), "over HTTP there is no connector"),
        (with_case(answer={"source": "connector", "directory": "{HERE}"}), "detail and directory go together"),
        (with_case(answer={"source": "unknown", "detail": "PWD", "directory": "{HERE}"}), "what is unknown"),
        (with_case(where="elsewhere"), "limitation"),
        (with_case(where="home"), "limitation"),
        (with_case(answer={**GOOD["case"][0]["answer"], "limitation": "none"}), "limitation"),
    ],
)
def test_a_file_of_another_form_is_an_error(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ClientProfile.model_validate(wrong)


TEXT = """
title = "T"
basis = "seen"
names = ["t"]

[[case]]
title = "C"
door = "http"
eras = ["modern"]
where = "here"
answer = { source = "unknown" }
"""


def test_a_directorys_profiles_are_known_by_their_files_and_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text(TEXT)
    (tmp_path / "README.md").write_text("not a profile")

    assert [(name, profile.names) for name, profile in read_profiles(tmp_path).items()] == [("one", ("t",))]


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (TEXT, r"^two\.toml: the name 't' is that of one\.toml already"),
        ("title = ", r"^two\.toml: Invalid value"),
        (TEXT.replace("modern", "future"), r"(?s)^two\.toml: .*eras"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, second: str, words: str) -> None:
    (tmp_path / "one.toml").write_text(TEXT)
    (tmp_path / "two.toml").write_text(second)

    with pytest.raises(ValueError, match=words):
        read_profiles(tmp_path)


def test_placeholders_stand_for_directories_everywhere_and_are_encoded_in_uris() -> None:
    [codex] = [case for case in client_profiles()["codex"].cases if case.title == "over HTTP"]

    placed = codex.placed(DIRECTORIES)

    assert placed.meta["codex/sandbox-state-meta"] == {"sandboxCwd": "file:///work/hier%2C%20%C3%A9%20%231"}
    assert placed.meta["x-codex-turn-metadata"] == {"workspaces": {"/work/hier, é #1": {}}}
    assert (placed.process, placed.answer.directory) == (DIRECTORIES["HERE"], DIRECTORIES["HERE"])
    assert "{" not in str(placed.model_dump()).replace("{'", "").replace("{}", "")


def test_the_traits_of_a_client_reach_the_decision() -> None:
    roots = Roots(RootsAnswer.GIVEN, tuple(f"file://{each}" for each in ("/work/a", "/work/b")))
    seen = {"/work/a": place("/work/a", project="a"), "/work/b": place("/work/b", project="b")}
    signs = Signs(roots=roots, traits=traits_of("claude-code"))

    known = decide(signs, None, seen, Around())
    unknown = decide(replace(signs, traits=traits_of("opencode")), None, seen, Around())

    assert known.place == seen["/work/a"]
    assert unknown.place is None

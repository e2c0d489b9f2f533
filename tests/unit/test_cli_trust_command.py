"""`workroot trust` in this process, each way through it; the system tests show it as people meet it."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_daemon import run_cli

from workroot.cli.program import program
from workroot.cli.trust_command import trust
from workroot.errors import TrustError

QUESTION = b"Allow this very content? [y/N] "
CONFIG = 'version = "1.0"\ninstructions = "Be brief."\n[project]\nname = "shop"\n'


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    root = tmp_path / "shop"
    (root / ".workroot").mkdir(parents=True)
    (root / ".workroot" / "config.toml").write_text(CONFIG)
    return root


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKROOT_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


class Person(threading.Thread):
    """Reads a terminal, and types an answer once the question stands there."""

    def __init__(self, terminal: int, answer: bytes) -> None:
        super().__init__(daemon=True)
        self._terminal, self._answer = terminal, answer
        self.shown = b""

    def run(self) -> None:
        while QUESTION not in self.shown:
            if not select.select([self._terminal], [], [], 10)[0]:
                return
            self.shown += os.read(self._terminal, 65536)
        os.write(self._terminal, self._answer)


@pytest.fixture
def terminal() -> Iterator[tuple[int, io.TextIOWrapper]]:
    """A terminal: the person's side, and the program's."""
    ours, theirs = pty.openpty()
    with io.TextIOWrapper(io.FileIO(theirs, "r+"), write_through=True) as stream:
        yield ours, stream
    os.close(ours)


def ask(
    root: Path,
    terminal: tuple[int, io.TextIOWrapper],
    monkeypatch: pytest.MonkeyPatch,
    *,
    answer: bytes,
    streams: tuple[str, ...],
) -> bytes:
    """Run the command with these streams on the terminal; return what was shown there."""
    ours, theirs = terminal
    person = Person(ours, answer)
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, theirs if name in streams else io.TextIOWrapper(io.BytesIO()))
    person.start()
    try:
        trust.main([str(root)], standalone_mode=False)
    finally:
        person.join(timeout=10)
    return person.shown


@pytest.mark.parametrize("streams", [("stdin", "stdout", "stderr"), ("stdin", "stderr"), ("stdin", "stdout")])
def test_the_question_is_put_where_the_person_is(
    shop: Path,
    state: Path,
    terminal: tuple[int, io.TextIOWrapper],
    monkeypatch: pytest.MonkeyPatch,
    streams: tuple[str, ...],
) -> None:
    shown = ask(shop, terminal, monkeypatch, answer=b"y\n", streams=streams)
    monkeypatch.undo()

    assert b"| Be brief." in shown
    assert run_cli("trust", str(shop), state=state).stdout.startswith("allowed ")


def test_no_is_an_error_and_allows_nothing(
    shop: Path, state: Path, terminal: tuple[int, io.TextIOWrapper], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TrustError, match="was not allowed; nothing was changed"):
        ask(shop, terminal, monkeypatch, answer=b"n\n", streams=("stdin", "stdout", "stderr"))
    assert not state.exists()


@pytest.mark.parametrize("streams", [(), ("stdin",), ("stdout", "stderr")])
def test_half_a_terminal_is_none(
    shop: Path,
    state: Path,
    terminal: tuple[int, io.TextIOWrapper],
    monkeypatch: pytest.MonkeyPatch,
    streams: tuple[str, ...],
) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, terminal[1] if name in streams else io.TextIOWrapper(io.BytesIO()))

    with pytest.raises(TrustError, match="only a person at a terminal"):
        trust.main([str(shop)], standalone_mode=False)
    assert not state.exists()


def test_with_json_a_terminal_on_standard_output_is_not_asked_on(
    shop: Path, state: Path, terminal: tuple[int, io.TextIOWrapper], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("stdin", "stdout"):
        monkeypatch.setattr(sys, name, terminal[1])
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO()))

    with pytest.raises(TrustError, match="only a person at a terminal"):
        trust.main([str(shop), "--json"], standalone_mode=False)
    assert not state.exists()


def test_closed_streams_are_no_terminal(shop: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)

    with pytest.raises(TrustError, match="only a person at a terminal"):
        trust.main([str(shop)], standalone_mode=False)
    assert not state.exists()


def test_each_way_through_without_a_terminal(shop: Path, state: Path, tmp_path: Path) -> None:
    assert run_cli("trust", "--list", state=state).stdout.startswith("nothing was allowed")
    assert run_cli("trust", "--revoke", str(shop), state=state).stdout.startswith("nothing was decided")
    assert run_cli("trust", "--deny", str(shop), state=state).stdout.startswith("denied ")
    assert "was denied" in run_cli("trust", str(shop), state=state).stderr
    assert "any content" in run_cli("trust", "--list", state=state).stdout
    assert len(json.loads(run_cli("trust", "--list", "--json", state=state).stdout)["records"]) == 1
    (shop / ".workroot" / "config.toml").write_text("[")
    assert "is not valid TOML" in run_cli("trust", str(shop), state=state).stderr
    assert json.loads(run_cli("trust", "--revoke", "--json", str(shop), state=state).stdout)["revoked"] == 1
    assert run_cli("trust", "--revoke", str(shop), state=state).exit_code == 1
    (shop / ".workroot" / "config.toml").write_text('version = "1.0"\n[project]\nname = "shop"\n')
    assert "asks for nothing" in run_cli("trust", str(shop), state=state).stdout
    assert json.loads(run_cli("trust", "--json", str(shop), state=state).stdout)["verdict"] == "unknown"
    (shop / ".git").mkdir()
    run_cli("trust", "--deny", str(shop), state=state)
    assert f"worktrees of the repository {shop}/.git" in run_cli("trust", "--revoke", str(shop), state=state).stdout
    (shop / ".workroot" / "config.toml").unlink()
    assert "has no config" in run_cli("trust", str(shop), state=state).stderr
    assert "no project owns" in run_cli("trust", str(tmp_path), state=state).stderr
    assert run_cli("trust", "--list", "--deny", state=state).exit_code == 2
    assert run_cli("trust", "--list", str(shop), state=state).exit_code == 2


def test_the_command_is_one_of_the_program() -> None:
    assert program.commands["trust"] is trust

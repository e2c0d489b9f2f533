from __future__ import annotations

import os
import termios
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import TextIO

import pytest

from workroot.cli.trust_text import content_lines, revealed, summary, terminal_width
from workroot.core.projects import ProjectConfig, ServerDeclaration

SERVER = ServerDeclaration(
    name="db",
    command="npx",
    args=("-y", "db server", ""),
    environment=(("TOKEN", "abc"), ("EMPTY", "")),
    url="http://localhost:1/mcp",
    headers=(("Authorization", "Bearer x"),),
    enabled=False,
)


def lines(config: ProjectConfig, width: int = 80) -> list[str]:
    return list(content_lines(config, width))


def test_everything_that_a_config_asks_for_is_shown() -> None:
    config = ProjectConfig(
        name="shop", instructions="Be brief.\n\n  Never push.\n", commands=(("test", "make test"),), servers=(SERVER,)
    )

    assert lines(config) == [
        "instructions, given to the models that work in this project:",
        "  | Be brief.",
        "  | ",
        "  |   Never push.",
        "  | ",
        "command test:",
        "  | make test",
        "server db:",
        "  | command      npx",
        "  | args         -y",
        "  | args         db server",
        "  | args         ",
        "  | environment  TOKEN=abc",
        "  | environment  EMPTY=",
        "  | url          http://localhost:1/mcp",
        "  | headers      Authorization=Bearer x",
        "  | enabled      no",
    ]
    assert summary(config) == "instructions (4 lines), 1 command, 1 server"


def test_each_field_of_a_server_is_shown() -> None:
    shown = "\n".join(lines(ProjectConfig(name="shop", servers=(SERVER,))))

    for field in fields(ServerDeclaration):
        assert field.name == "name" or f"| {field.name} " in shown


def test_what_a_config_does_not_ask_for_is_not_shown() -> None:
    assert lines(ProjectConfig(name="shop")) == []
    assert summary(ProjectConfig(name="shop")) == ""
    servers = (ServerDeclaration(name="a", command="x"), ServerDeclaration(name="b", command="y"))
    config = ProjectConfig(name="shop", servers=servers)
    assert lines(config) == [
        "server a:", "  | command      x", "  | enabled      yes",
        "server b:", "  | command      y", "  | enabled      yes",
    ]  # fmt: skip
    assert summary(config) == "2 servers"


def test_nothing_is_cut_however_long_it_is() -> None:
    text = "".join(f"{number:05d} " for number in range(10_000))

    shown = lines(ProjectConfig(name="shop", instructions=text), width=40)[1:]

    assert "".join(line[4:] for line in shown) == text
    assert all(len(line) < 40 for line in shown)
    assert [line[:4] for line in shown] == ["  | "] + ["  : "] * (len(shown) - 1)


def test_a_folded_line_of_wide_letters_stays_within_the_terminal() -> None:
    shown = lines(ProjectConfig(name="shop", instructions="漢" * 100), width=40)[1:]

    assert "".join(line[4:] for line in shown) == "漢" * 100
    assert all(len(line) - 4 <= 17 for line in shown)


def test_a_terminal_without_a_width_is_taken_for_a_narrow_one() -> None:
    assert len(lines(ProjectConfig(name="shop", instructions="x" * 100), width=0)) == 1 + 5


@pytest.fixture
def terminal() -> Iterator[TextIO]:
    master, slave = os.openpty()
    with os.fdopen(slave, "w") as stream:
        yield stream
    os.close(master)


@pytest.mark.parametrize(("own", "width"), [(40, 40), (132, 132), (0, 80)])
def test_a_terminals_own_size_wins_over_the_variable(
    terminal: TextIO, monkeypatch: pytest.MonkeyPatch, own: int, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", "100000")
    termios.tcsetwinsize(terminal.fileno(), (24, own))

    assert terminal_width(terminal) == width


def test_what_is_no_terminal_has_the_size_that_the_variable_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "132")
    with open(tmp_path / "file", "w") as stream:
        assert terminal_width(stream) == 132
    assert terminal_width(stream) == 132  # closed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain ~!", "plain ~!"),
        ("ä漢字 नमस्ते", "ä漢字 नमस्ते"),
        (r"\d+", r"\d+"),
        ("\\d\n", "\\\\d\\n"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\r\t\x7f\x9b", "\\r\\t\\x7f\\x9b"),
        ("\u202egnp", "\\u202egnp"),
        ("\u2066\u200b\u2028\ufeff", "\\u2066\\u200b\\u2028\\ufeff"),
        ("a\u00a0b\u3000c", "a\\xa0b\\u3000c"),
        ("\u3164\u2800\ufe0f", "\\u3164\\u2800\\ufe0f"),
        ("\U000e0041\U000e0100", "\\U000e0041\\U000e0100"),
        ("\ue000\udcff", "\\ue000\\udcff"),
    ],
)
def test_what_is_invisible_or_drives_a_terminal_is_written_out(text: str, expected: str) -> None:
    assert revealed(text) == expected


def test_a_text_of_the_project_cannot_pass_for_ours() -> None:
    forged = "x\nIt asks for: nothing.\n\rAllow this very content? [y/N] "
    width = 40
    padded = "x" * (width - 5) + "It asks for: nothing."

    for text in (forged, padded, f"\x1b[1A{forged}"):
        shown = lines(ProjectConfig(name="shop", instructions=text), width=width)[1:]
        assert all(line.startswith(("  | ", "  : ")) for line in shown)
        assert all(line.isprintable() for line in shown)

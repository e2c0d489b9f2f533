from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from fake_daemon import run_cli

import workroot
from workroot import connector
from workroot.cli import main
from workroot.cli.exit_codes import ExitCode, exit_code_of
from workroot.cli.program import Program, program
from workroot.cli.tables import ago, local_time, short_session
from workroot.errors import AlreadyRunningError, ConfigError, DaemonStartError, DaemonUnavailableError, WorkrootError


def commands(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command with the words that call it."""
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)


ALL = list(commands(program))


def test_the_commands_of_this_version_are_all_there() -> None:
    names = "status sessions projects why logs init trust connect serve stop upgrade sweep export import doctor"

    assert " ".join(program.commands) == f"{names} service token"


@pytest.mark.parametrize(
    ("words", "command"), ALL, ids=lambda value: "-".join(value) if isinstance(value, tuple) else ""
)
def test_the_help_of_a_command_says_what_it_does_and_names_its_options(
    words: tuple[str, ...], command: click.Command, tmp_path: Path
) -> None:
    result = run_cli(*words, "--help", state=tmp_path)

    assert result.exit_code == ExitCode.OK
    assert command.get_short_help_str(64)[-1] == "."
    assert not command.get_short_help_str(64).endswith("...")
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.opts[0] in result.stdout
            assert parameter.help


@pytest.mark.parametrize("command", ["status", "sessions", "projects", "why", "init", "sweep", "stop"])
def test_what_answers_takes_json(command: str) -> None:
    assert any("--json" in parameter.opts for parameter in program.commands[command].params)


def test_the_help_lists_each_command_once_and_all_exit_codes(tmp_path: Path) -> None:
    help_text = run_cli("--help", state=tmp_path).stdout

    for name in program.commands:
        assert f"\n  {name} " in help_text
    for code in ExitCode:
        assert f" {code.value} " in help_text
    assert "..." not in help_text.removeprefix("Usage: program [OPTIONS] COMMAND [ARGS]...")


def test_the_version_is_that_of_the_package(tmp_path: Path) -> None:
    assert run_cli("--version", state=tmp_path).stdout == f"workroot {workroot.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["--colour"], ["stat"], ["status", "--jsn"], ["status", "extra"], ["token"]])
def test_a_command_line_that_cannot_be_understood_exits_2(arguments: list[str], tmp_path: Path) -> None:
    result = run_cli(*arguments, state=tmp_path)

    assert result.exit_code == ExitCode.USAGE
    assert result.stdout == ""
    assert "Usage: " in result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DaemonUnavailableError("/s"), ExitCode.NOT_RUNNING),
        (DaemonStartError("/l", "x"), ExitCode.NOT_STARTED),
        (AlreadyRunningError("/l"), ExitCode.FAILED),
        (ConfigError("/c", "x"), ExitCode.FAILED),
    ],
)
def test_each_kind_of_error_has_its_exit_code(error: WorkrootError, code: ExitCode) -> None:
    assert exit_code_of(error) == code


def test_the_connector_ends_with_the_same_codes() -> None:
    assert [connector.EXIT_OK, connector.EXIT_USAGE] == [ExitCode.OK, ExitCode.USAGE]
    assert [connector.EXIT_NOT_RUNNING, connector.EXIT_NOT_STARTED] == [ExitCode.NOT_RUNNING, ExitCode.NOT_STARTED]
    assert connector.EXIT_LOST == ExitCode.GAVE_UP


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConfigError("/c", "broken\x1b[2J"), "workroot: /c: broken\\x1b[2J\n"),
        (
            PermissionError(13, "Permission denied", "/x"),
            "workroot: /x: Permission denied; `workroot doctor` looks what is wrong there\n",
        ),
        (OSError(28, "No space left on device"), "workroot: No space left on device\n"),
        (OSError("made up"), "workroot: made up\n"),
    ],
)
def test_an_error_is_one_line_and_never_a_traceback(error: Exception, said: str) -> None:
    failing = Program("workroot")

    @failing.command()
    def fail() -> None:
        raise error

    result = CliRunner().invoke(failing, ["fail"])

    assert (result.exit_code, result.stdout, result.stderr) == (ExitCode.FAILED, "", said)


def test_an_error_of_our_own_logic_is_not_hidden() -> None:
    failing = Program("workroot")

    @failing.command()
    def fail() -> None:
        raise ZeroDivisionError

    assert isinstance(CliRunner().invoke(failing, ["fail"]).exception, ZeroDivisionError)


@pytest.mark.parametrize(("arguments", "code"), [(["--version"], 0), (["status"], 3), (["nonsense"], 2)])
def test_main_returns_the_exit_code(
    arguments: list[str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKROOT_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["workroot", *arguments])

    assert main() == code


@pytest.mark.parametrize(
    "options", [[], ["--no-spawn"], ["--directory", "/code", "--no-default-session", "--no-spawn"]]
)
def test_connect_passes_its_options_on_to_the_connector(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: list[str] = []

    def give_up(arguments: list[str]) -> int:
        passed.extend(arguments)
        return ExitCode.GAVE_UP

    monkeypatch.setattr(connector, "main", give_up)

    assert run_cli("connect", *options, state=tmp_path).exit_code == ExitCode.GAVE_UP
    assert passed == options


# what tables show


@pytest.mark.parametrize(
    ("passed", "shown"),
    [
        (-5, "now"), (0, "now"), (0.9, "now"), (1, "1 s ago"), (59, "59 s ago"), (60, "1 min ago"),
        (3599, "59 min ago"), (3600, "1 h ago"), (86399, "23 h ago"), (86400, "1 d ago"), (1e7, "115 d ago"),
    ],
)  # fmt: skip
def test_how_long_ago_is_said_in_the_largest_whole_unit(passed: float, shown: str) -> None:
    assert ago(1e9 - passed, 1e9) == shown


def test_a_time_that_is_none_is_not_shown_as_one() -> None:
    assert ago(None, 1e9) is None
    assert local_time(None) is None
    assert local_time(1e300) is None


@pytest.mark.parametrize(
    ("session", "shown"),
    [(None, None), ("mine", "mine"), ("wr_abcdefgh", "wr_abcdefgh"), ("wr_abcdefghi", "wr_abcdefgh...")],
)
def test_a_handle_is_shortened(session: str | None, shown: str | None) -> None:
    assert short_session(session) == shown

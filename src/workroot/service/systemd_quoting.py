"""Paths as systemd reads them; source: systemd.syntax(7), systemd.unit(5), systemd.service(5).

Three things change a value between the file and its use: quotes and backslashes, where a list of words is
read; `%` specifiers, everywhere; and `$` variables, in command lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workroot.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["command_line", "plain_value", "quoted_word"]

_REFUSED_IN_PROGRAM = "\"'\\"


def plain_value(text: str) -> str:
    """Return *text* for a setting that takes the whole rest of its line, as `ListenStream=` does."""
    return text.replace("%", "%%")


def quoted_word(text: str) -> str:
    """Return *text* as one word of a setting that takes several, as `Environment=` does."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{plain_value(escaped)}"'


def command_line(command: Sequence[str]) -> str:
    """Return *command* as one line of `ExecStart=`; its program, an absolute path, comes first.

    Raises:
        ServiceError: systemd would refuse the program's path.
    """
    program = command[0]
    if refused := next((letter for letter in program if letter in _REFUSED_IN_PROGRAM), None):
        raise ServiceError(
            f"systemd starts no program whose path holds {refused}, as {program} does: install workroot elsewhere"
        )
    # The program's own name is expanded too, and Python finds its environment by it. The prefix that turns that
    # off came with systemd 244, so it is there only where it is needed.
    unexpanded = ":" if any("$" in word for word in command) else ""
    return " ".join((quoted_word(f"{unexpanded}{program}"), *(quoted_word(word) for word in command[1:])))

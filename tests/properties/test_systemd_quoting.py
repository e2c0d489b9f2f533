"""What is written into a unit is what systemd reads from it, whatever the path holds.

The reader below follows systemd.syntax(7), systemd.unit(5) and systemd.service(5), not our writer.
"""

from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from workroot.errors import ServiceError
from workroot.service.installation import Installation
from workroot.service.systemd_quoting import command_line, plain_value, quoted_word
from workroot.service.systemd_units import service_unit, socket_unit

ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "s": " "} | {
    letter: letter for letter in "\\\"'"
}
SPECIFIERS = {"h": "/home/other", "H": "lab", "u": "somebody", "t": "/run/user/1"}

nasty = st.sampled_from(
    ['"', "'", "\\", "%", "$", "%%", "${HOME}", "%h", " ", ";", "#", "\\x41", ":", "@", "ü", "日", "\\s"]
)
usual = st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="/")
names = st.lists(nasty | usual, min_size=1, max_size=12).map("".join)
paths = st.lists(names, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))


def lines_of(unit: str) -> list[str]:
    """Return the lines as systemd takes them: cut at line ends, white space around them dropped."""
    assert not any(unicodedata.category(letter) == "Cc" and letter != "\n" for letter in unit)
    lines = [line.strip(" \t\n\r") for line in unit.split("\n")]
    assert not any(line.endswith("\\") for line in lines), "the next line would become part of this one"
    return lines


def words_of(value: str) -> list[str]:
    """Split a list of words: quotes wrap one, a backslash begins an escape."""
    words: list[str] = []
    rest = iter(value)
    word, quote = None, ""
    for letter in rest:
        if letter == "\\":
            word = (word or "") + ESCAPES[next(rest)]
        elif quote:
            if letter == quote:
                quote = ""
            else:
                word = (word or "") + letter
        elif letter in "\"'":
            quote, word = letter, word or ""
        elif letter in " \t":
            if word is not None:
                words.append(word)
            word = None
        else:
            word = (word or "") + letter
    assert not quote
    return words if word is None else [*words, word]


def expanded(value: str) -> str:
    """Replace specifiers."""
    read, rest = "", iter(value)
    for letter in rest:
        if letter != "%":
            read += letter
        elif (name := next(rest)) == "%":
            read += "%"
        else:
            read += SPECIFIERS[name]
    return read


def executed(value: str) -> tuple[str, list[str]]:
    """Return the program that an `ExecStart=` starts, and all its arguments with the name it is given."""
    first, *rest = (word for word in words_of(value))
    prefixes = ""
    while first[0] in "@-:+!":
        prefixes, first = prefixes + first[0], first[1:]
    program = expanded(first)
    if any(letter in program for letter in "\"'\\"):
        raise LookupError("the executable's name contains special characters")
    arguments = [program, *(expanded(word) for word in rest)]
    if ":" not in prefixes and any("$" in argument for argument in arguments):
        raise LookupError("a variable is expanded")
    return program, arguments


@given(paths)
@example('/a "b"/$HOME/100%h/c\\')
def test_a_plain_value_is_read_as_the_path_that_was_meant(path: str) -> None:
    assume(not path.endswith(("\\", " ")))  # the socket's own name is last, and has neither
    assert expanded(plain_value(path)) == path


@given(paths)
@example('/a "b"/$HOME/100%h/c\\')
def test_a_quoted_word_is_read_as_one_word_that_was_meant(path: str) -> None:
    (word,) = words_of(quoted_word(f"WORKROOT_HOME={path}"))

    assert expanded(word) == f"WORKROOT_HOME={path}"


@given(paths)
@example("/opt/$HOME/python3")
def test_a_command_starts_the_program_that_was_meant_or_is_refused(path: str) -> None:
    command = (path, "-I", "-m", "workroot", "serve")
    if any(letter in path for letter in "\"'\\"):
        with pytest.raises(ServiceError):
            command_line(command)
    else:
        assert executed(command_line(command)) == (path, list(command))


@given(paths, paths)
def test_whatever_the_paths_hold_each_unit_has_the_settings_that_were_meant(python: str, state: str) -> None:
    assume(not any(letter in python for letter in "\"'\\"))
    made = Installation(python=python, state=state, names_state=True)
    plain = Installation(python="/opt/python3", state="/srv/w", names_state=True)

    for unit in (service_unit, socket_unit):
        lines, expected = lines_of(unit(made)), lines_of(unit(plain))
        assert [line.partition("=")[0] for line in lines] == [line.partition("=")[0] for line in expected]
    (listen,) = (line for line in lines_of(socket_unit(made)) if line.startswith("ListenStream="))
    (start,) = (line for line in lines_of(service_unit(made)) if line.startswith("ExecStart="))
    (home,) = (line for line in lines_of(service_unit(made)) if line.startswith("Environment="))
    assert expanded(listen.partition("=")[2].replace("/%H/", f"/{hostname()}/")) == made.socket_path
    assert executed(start.partition("=")[2])[1] == list(made.command)
    assert expanded(words_of(home.partition("=")[2])[0]) == f"WORKROOT_HOME={state}"


def hostname() -> str:
    return plain_value(os.uname().nodename)

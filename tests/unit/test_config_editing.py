"""Edits of a config that somebody wrote: what was meant is changed, and all else stays as it was, comments too."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workroot.core.projects import ProjectConfig, ProjectId
from workroot.project_config.editing import edited_text, new_text

NOW = datetime(2026, 1, 2, 12, 0, 0, 999, tzinfo=UTC)
SAID_NOW = "2026-01-02T12:00:00+00:00"

WRITTEN = """\
# All about us.
version = "1.0"   # of the format
created_at = "2025"

# Who we are
[project] # short
  name = 'x' # and sweet
colour = "red"

# What we run
[commands]
test = "make"  # slow

# The end.
"""

EDITED = """\
# All about us.
version = "1.0"   # of the format
created_at = "2025"
updated_at = "2026-01-02T12:00:00+00:00"

# Who we are
[project] # short
  name = "y" # and sweet
  id = "i"
colour = "red"

# What we run
[commands]
test = "make"  # slow

# The end.
"""


def test_an_edit_keeps_comments_and_order_and_puts_new_keys_beside_their_like() -> None:
    assert edited_text(WRITTEN, project={"id": "i", "name": "y"}, now=NOW) == EDITED


def test_windows_line_ends_stay() -> None:
    windows = WRITTEN.replace("\n", "\r\n")

    assert edited_text(windows, project={"id": "i", "name": "y"}, now=NOW) == EDITED.replace("\n", "\r\n")


def test_a_file_without_a_last_line_end_is_edited() -> None:
    text = 'version = "1.0"\n[project]\nname = "x"'

    assert tomllib.loads(edited_text(text, project={"id": "i"}, now=NOW))["project"] == {"name": "x", "id": "i"}


def test_a_time_that_is_there_is_changed_in_its_own_form() -> None:
    as_text = 'version = "1.0"\nupdated_at = "2025" # then\nproject.name = "x"\n'
    as_time = as_text.replace('"2025"', "2025-01-01T00:00:00Z")

    assert f'updated_at = "{SAID_NOW}" # then\n' in edited_text(as_text, project={"name": "y"}, now=NOW)
    assert "updated_at = 2026-01-02T12:00:00Z # then\n" in edited_text(as_time, project={"name": "y"}, now=NOW)


@pytest.mark.parametrize(
    "text",
    [
        'version = "1.0"\nproject = { name = "x" } # c\n[commands]\na = "b"\n',
        'version = "1.0"\nproject.name = "x" # c\n[commands]\na = "b"\n',
        'version = "1.0"\n"project"."name" = "x" # c\n',
        '[project]\nname = "x" # c\n[commands]\na = "b"\n',
        'version = "1.0"\n[project.sub]\na = 1\n[project]\nname = "x" # c\n',
        'version = "1.0"\n[project]\nname = "x" # c\n[commands]\na = "b"\n[project.sub]\na = 1\n',
        'version = "1.0"\nnumber = nan\nproject = { "name" = """\nx""" }# c\n',
    ],
)
def test_every_way_to_write_a_table_can_be_edited(text: str) -> None:
    before = tomllib.loads(text)

    made = edited_text(text, project={"id": "i", "name": "y"}, now=NOW)

    after: dict[str, Any] = tomllib.loads(made)
    assert (after["project"].pop("id"), after["project"].pop("name"), after.pop("updated_at")) == ("i", "y", SAID_NOW)
    before["project"].pop("name")
    assert repr(after) == repr(before)
    assert "# c\n" in made


KEYS = st.sampled_from(["a", '"b c"', "d-e"])
VALUES = st.sampled_from(["1", "nan", '"x # y"', "'''\nz\n'''", "[1,\n 2, # two\n]", "{ a = 1 }", "2026-01-01"])
LINES = st.lists(
    st.sampled_from(["", "# note", "  # note"]) | st.builds("{} = {} # c".format, KEYS, VALUES), max_size=4
)
TABLES = st.lists(st.builds("[{}]\n{}".format, st.sampled_from(["t", "t.u", "project.v"]), LINES.map("\n".join)))


@given(LINES, LINES, TABLES, TABLES, st.booleans(), st.booleans())
def test_whatever_else_is_in_the_file_stays(
    top: list[str], inside: list[str], before: list[str], after: list[str], has_id: bool, is_windows: bool
) -> None:
    own = ["[project] # who", 'name = "x" # c', *(["id = 'j'"] if has_id else []), *inside]
    text = "\n".join([*top, 'version = "1.0"', *before, *own, *after, ""])
    if is_windows:
        text = text.replace("\n", "\r\n")
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return  # a table or key twice

    made = edited_text(text, project={"id": "i"}, now=NOW)

    now_says: dict[str, Any] = tomllib.loads(made)
    assert now_says["project"].pop("id") == "i"
    assert now_says.pop("updated_at") == SAID_NOW
    said["project"].pop("id", None)
    assert repr(now_says) == repr(said)
    kept = [line for line in made.splitlines() if not line.strip().startswith(("id =", "updated_at ="))]
    assert [line for line in kept if line] == [
        line for line in text.splitlines() if line and not line.strip().startswith("id =")
    ]


@given(st.text(min_size=1, max_size=255, alphabet=st.characters(codec="utf-8")))
def test_any_name_is_written_as_it_is(name: str) -> None:
    new = tomllib.loads(new_text(ProjectConfig(name=name, project_id=ProjectId("i"), created_at="2026")))
    edited = tomllib.loads(edited_text(WRITTEN, project={"name": name}, now=NOW))

    assert new == {"version": "1.0", "created_at": "2026", "project": {"name": name, "id": "i"}}
    assert edited["project"]["name"] == name


def test_a_new_config_says_the_switches_that_are_not_as_usual() -> None:
    config = ProjectConfig(name="x", description="d", auto_switch=False, strict_mode=True, dry_run=True)

    assert tomllib.loads(new_text(config)) == {
        "version": "1.0",
        "description": "d",
        "auto_switch": False,
        "strict_mode": True,
        "dry_run": True,
        "project": {"name": "x"},
    }

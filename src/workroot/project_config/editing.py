"""The text of a config: a new one, and one that somebody wrote with a field changed and all else as it was.

tomlkit keeps comments, order and unknown keys. It puts a new key at the end of its table, below a comment that belongs
to the next one; so a new key is first tried right below one that is there. An edit counts only if its text,
read again, says what was meant and otherwise what it said before.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from datetime import datetime
from typing import TYPE_CHECKING

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Item

from workroot.core.projects import ProjectConfig
from workroot.project_config.text import UnusableTextError, parse_text

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CannotEditError", "edited_text", "new_text"]


class CannotEditError(Exception):
    """The text has a form in which the change cannot be made."""


def new_text(config: ProjectConfig) -> str:
    """Return the text of a project's first config: who it is, and the switches that are not as by default."""
    document = tomlkit.document()
    document.add(tomlkit.comment("This directory, and all below it, is one project for workroot."))
    document.add(tomlkit.comment("Keep this file under version control: the id is what the project is known by."))
    usual = ProjectConfig(name="")
    for key in ("version", "description", "created_at", "auto_switch", "strict_mode", "dry_run"):
        value = getattr(config, key)
        if key == "version" or value != getattr(usual, key):
            document.add(key, tomlkit.item(value))
    document.add(tomlkit.nl())
    project = tomlkit.table()
    project.add("name", config.name)
    if config.project_id is not None:
        project.add("id", config.project_id)
    document.add("project", project)
    return tomlkit.dumps(document)


def edited_text(text: str, *, project: Mapping[str, str], now: datetime) -> str:
    """Return a config's text with fields of its project changed or added, and `updated_at` set.

    Args:
        text: TOML; it was read as a config.
        project: new values of `name` and `id`; what is not named stays.
        now: for `updated_at`, with its zone; written as text unless a TOML time stands there.

    Raises:
        CannotEditError: nothing of this kind can be changed here by a program.
    """
    for is_below in (True, False):
        try:
            made = _edited(text, project, now, is_below=is_below)
            if _says(made, text, project):
                return made
        except (TOMLKitError, UnusableTextError):
            continue
    raise CannotEditError


def _edited(text: str, project: Mapping[str, str], now: datetime, *, is_below: bool) -> str:
    document = tomlkit.parse(text)
    table = document["project"]
    if not isinstance(table, MutableMapping):
        raise CannotEditError
    for key, value in project.items():
        if key in table:
            table[key] = value
        else:
            _add(table, key, value, neighbour="name" if is_below else None)
    now = now.replace(microsecond=0)
    if "updated_at" in document:
        document["updated_at"] = now if isinstance(document["updated_at"], datetime) else now.isoformat()
    else:
        neighbour = "created_at" if "created_at" in document else "version"
        _add(document, "updated_at", now.isoformat(), neighbour=neighbour if is_below else None)
    made = tomlkit.dumps(document)
    if "\r\n" in text and "\n" not in text.replace("\r\n", ""):
        made = made.replace("\r\n", "\n").replace("\n", "\r\n")
    return made


def _add(table: MutableMapping[str, object], key: str, value: str, *, neighbour: str | None) -> None:
    """Add a key right below its neighbour, or else where tomlkit adds it."""
    item = table[neighbour] if neighbour is not None else None
    if not isinstance(item, Item):
        table[key] = value
        return
    trivia = item.trivia
    line = f"{trivia.indent}{key} = {tomlkit.item(value).as_string()}"
    trivia.trail = f"{trivia.trail or chr(10)}{line}{trivia.trail}"


def _says(made: str, text: str, project: Mapping[str, str]) -> bool:
    """Tell whether an edited text says what was meant, and else the same as before."""
    before, after = parse_text(text, is_toml=True), parse_text(made, is_toml=True)
    if not isinstance(before, dict) or not isinstance(after, dict) or not isinstance(after.get("project"), dict):
        return False
    if any(after["project"].get(key) != value for key, value in project.items()) or not after.get("updated_at"):
        return False
    for one in (before, after):
        one.pop("updated_at", None)
        for key in project:
            one["project"].pop(key, None)
    return repr(before) == repr(after)  # in their order, and a number that is none is like itself

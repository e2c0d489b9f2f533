"""What the user has set: whether it can be used, and whether it is what they meant."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from workroot.doctor.findings import Found, Name, Private, note, ok, problem
from workroot.errors import SettingsError, TrustError

__all__ = ["look_at_settings", "look_at_trust", "look_at_variables"]

_NOT_SETTINGS = frozenset({"WORKROOT_HOME"})


def look_at_settings(environment: Mapping[str, str]) -> Iterator[Found]:
    """Look whether a daemon could start with what is set."""
    from workroot.settings import Settings, load_settings

    try:
        settings = load_settings(environment)
    except SettingsError as error:
        said, _, _ = str(error).lower().partition("; there are ")  # what comes then are all the names that there are
        words = set(re.findall(r"[a-z_]+", said.replace("workroot_", " ")))
        named = [name for name in Settings.model_fields if name in words and name != "state_directory"]
        about = f", about {', '.join(named)}" if named else ""
        yield problem(
            f"the settings cannot be used{about}",
            Private(f": {error}"),
            cure=("correct or remove that line or variable; no daemon starts with it",),
        )
        return
    changed = sorted(
        name
        for name, field in Settings.model_fields.items()
        if name != "state_directory" and getattr(settings, name) != field.default
    )
    yield ok(f"set: {', '.join(changed)}" if changed else "all at their defaults")


def look_at_trust(state: str) -> Iterator[Found]:
    """Look whether what the user allowed can be read; if not, everything is withheld."""
    from workroot.trust import TrustStore

    try:
        count = len(TrustStore(Path(state) / "trust.json").records())
    except TrustError as error:
        yield problem(
            "what you allowed and denied cannot be read, so everything is withheld",
            Private(f" ({error})"),
            cure=("correct the file as it says, or move it away and decide anew with `workroot trust`",),
        )
    else:
        yield ok(f"{count} decisions; `workroot trust --list` shows them")


def look_at_variables(environment: Mapping[str, str]) -> Iterator[Found]:
    """Look for variables that are spelled like settings and are none."""
    from workroot.settings import PREFIX, Settings

    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | _NOT_SETTINGS
    unknown = sorted(name for name in environment if name.startswith(PREFIX) and name not in known)
    if unknown:
        listed = [part for name in unknown for part in (", ", Name(name))][1:]
        yield note(
            "variables that are no settings of workroot: ",
            *listed,
            cure=("correct their spelling, or leave them if they are another program's",),
        )

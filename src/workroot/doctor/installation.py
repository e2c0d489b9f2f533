"""Which workroot this is: its version, where it is installed, and what it needs."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata

from workroot import __version__
from workroot.doctor.findings import Found, Path, note, ok, problem, warning

__all__ = ["look_at_commands", "look_at_packages", "look_at_place", "look_at_sqlite", "look_at_version"]

_SQLITE_MINIMUM = (3, 37, 0)
_SQLITE_WITHOUT_FAULT = (3, 51, 3)
_THROW_AWAY = re.compile(r"/(?:\.?cache|caches)/(?:uv|pip|pipx)/|/_npx/|/archive-v\d+/", re.IGNORECASE)
_REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^]]*\])?\s*\(?([^;)]*)\)?\s*(?:;(.*))?")
_BOUND = re.compile(r"(>=|<=|==|!=|~=|>|<)\s*([0-9]+(?:\.[0-9]+)*)")


def look_at_version() -> Iterator[Found]:
    """Say which versions these are."""
    kernel = ".".join(re.findall(r"\d+", platform.release())[:2])
    implementation = f"{platform.python_implementation()} {platform.python_version()}"
    seen = f"workroot {__version__}, {implementation}, {platform.system()} {kernel} on {platform.machine()}"
    yield ok(seen)


def look_at_place(
    package: str = os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
    *,
    temporary: Sequence[str] = ("/tmp", "/var/tmp", "/dev/shm", tempfile.gettempdir()),  # noqa: S108 -- compared only
    read_origin: Callable[[], str | None] = lambda: metadata.distribution("workroot").read_text("direct_url.json"),
) -> Iterator[Found]:
    """Look whether the installation is where it can stay.

    Args:
        package: the directory of the package itself.
        temporary: directories that are emptied now and then.
        read_origin: returns what the installer wrote down of where it came from (PEP 610), or None.
    """
    place = os.path.realpath(package)
    is_temporary = any(place.startswith(f"{os.path.realpath(directory)}/") for directory in temporary)
    try:
        is_editable = '"editable": true' in (read_origin() or "").replace('"editable":true', '"editable": true')
    except metadata.PackageNotFoundError:
        yield warning(
            "it runs from ",
            Path(place),
            ", and is not installed",
            cure=("install it with pipx, `uv tool install` or into a virtual environment of its own",),
        )
        return
    if is_temporary or _THROW_AWAY.search(place):
        yield warning(
            "it is installed in ",
            Path(place),
            ", which may be emptied while the daemon runs",
            cure=("install it to stay (pipx, `uv tool install`), and put that command into your editors",),
        )
    elif is_editable:
        yield note(
            "it runs from a working copy, ",
            Path(place),
            ": a changed or moved file changes it as it runs",
            cure=("nothing, if you work on workroot itself; else install it with `pip install .`, without -e",),
        )
    else:
        yield ok("installed in ", Path(place))


def look_at_commands(
    environment: Mapping[str, str],
    *,
    own_prefix: str = sys.prefix,
) -> Iterator[Found]:
    """Look which `workroot` commands a shell would find, and whether they are one installation.

    Args:
        own_prefix: where the Python environment of this program is.
    """
    found: dict[str, str] = {}  # installation -> the first of its commands
    for directory in environment.get("PATH", "").split(os.pathsep):
        command = os.path.join(directory, "workroot")
        if os.path.isabs(directory) and os.path.isfile(command) and os.access(command, os.X_OK):
            found.setdefault(os.path.dirname(os.path.dirname(os.path.realpath(command))), command)
    own, first = os.path.realpath(own_prefix), next(iter(found), None)
    if first is None:
        yield note(
            "no command `workroot` is on PATH; this one is ",
            Path(os.path.join(own, "bin", "workroot")),
            cure=("nothing, if your editors have the whole path; else link it into a directory on PATH",),
        )
    elif first != own:
        yield warning(
            "`workroot` on PATH is ",
            Path(found[first]),
            ", this one is of ",
            Path(own),
            cure=("remove the one that you do not use, and let every editor's entry name the other",),
        )
    elif len(found) > 1:
        others = [part for path in list(found.values())[1:] for part in (", ", Path(path))]
        yield note(
            "several installations are on PATH: ",
            Path(found[first]),
            *others,
            cure=("remove those that you do not use, and let every editor's entry name the same one",),
        )
    else:
        yield ok("`workroot` on PATH is ", Path(found[first]))


def look_at_packages(
    requirements: Sequence[str] | None = None, *, version_of: Callable[[str], str] = metadata.version
) -> Iterator[Found]:
    """Look whether the packages that this one needs are installed, in versions that it can use.

    Args:
        requirements: as in the package's metadata; None: read them there.
        version_of: returns the version of an installed package, or raises `PackageNotFoundError`.
    """
    try:
        wanted = requirements if requirements is not None else metadata.requires("workroot") or ()
    except metadata.PackageNotFoundError:
        wanted = ()
    faults, count = [], 0
    for requirement in wanted:
        parsed = _REQUIREMENT.match(requirement)
        if parsed is None or "extra" in (parsed[3] or ""):
            continue
        count += 1
        try:
            version = version_of(parsed[1])
        except metadata.PackageNotFoundError:
            faults.append(f"{parsed[1]} is missing")
            continue
        if not _is_within(version, parsed[2]):
            faults.append(f"{parsed[1]} is {version}, and {parsed[2].strip()} is needed")
    if faults:
        yield problem("; ".join(faults), cure=("install workroot again into an environment of its own",))
    elif count:
        yield ok(f"the {count} packages that it needs are there, in versions that it can use")
    else:
        yield note("which packages it needs is not known", cure=("install workroot with pip, pipx or uv",))


def look_at_sqlite(version: tuple[int, int, int] = sqlite3.sqlite_version_info) -> Iterator[Found]:
    """Look whether SQLite can do what is needed of it, and has its known fault."""
    said = f"SQLite {'.'.join(map(str, version))}"
    if version < _SQLITE_MINIMUM:
        yield problem(
            f"{said} is too old; 3.37 is needed", cure=("install workroot with a Python that brings a newer SQLite",)
        )
    elif version < _SQLITE_WITHOUT_FAULT:
        yield note(
            f"{said} has a fault with logs that two connections reset; workroot writes through one, which avoids it",
            cure=("nothing, as long as no other program writes to the database",),
        )
    else:
        yield ok(said)


def _is_within(version: str, bounds: str) -> bool:
    have = _numbers(version)
    for sign, wanted_text in _BOUND.findall(bounds):
        wanted = _numbers(wanted_text)
        length = max(len(have), len(wanted))
        left, right = have + (0,) * (length - len(have)), wanted + (0,) * (length - len(wanted))
        holds = {">=": left >= right, "<=": left <= right, "<": left < right, ">": left > right}
        if not holds.get(sign, True):
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    leading = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in leading[0].split(".")) if leading else ()

"""What is known of each MCP client beyond what its messages say: facts, one file a client, in `workroot/clients/`.

The daemon reads a client's traits there. The cases say what the client really sends in each situation and what
the answer has to be; tests run every one of them. How a file is written is in `clients/README.md`; a
file that is not written so is an error, never a fact left out.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from workroot.core.signs import ClientTraits, Source

__all__ = [
    "ClientAnswer",
    "ClientCase",
    "ClientProfile",
    "TraitsByName",
    "client_profiles",
    "read_profiles",
    "traits_of",
]

_BRIDGE = " (via mcp-remote "
"""What mcp-remote puts between the name of the client that it speaks for and its own version."""

Basis = Literal["seen", "documented"]
"""How a fact is known: the client itself was run, or documents or source say so."""

Door = Literal["connector", "http"]
"""How the client reaches the daemon."""

Era = Literal["handshake", "modern"]
Text = Annotated[str, Field(min_length=1)]


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Traits(_Facts):
    """As `ClientTraits`."""

    first_root_is_working_directory: bool = False
    shares_process: bool = False
    conversation_keys: tuple[Text, ...] = ()


class ClientAnswer(_Facts):
    """What the daemon has to answer.

    Attributes:
        source: the kind of sign that decides.
        detail: which one of that kind, of a process only that word; None where it is unknown.
        directory: None where it is unknown.
        limitation: why the answer is another directory than the one the client works in, and what helps; only then.
    """

    source: Source
    detail: Text | None = None
    directory: Text | None = None
    warnings: tuple[Text, ...] = ()
    limitation: Text | None = None

    @model_validator(mode="after")
    def _is_known_or_not(self) -> ClientAnswer:
        if (self.directory is None) != (self.detail is None):
            raise ValueError("detail and directory go together: an unknown directory has neither")
        if self.directory is not None and self.source is Source.UNKNOWN:
            raise ValueError("what is unknown is no directory")
        return self


class ClientCase(_Facts):
    """One situation: where the client works, what reaches the daemon, and what it has to answer.

    `{HERE}`, `{ELSEWHERE}`, `{HOME}` and `{APP}` stand for directories; in a text that begins with `file:` they
    are percent-encoded.

    Attributes:
        basis: as the profile's, unless it says otherwise.
        client: `clientInfo.name` in this case; None: the first of the profile's names, in full.
        where: the client works in the project it was started in (`here`), in another one than it was started in
            (`elsewhere`), or in none (`home`).
        own_directory: the connector's, as the client starts it; None over HTTP.
        environment: what the client passes to the connector.
        option: the connector's `--directory`.
        roots: as the client names them; None if it does not declare roots.
        meta: entries of a call's `_meta`.
        process: over HTTP, the directory of the process at the other end, if that can be looked up and believed.
    """

    title: Text
    basis: Basis | None = None
    client: Text | None = None
    door: Door
    eras: Annotated[tuple[Era, ...], Field(min_length=1)]
    where: Literal["here", "elsewhere", "home"]
    own_directory: Text | None = None
    environment: Mapping[str, str] = Field(default_factory=dict)
    option: str | None = None
    roots: tuple[Text, ...] | None = None
    meta: Mapping[str, object] = Field(default_factory=dict)
    headers: Mapping[str, str] = Field(default_factory=dict)
    query: Mapping[str, str] = Field(default_factory=dict)
    process: Text | None = None
    answer: ClientAnswer

    @model_validator(mode="after")
    def _fits_its_door(self) -> ClientCase:
        if self.door == "http" and (self.own_directory or self.environment or self.option is not None):
            raise ValueError("over HTTP there is no connector: own_directory, environment and option do not apply")
        if self.door == "connector" and (self.headers or self.query or self.process):
            raise ValueError("a connector sends no request: headers, query and process do not apply")
        if self.door == "connector" and self.own_directory is None:
            raise ValueError("a connector is started in some directory: own_directory is missing")
        answered, works_in = self.answer.directory, self.works_in
        is_right = answered is None or (works_in is not None and f"{answered}/".startswith(f"{works_in}/"))
        if is_right != (self.answer.limitation is None):
            raise ValueError("an answer has a limitation if, and only if, the client works in another project")
        return self

    @property
    def works_in(self) -> str | None:
        """The project that the client really works in; None if in none."""
        return {"here": "{HERE}", "elsewhere": "{ELSEWHERE}", "home": None}[self.where]

    def placed(self, directories: Mapping[str, str]) -> ClientCase:
        """Return this case with real directories.

        Args:
            directories: absolute paths for `HERE`, `ELSEWHERE`, `HOME` and `APP`.
        """
        answer = self.answer.model_copy(update={"directory": _placed(self.answer.directory, directories)})
        given = self.model_dump(exclude={"title", "basis", "client", "door", "eras", "where", "answer"})
        return self.model_copy(
            update={**{key: _placed(each, directories) for key, each in given.items()}, "answer": answer}
        )


class ClientProfile(_Facts):
    """One client.

    Attributes:
        names: `clientInfo.name`, exact or, with `*` at the end, its beginning; empty where it is anybody's.
        wants_capabilities: experimental capabilities that the server has to advertise for the cases to hold.
    """

    title: Text
    basis: Basis
    names: tuple[Text, ...]
    notes: tuple[Text, ...] = ()
    wants_capabilities: tuple[Text, ...] = ()
    traits: _Traits = _Traits()
    cases: Annotated[tuple[ClientCase, ...], Field(alias="case", min_length=1)]

    @property
    def client_traits(self) -> ClientTraits:
        """The traits as the core knows them."""
        return ClientTraits(**self.traits.model_dump())

    def client_name(self, case: ClientCase) -> str | None:
        """Return `clientInfo.name` in *case*; None if nothing is known of it."""
        return case.client or next((name for name in self.names if not name.endswith("*")), None)


class TraitsByName:
    """The traits of clients, to be asked for by name."""

    def __init__(self, profiles: Iterable[ClientProfile]) -> None:
        self._exact: dict[str, ClientTraits] = {}
        beginnings: dict[str, ClientTraits] = {}
        for profile in profiles:
            for name in profile.names:
                known, name_of_it = (beginnings, name[:-1]) if name.endswith("*") else (self._exact, name)
                known[name_of_it] = profile.client_traits
        self._beginnings = sorted(beginnings.items(), key=lambda each: -len(each[0]))

    def of(self, client_name: str | None) -> ClientTraits:
        """Return what is known of a client, as `traits_of` does."""
        if client_name is None:
            return _NOTHING_KNOWN
        name, _, _ = client_name.partition(_BRIDGE)
        if (known := self._exact.get(name)) is not None:
            return known
        return next((traits for beginning, traits in self._beginnings if name.startswith(beginning)), _NOTHING_KNOWN)


_NOTHING_KNOWN = ClientTraits()


def read_profiles(directory: Traversable) -> Mapping[str, ClientProfile]:
    """Return the profiles of a directory's `.toml` files by the file's name without that ending.

    Raises:
        ValueError: a file is not written as it has to be, or two claim one name; the text says which.
    """
    profiles: dict[str, ClientProfile] = {}
    claimed: dict[str, str] = {}
    for file in sorted(directory.iterdir(), key=lambda each: each.name):
        stem, _, suffix = file.name.rpartition(".")
        if suffix != "toml":
            continue
        try:
            profile = ClientProfile.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
        except (tomllib.TOMLDecodeError, ValidationError) as problem:
            raise ValueError(f"{file.name}: {problem}") from problem
        for name in profile.names:
            if (first := claimed.setdefault(name, stem)) != stem:
                raise ValueError(f"{file.name}: the name {name!r} is that of {first}.toml already")
        profiles[stem] = profile
    return MappingProxyType(profiles)


@cache
def client_profiles() -> Mapping[str, ClientProfile]:
    """Return all clients that come with the program; read once, as `read_profiles`."""
    return read_profiles(resources.files("workroot").joinpath("clients"))


def traits_of(client_name: str | None) -> ClientTraits:
    """Return what is known of a client, which may be nothing.

    A name in full goes before a beginning of one, a longer beginning before a shorter. Behind mcp-remote a
    client stays what it is: the bridge passes its roots and `_meta` on, and is as much one process as it is.

    Args:
        client_name: `clientInfo.name`; None if the client did not say.
    """
    return _known_traits().of(client_name)


@cache
def _known_traits() -> TraitsByName:
    return TraitsByName(client_profiles().values())


def _placed(value: object, directories: Mapping[str, str]) -> object:
    """Return *value* with every placeholder in it, keys included, replaced."""
    if isinstance(value, str):
        for name, directory in directories.items():
            value = value.replace(f"{{{name}}}", quote(directory) if value.startswith("file:") else directory)
        return value
    if isinstance(value, Mapping):
        return {_placed(key, directories): _placed(each, directories) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_placed(each, directories) for each in value]
    return value

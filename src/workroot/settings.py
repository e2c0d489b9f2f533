"""What a user may set, from one file and the environment into one frozen value.

`config.toml` in the state directory, then the variables `WORKROOT_*`, which win. A mistake is said before anything
starts or changes: a key that does not exist is never passed over, and a value in the file has its key's type, while
a variable, which is text, is read as people write it.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from workroot import rendezvous
from workroot.core.projects import CONFIG_NAMES
from workroot.errors import SettingsError
from workroot.escaping import escaped
from workroot.limits import Limits
from workroot.session_rules import SessionRules
from workroot.settings_file import read_settings_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["PREFIX", "Settings", "load_settings", "session_rules"]

_DAY = 24 * 3600.0
_MIB = 1 << 20

PREFIX = "WORKROOT_"
"""What the name of every variable begins with: `http_port` is `WORKROOT_HTTP_PORT`."""

_NEAR = 0.75
"""How alike two names must be for one to be taken for a slip of the other; `htpp` and `http` are 0.75."""

_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(Limits, BaseSettings):
    """The settings of one daemon. Built by `load_settings`; built directly, it reads no file and no variable.

    Attributes:
        state_directory: where all state lives; `WORKROOT_HOME` chooses it.
        http: serve Streamable HTTP on 127.0.0.1 too.
        http_port: its port; None for 7668 or, if that is taken, any free one, chosen once and kept.
        sweep_interval_seconds: from one look for idle sessions to the next.
        session_idle_seconds: a session that was idle for longer ends at the next sweep.
        ended_session_days: for how long an ended session's handle is remembered as ended.
        config_names: where a project's config is looked for at each level, first match wins.
        drain_seconds: how long requests in flight may go on after the daemon was asked to stop.
        idle_exit_seconds: a daemon that a connector started ends by itself when no client was connected for so
            long; 0: never. One with HTTP, under a service manager, or started by hand stays.
        write_behind_seconds: how long the time of a session's last use may wait to be stored.
        log_level: from which level on the log keeps records.
        trusted_directories: at and below them a level's owner and mode do not end a search, as with git's
            `safe.directory`; absolute, `~` stands for home.
        model_may_move: how far the argument of a model reaches: `anywhere`, into `known` projects, or only into
            the directories that the client itself names (`roots`).
        show_recent_projects: an answer that does not know the project names recent ones.
        otel_endpoint: of an OpenTelemetry collector that takes OTLP over HTTP, such as `http://127.0.0.1:4318`, to
            send spans of MCP messages to; None for what OpenTelemetry's own variables say, or none.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=PREFIX, validate_default=False)

    state_directory: Path
    http: bool = False
    http_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    sweep_interval_seconds: _Seconds = 3600
    session_idle_seconds: _Seconds = 86400
    ended_session_days: Annotated[int, Field(ge=0, le=36500)] = 30
    config_names: Annotated[tuple[str, ...], NoDecode, Field(min_length=1)] = CONFIG_NAMES
    drain_seconds: Annotated[float, Field(ge=0, le=600)] = 3
    idle_exit_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1800
    write_behind_seconds: _Seconds = 2
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    trusted_directories: Annotated[tuple[str, ...], NoDecode] = ()
    model_may_move: Literal["anywhere", "known", "roots"] = "anywhere"
    show_recent_projects: bool = True
    otel_endpoint: Annotated[str, Field(pattern=r"^https?://[^\s/]+")] | None = None

    @property
    def database_path(self) -> Path:
        """Where the sessions are kept."""
        return self.state_directory / "workroot.db"

    @property
    def log_path(self) -> Path:
        """Where the daemon's log is."""
        return self.state_directory / "log" / "daemon.log"

    @property
    def token_path(self) -> Path:
        """Where the hashes of the HTTP tokens are kept."""
        return self.state_directory / "tokens.json"

    @property
    def trust_path(self) -> Path:
        """Where it is kept what the user allowed projects to ask for."""
        return self.state_directory / "trust.json"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Leave the arguments as the only source: what is read, and from where, `load_settings` says."""
        return (init_settings,)

    @field_validator("config_names", "trusted_directories", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        """A variable holds the names with commas between them."""
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value

    @field_validator("config_names")
    @classmethod
    def _check_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or path.suffix not in (".toml", ".json"):
                raise ValueError(f"{name!r} is not a relative path of a .toml or .json file")
        return names

    @field_validator("trusted_directories")
    @classmethod
    def _check_directories(cls, directories: tuple[str, ...]) -> tuple[str, ...]:
        expanded = tuple(os.path.expanduser(directory) for directory in directories)
        for directory in expanded:
            if not os.path.isabs(directory):
                raise ValueError(f"{directory!r} is not an absolute path")
        return expanded

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower_level(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Return what the user has set: `<state directory>/config.toml`, overridden by the environment.

    Raises:
        SettingsError: the file cannot be read, or a key or value cannot be used; names it and its place.
    """
    state = Path(rendezvous.state_directory(environment))
    file = state / "config.toml"
    if f"{PREFIX}STATE_DIRECTORY" in environment:
        raise SettingsError(f"{PREFIX}STATE_DIRECTORY", f"is not a setting; {PREFIX}HOME chooses the state directory")
    _refuse_slips(environment)
    from_file = _read_file(file)
    from_environment = _Environment(environment)()
    try:
        return Settings(**{**from_file, **from_environment, "state_directory": state})
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in fault["loc"])
        key = str(fault["loc"][0])
        place = f"{PREFIX}{key.upper()}" if key in from_environment else str(file)
        said = fault["msg"].removeprefix("Value error, ")
        text = said[:1].lower() + said[1:]
        raise SettingsError(place, text if key in from_environment else f"{field}: {text}") from None


class _Environment(EnvSettingsSource):
    """The variables of a given environment instead of the process's own; an empty one counts as not set."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__(Settings)
        self.env_vars = {name.lower(): value for name, value in environment.items() if value and name.isupper()}


def _read_file(path: Path) -> dict[str, object]:
    values = read_settings_file(path)
    if "state_directory" in values:
        raise SettingsError(str(path), f"state_directory: cannot be set here; {PREFIX}HOME chooses it")
    for key in values:
        if key not in _names():
            raise SettingsError(str(path), f"{escaped(key[:100])}: {_no_such(key, _names())}")
    return {key: _checked(path, key, value) for key, value in values.items()}


def _checked(path: Path, key: str, value: object) -> object:
    """Return a value of the file as its setting takes it, if it has that setting's type: `1` is not `true`."""
    value = tuple(value) if isinstance(value, list) else value
    field = Settings.model_fields[key]
    try:
        TypeAdapter(field.annotation or object, config=ConfigDict(strict=True)).validate_python(
            value.lower() if isinstance(value, str) else value
        )
    except ValidationError as error:
        said = error.errors(include_url=False, include_context=False, include_input=False)[0]["msg"]
        said = "input should be a list of texts" if isinstance(field.default, tuple) else said
        raise SettingsError(str(path), f"{key}: {said[:1].lower()}{said[1:]}") from None
    return value


def _refuse_slips(environment: Mapping[str, str]) -> None:
    """Refuse a variable that is nearly a setting; others with our prefix may be somebody's own."""
    for variable in environment:
        name = variable.removeprefix(PREFIX).lower()
        if variable.startswith(PREFIX) and name not in _names() and _near(name, _names()):
            raise SettingsError(variable, _no_such(name, _names(), as_variable=True))


def _names() -> list[str]:
    names = [name for name in Settings.model_fields if name != "state_directory"]
    return sorted(names, key=lambda name: name in Limits.model_fields)  # the limits, which are many, at the end


def _near(name: str, names: Iterable[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name.lower(), list(names), n=1, cutoff=_NEAR)), None)


def _no_such(name: str, names: Iterable[str], *, as_variable: bool = False) -> str:
    names = list(names)
    if (near := _near(name, names)) is not None:
        return f"is not a setting; did you mean {PREFIX + near.upper() if as_variable else near}?"
    return f"is not a setting; there are {', '.join(names)}"


def session_rules(settings: Settings) -> SessionRules:
    """Return what *settings* say of sessions."""
    return SessionRules(
        model_may_move=settings.model_may_move,
        idle_seconds=settings.session_idle_seconds,
        sweep_seconds=settings.sweep_interval_seconds,
        write_behind_seconds=settings.write_behind_seconds,
        ended_seconds=settings.ended_session_days * _DAY,
        max_sessions=settings.max_sessions,
        max_ended_sessions=settings.max_ended_sessions,
        max_allocated_sessions=settings.max_allocated_sessions,
        max_projects=settings.max_projects,
        max_store_bytes=settings.max_database_mib * _MIB,
    )

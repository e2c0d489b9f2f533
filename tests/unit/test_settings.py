from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from workroot.core.projects import CONFIG_NAMES
from workroot.errors import SettingsError
from workroot.limits import DEFAULT_LIMITS, Limits
from workroot.settings import Settings, load_settings


def load(state: Path, file: str | bytes | None = None, **variables: str) -> Settings:
    """Load the settings of a state directory that holds *file*."""
    if file is not None:
        (state / "config.toml").write_bytes(file if isinstance(file, bytes) else file.encode())
    return load_settings({"WORKROOT_HOME": str(state), **variables})


def test_without_file_and_variables_the_defaults_hold(tmp_path: Path) -> None:
    assert load(tmp_path) == Settings(state_directory=tmp_path)
    assert Settings(state_directory=tmp_path).model_dump() == {
        "state_directory": tmp_path,
        "http": False,
        "http_port": None,
        "sweep_interval_seconds": 3600,
        "session_idle_seconds": 86400,
        "ended_session_days": 30,
        "config_names": CONFIG_NAMES,
        "drain_seconds": 3,
        "idle_exit_seconds": 1800,
        "write_behind_seconds": 2,
        "log_level": "info",
        "trusted_directories": (),
        "model_may_move": "anywhere",
        "show_recent_projects": True,
        "otel_endpoint": None,
        **DEFAULT_LIMITS.model_dump(),
    }


def test_the_state_directory_follows_from_home_alone() -> None:
    assert load_settings({"HOME": "/nowhere/ada"}).state_directory.is_relative_to("/nowhere/ada")


def test_a_variable_wins_over_the_file(tmp_path: Path) -> None:
    settings = load(
        tmp_path, "http = true\nsession_idle_seconds = 60\nlog_level = 'error'", WORKROOT_SESSION_IDLE_SECONDS="0.5"
    )

    assert settings.http is True
    assert settings.session_idle_seconds == 0.5
    assert settings.log_level == "error"


@pytest.mark.parametrize(("said", "meant"), [("1", True), ("true", True), ("0", False), ("no", False), ("", False)])
def test_a_switch_is_understood_as_people_write_it(tmp_path: Path, said: str, meant: bool) -> None:
    assert load(tmp_path, WORKROOT_HTTP=said).http is meant


def test_config_names_are_a_list_in_the_file_and_separated_by_commas_in_the_variable(tmp_path: Path) -> None:
    assert load(tmp_path, "config_names = ['a.toml']").config_names == ("a.toml",)
    assert load(tmp_path, WORKROOT_CONFIG_NAMES="a.toml, .b/c.json").config_names == ("a.toml", ".b/c.json")


def test_the_level_of_the_log_may_be_written_in_capitals(tmp_path: Path) -> None:
    assert load(tmp_path, WORKROOT_LOG_LEVEL="DEBUG").log_level == "debug"


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("htpp = true", "htpp: is not a setting; did you mean http?"),
        ("session_idle_second = 3", "session_idle_second: is not a setting; did you mean session_idle_seconds?"),
        ("colour = 'red'", "colour: is not a setting; there are http, http_port,"),
        ("[http]\nport = 3", "http: input should be a valid boolean"),
        ("http_port = 0", "http_port: input should be greater than or equal to 1"),
        ("http_port = 65536", "http_port: input should be less than or equal to 65535"),
        ("sweep_interval_seconds = 0", "sweep_interval_seconds: input should be greater than 0"),
        ("session_idle_seconds = inf", "session_idle_seconds: input should be a finite number"),
        ("session_idle_seconds = nan", "session_idle_seconds: input should be"),
        ("drain_seconds = -1", "drain_seconds: input should be greater than or equal to 0"),
        ("log_level = 'loud'", "log_level: input should be 'debug', 'info', 'warning' or 'error'"),
        ("config_names = []", "config_names: "),
        ("config_names = ['../a.toml']", "config_names: '../a.toml' is not a relative path"),
        ("config_names = ['/a.toml']", "config_names: '/a.toml' is not a relative path"),
        ("config_names = ['a.yaml']", "config_names: 'a.yaml' is not a relative path"),
        ("state_directory = '/tmp'", "state_directory: cannot be set here; WORKROOT_HOME chooses it"),
        ("http = ", "is not TOML: Invalid value (at "),
        (b"http = '\xff'", "is not UTF-8 text"),
        # A value of another type is refused, also where a variable's text would do.
        ("http = 'yes'", "http: input should be a valid boolean"),
        ("http = 1", "http: input should be a valid boolean"),
        ("http_port = '80'", "http_port: input should be a valid integer"),
        ("http_port = true", "http_port: input should be a valid integer"),
        ("http_port = 80.0", "http_port: input should be a valid integer"),
        ("drain_seconds = '1'", "drain_seconds: input should be a valid number"),
        ("drain_seconds = true", "drain_seconds: input should be a valid number"),
        ("idle_exit_seconds = -1", "idle_exit_seconds: input should be greater than or equal to 0"),
        ("show_recent_projects = 'off'", "show_recent_projects: input should be a valid boolean"),
        ("config_names = 'a.toml,b.toml'", "config_names: input should be a list of texts"),
        ("config_names = ['a.toml', 3]", "config_names: input should be a list of texts"),
        ("trusted_directories = 3", "trusted_directories: input should be a list of texts"),
        ("log_level = 3", "log_level: input should be 'debug', 'info', 'warning' or 'error'"),
        ("max_connections = '5'", "max_connections: input should be a valid integer"),
        ("max_connections = 0", "max_connections: input should be greater than or equal to 1"),
        ('"\\u001b[2J" = 1', r"\x1b[2J: is not a setting; there are http,"),
        ("a = " + "[" * 5000, "is n"),
        (b"\xef\xbb\xbfhttp = 1", "http: input should be a valid boolean"),
        ("#" * 65536 + "#", "is larger than 64 KiB"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_file_and_field(tmp_path: Path, file: str | bytes, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, file)

    assert str(caught.value).startswith(f"{tmp_path}/config.toml: {said}")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("WORKROOT_HTTP", "perhaps", "WORKROOT_HTTP: input should be a valid boolean"),
        ("WORKROOT_HTTP_PORT", "many", "WORKROOT_HTTP_PORT: input should be a valid integer"),
        ("WORKROOT_HTPP", "1", "WORKROOT_HTPP: is not a setting; did you mean WORKROOT_HTTP?"),
        ("WORKROOT_SWEEP_INTERVAL", "1", "WORKROOT_SWEEP_INTERVAL: is not a setting; did you mean WORKROOT_SWEEP_"),
        ("WORKROOT_STATE_DIRECTORY", "/tmp", "WORKROOT_STATE_DIRECTORY: is not a setting; WORKROOT_HOME chooses"),
    ],
)
def test_a_mistake_in_the_environment_is_named_with_its_variable(
    tmp_path: Path, variable: str, value: str, said: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, **{variable: value})

    assert str(caught.value).startswith(said)


def test_a_mistake_in_a_variable_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^WORKROOT_HTTP_PORT: "):
        load(tmp_path, "http_port = 80", WORKROOT_HTTP_PORT="0")


def test_somebody_elses_variable_with_our_prefix_is_left_alone(tmp_path: Path) -> None:
    assert load(tmp_path, WORKROOT_TOKEN="wrt_x", workroot_http="1") == Settings(state_directory=tmp_path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.toml").mkdir()

    with pytest.raises(SettingsError, match=r"config.toml: cannot be read: "):
        load(tmp_path)


def test_a_pipe_in_the_files_place_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.toml")

    with pytest.raises(SettingsError, match=r"config.toml: cannot be read: it is not a plain file"):
        load(tmp_path)


def test_a_file_that_everybody_may_change_is_refused_with_the_cure(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.touch()
    file.chmod(0o646)

    with pytest.raises(SettingsError, match=r"can be changed by every user; run: chmod o-w '.*/config.toml'"):
        load(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.touch()
    os.chown(file, 65534, 65534)

    with pytest.raises(SettingsError, match="belongs to the user with id 65534; make it yours"):
        load(tmp_path)


def test_a_file_may_be_a_link_and_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "kept-elsewhere.toml").write_bytes(b"\xef\xbb\xbfhttp_port = 80")
    (tmp_path / "config.toml").symlink_to("kept-elsewhere.toml")

    assert load(tmp_path).http_port == 80


def test_a_whole_number_will_do_for_seconds(tmp_path: Path) -> None:
    assert load(tmp_path, "drain_seconds = 1\nidle_exit_seconds = 0").drain_seconds == 1


@pytest.mark.parametrize("key", Limits.model_fields)
def test_every_limit_is_a_setting(tmp_path: Path, key: str) -> None:
    assert getattr(load(tmp_path, f"{key} = 7"), key) == 7
    assert getattr(load(tmp_path, **{f"WORKROOT_{key.upper()}": "8"}), key) == 8


def test_settings_built_directly_read_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKROOT_HTTP", "1")

    assert Settings(state_directory=tmp_path).http is False


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    settings = Settings(state_directory=tmp_path)

    with pytest.raises(ValidationError):
        settings.http = True


def test_paths_lie_in_the_state_directory(tmp_path: Path) -> None:
    settings = Settings(state_directory=tmp_path)

    assert settings.database_path == tmp_path / "workroot.db"
    assert settings.log_path == tmp_path / "log" / "daemon.log"
    assert settings.token_path == tmp_path / "tokens.json"

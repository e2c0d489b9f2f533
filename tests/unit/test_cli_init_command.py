from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from fake_daemon import run_cli

from workroot.cli.exit_codes import ExitCode
from workroot.project_config.schema import shipped_schema

EARLIER_ID = "5f0c7f5e-95a3-4f5e-9d8c-3a3a3a3a3a3a"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop").mkdir()
    return tmp_path / "shop"


def init(project: Path, *arguments: str, text_in: str | None = None) -> Result:
    return run_cli("init", str(project), *arguments, state=project.parent / "state", text_in=text_in)


def earlier_config(project: Path) -> Path:
    path = project / ".workflow-mcp" / "config.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"version": "1.0", "project": {"name": "Old", "id": EARLIER_ID}}))
    return path


def test_init_writes_a_config_and_says_where(shop: Path) -> None:
    document = json.loads(init(shop, "--name", "The Shop", "--json").stdout)

    config = shop / ".workroot" / "config.toml"
    assert document == {
        "path": str(config),
        "name": "The Shop",
        "project_id": document["project_id"],
        "is_new": True,
        "changed": [],
        "taken_over_from": None,
    }
    assert document["project_id"] in config.read_text()


def test_init_says_what_it_did_in_its_first_word(shop: Path) -> None:
    config = shop / ".workroot" / "config.toml"

    first, again, renamed = init(shop), init(shop), init(shop, "--name", "Other")

    assert [result.exit_code for result in (first, again, renamed)] == [ExitCode.OK] * 3
    assert first.stdout.startswith(f"wrote  {config}\nname   shop\nid     ")
    assert again.stdout.startswith(f"nothing to do  {config}\n")
    assert renamed.stdout.startswith(f"edited  {config}\nname    Other\n")


def test_init_again_names_the_fields_that_it_changed(shop: Path) -> None:
    init(shop)

    assert json.loads(init(shop, "--json").stdout)["changed"] == []
    document = json.loads(init(shop, "--name", "Other", "--json").stdout)
    assert (document["is_new"], document["changed"]) == (False, ["project.name"])


def test_init_says_what_is_wrong_with_a_config_and_where(shop: Path) -> None:
    config = shop / ".workroot" / "config.toml"
    config.parent.mkdir()
    config.write_text('version = "1.0"\n[project]\nname = 5\n')

    result = init(shop, "--json")

    assert result.exit_code == ExitCode.FAILED
    assert json.loads(result.stdout)["error"]["code"] == "invalid_config"
    assert result.stderr == f"workroot: {config}:3: project.name: must be a string\n"


def test_init_with_yes_takes_over_an_earlier_id(shop: Path) -> None:
    earlier = earlier_config(shop)

    document = json.loads(init(shop, "--yes", "--json").stdout)

    assert (document["name"], document["project_id"]) == ("Old", EARLIER_ID)
    assert document["taken_over_from"] == str(earlier)


@pytest.mark.parametrize("as_json", [False, True])
def test_init_without_a_terminal_asks_nobody_and_changes_nothing(shop: Path, as_json: bool) -> None:
    earlier = earlier_config(shop)

    result = init(shop, *["--json"] * as_json, text_in="y\n")

    assert result.exit_code == ExitCode.FAILED
    assert result.stderr.startswith(f"workroot: {earlier} is the config of an earlier system, and nobody can be asked")
    assert "--yes" in result.stderr
    assert not (shop / ".workroot").exists()
    error = json.loads(result.stdout)["error"] if as_json else None
    assert error is None or (error["code"], f"workroot: {error['message']}\n") == ("confirmation_needed", result.stderr)


def test_init_looks_for_configs_where_the_settings_say(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKROOT_CONFIG_NAMES", ".team/config.toml")

    result = init(shop)

    assert result.exit_code == ExitCode.FAILED
    assert "config_names" in result.stderr


@pytest.mark.parametrize(("trusted", "code"), [("", ExitCode.FAILED), ("shop", ExitCode.OK)])
def test_init_trusts_the_directories_that_the_settings_say(
    shop: Path, monkeypatch: pytest.MonkeyPatch, trusted: str, code: ExitCode
) -> None:
    shop.chmod(0o1777)
    monkeypatch.setenv("WORKROOT_TRUSTED_DIRECTORIES", trusted and str(shop))

    assert init(shop).exit_code == code


def test_the_schema_is_printed_and_nothing_else_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    result = run_cli("init", "--schema", state=tmp_path)

    assert json.loads(result.stdout) == json.loads(shipped_schema())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["--name", "x"], ["--yes"], ["."]])
def test_the_schema_is_not_printed_for_one_project(tmp_path: Path, arguments: list[str]) -> None:
    assert run_cli("init", "--schema", *arguments, state=tmp_path).exit_code == ExitCode.USAGE

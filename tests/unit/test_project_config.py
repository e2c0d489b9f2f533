"""What config files say, and how they are refused: by line and field, without a word of their content."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workroot.core.projects import ConfigProblem, ProjectConfig
from workroot.project_config import MAX_CONFIG_BYTES, parse_config

TOML, JSON = "/p/.workroot/config.toml", "/p/.codebase-mcp/config.json"
SECRET = "hunter2"
SOME_ID = "123e4567-e89b-42d3-a456-426614174000"


def parsed(content: str | bytes, path: str = TOML) -> ProjectConfig:
    result = parse_config(content.encode() if isinstance(content, str) else content, path)
    assert isinstance(result, ProjectConfig), result
    return result


def refused(content: str | bytes, path: str = TOML) -> ConfigProblem:
    raw = content.encode() if isinstance(content, str) else content
    result = parse_config(raw, path)
    assert isinstance(result, ConfigProblem), result
    assert result.path == path
    assert SECRET not in str(result)
    return result


def test_a_config_with_every_field_is_read() -> None:
    config = parsed(
        f"""\
version = "1.0"
description = "what it is"
created_at = 2026-01-02T03:04:05Z
updated_at = "2026-01-03"
auto_switch = false
strict_mode = true
dry_run = true

[project]
name = "Ada's"
id = "{SOME_ID.upper()}"
"""
    )

    assert config == ProjectConfig(
        name="Ada's",
        version="1.0",
        project_id=config.project_id,
        description="what it is",
        created_at="2026-01-02T03:04:05+00:00",
        updated_at="2026-01-03",
        auto_switch=False,
        strict_mode=True,
        dry_run=True,
    )
    assert config.project_id == SOME_ID


def test_the_earlier_systems_json_has_the_same_fields() -> None:
    content = json.dumps({"version": "1.0", "project": {"name": "x", "id": SOME_ID}, "strict_mode": True})

    config = parsed(content, JSON)

    assert (config.name, config.project_id, config.strict_mode) == ("x", SOME_ID, True)
    assert (config.auto_switch, config.dry_run, config.description) == (True, False, None)


def test_what_a_config_says_to_others_is_passed_over() -> None:
    config = parsed('version = "1.0"\nother = 1\n[project]\nname = "x"\ncolour = "red"\n[servers.a]\ncommand = "b"\n')

    assert config.name == "x"


@pytest.mark.parametrize("content", [b'\xef\xbb\xbfversion = "1.0"\r\n[project]\r\nname = "x"\r\n'])
def test_a_byte_order_mark_and_windows_line_ends_are_tolerated(content: bytes) -> None:
    assert parsed(content).name == "x"


@pytest.mark.parametrize(
    ("content", "line", "field", "problem"),
    [
        ('[project]\nname = "x"\n', None, "version", "is missing"),
        ('version = "1.0"\n', None, "project", "is missing"),
        ('version = "1.0"\n\n[project]\nid = "a"\n', 3, "project.name", "is missing"),
        ('version = "one"\n[project]\nname = "x"\n', 1, "version", "must be two numbers with a dot between them, such"),
        ('version = "1.0\\n"\n[project]\nname = "x"\n', 1, "version", "must be two numbers"),
        ('version = "\u0661.\u0660"\n[project]\nname = "x"\n', 1, "version", "must be two numbers"),
        ('version = 1.0\n[project]\nname = "x"\n', 1, "version", "must be a string"),
        ('version = "2.0"\n[project]\nname = "x"\n', 1, "version", "is not a version that this workroot reads (1.0)"),
        ('version = "1.0"\nproject = "hunter2"\n', 2, "project", "must be a table"),
        ('version = "1.0"\n[project]\nname = ""\n', 3, "project.name", "must not be empty"),
        (f'version = "1.0"\n[project]\nname = "{"x" * 256}"\n', 3, "project.name", "must have at most 255 characters"),
        ('version = "1.0"\nproject.name = 5\n', 2, "project.name", "must be a string"),
        ('version = "1.0"\nproject = { name = 5 }\n', 2, "project.name", "must be a string"),
        ('version = "1.0"\n[project]\nname = "x"\nid = "hunter2"\n', 4, "project.id", "must be a UUID"),
        (f'version = "1.0"\n[project]\nname = "x"\nid = "{{{SOME_ID}}}"\n', 4, "project.id", "must be a UUID"),
        (
            'version = "1.0"\nauto_switch = "hunter2"\n[project]\nname = "x"\n',
            2,
            "auto_switch",
            "must be true or false",
        ),
        ('version = "1.0"\n\nstrict_mode = 1\n[project]\nname = "x"\n', 3, "strict_mode", "must be true or false"),
        ('version = "1.0"\ndry_run = 0\n[project]\nname = "x"\n', 2, "dry_run", "must be true or false"),
        ('version = "1.0"\ncreated_at = 5\n[project]\nname = "x"\n', 2, "created_at", "must be a string"),
    ],
)
def test_a_field_that_is_not_valid_is_named_with_its_line(
    content: str, line: int | None, field: str, problem: str
) -> None:
    refusal = refused(content)

    assert (refusal.line, refusal.field) == (line, field)
    assert refusal.problem.startswith(problem)


@pytest.mark.parametrize(
    ("content", "line", "field", "problem"),
    [
        ('{\n "version": "1.0",\n "project": {\n  "name": 5}}', 4, "project.name", "must be a string"),
        ('{"version": "1.0", "project": {"name": "\\ud800"}}', 1, "project.name", "must be valid Unicode"),
        ('{\n "version": "1.0",\n "project": {"name": "x"},\n "dry_run": null}', 4, "dry_run", "must be true or false"),
        ("[]", None, None, "must be a table"),
        ('{\n "version" "hunter2"}', 2, None, "is not valid JSON: expecting ':' delimiter"),
        ('{"a": NaN}', None, None, "is not valid JSON"),
        ("[" * 60_000, None, None, "is not valid JSON"),
        ("[" + "9" * 60_000 + "]", None, None, "is not valid JSON"),
    ],
)
def test_faults_of_json_are_named_alike(content: str, line: int | None, field: str | None, problem: str) -> None:
    refusal = refused(content, JSON)

    assert (refusal.line, refusal.field) == (line, field)
    assert refusal.problem.startswith(problem)


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        ('version = "1.0"\nhunter2\n', 2, "is not valid TOML: expected '=' after a key in a key/value pair"),
        ("hunter2 = 1\nhunter2 = 2\n", 2, "is not valid TOML"),
        ('version = "1.0"\nname = """hunter2\n', 3, "is not valid TOML: unterminated string"),
        ('a = 1\n<<<<<<< HEAD\nname = "hunter2"\n=======\n', 2, "holds the marks of an unfinished merge"),
        ("a = " + "[" * 4000, None, "is not valid TOML"),
        ("ok = 1\nlong = '" + "x" * 4096 + "'", 2, "has a line longer than 4 KiB"),
        ("ok = 1\n" + ".".join("a" * 17) + " = 1", 2, "has a key of more than 16 parts"),
        ('a = """\n""", ' + '."b c" . '.join("a" * 17) + " = 1", 2, "has a key of more than 16 parts"),
        ("[" + ".".join("a" * 17) + "]", 1, "has a key of more than 16 parts"),
    ],
)
def test_a_fault_of_syntax_is_named_with_its_line(content: str, line: int | None, problem: str) -> None:
    refusal = refused(content)

    assert (refusal.line, refusal.field, refusal.problem) == (line, None, problem)


def test_text_that_is_not_utf_8_is_named_with_its_line() -> None:
    assert str(refused(b'version = "1.0"\n# \xff\n')) == f"{TOML}:2: is not valid UTF-8"


def test_more_than_64_kib_is_refused_and_64_kib_are_not() -> None:
    content = b'version = "1.0"\n[project]\nname = "x"\n'
    fitting = content + b"#\n" * ((MAX_CONFIG_BYTES - len(content)) // 2)

    assert parsed(fitting).name == "x"
    assert refused(fitting + b"#\n#\n").problem == "is larger than 64 KiB"


def test_dots_in_text_are_not_parts_of_a_key() -> None:
    config = parsed(
        'version = "1.0"\n'
        f'description = """\n{"a.b." * 40}\n"""  # {"c.d." * 40}\n'
        f"instructions = '{'e.' * 40}'\n"
        f"numbers = [{'1.5, ' * 40}]\n"
        f"{'.'.join('k' * 16)} = 1\n"
        '[project]\nname = "x"\n'
    )

    assert config.name == "x"


@pytest.mark.parametrize(
    "content",
    [
        ("." + "a" * 3) * 1000 + "\n",
        ('"' * 4000 + "\n") * 16,
        ('\\"' * 2000 + "\n") * 16,
        ("a.'" * 1300 + "\n") * 16,
        ("a" + " " * 3000 + "." * 20 + "\n") * 20,
        "x = " + "{a=" * 1300,
    ],
)
def test_a_hostile_file_is_refused_in_a_moment(content: str) -> None:
    began = time.process_time()

    refused(content)

    assert time.process_time() - began < 1  # a naive parser takes many seconds


@given(st.binary(max_size=300), st.sampled_from([TOML, JSON]))
def test_any_bytes_give_an_answer(content: bytes, path: str) -> None:
    assert isinstance(parse_config(content, path), ProjectConfig | ConfigProblem)


@given(st.text(max_size=30), st.sampled_from(["version", "project.name", "project.id", "dry_run", "created_at"]))
def test_no_answer_holds_a_refused_value(value: str, field: str) -> None:
    fields: dict[str, object] = {"version": "1.0"}
    project: dict[str, object] = {"name": "x"}
    table, _, key = field.rpartition(".")
    (project if table else fields)[key] = [f"{SECRET}{value}"]
    fields["project"] = project

    assert refused(json.dumps(fields), JSON).field == field

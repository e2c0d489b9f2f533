"""The schema that editors use says the same as the parser, and is the one that follows from the fields."""

from __future__ import annotations

import json
import tomllib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it has no types of its own

from workroot.core.projects import ConfigProblem
from workroot.project_config import parse_config
from workroot.project_config.schema import made_schema, shipped_schema

NAMED = 'version = "1.0"\nproject.name = "x"\n'
SOME_ID = "123e4567-e89b-42d3-a456-426614174000"

VALIDATOR = Draft202012Validator(json.loads(shipped_schema()))


def is_read(text: str) -> bool:
    return not isinstance(parse_config(text.encode(), "/p/config.toml"), ConfigProblem)


def is_valid(text: str) -> bool:
    return bool(VALIDATOR.is_valid(tomllib.loads(text)))


def test_the_shipped_schema_is_the_one_that_the_fields_make() -> None:
    assert shipped_schema() == made_schema(), (
        "in src/workroot/project_config, run "
        "`.venv/bin/python -m workroot.project_config.schema > project-config.schema.json`"
    )


def test_the_schema_itself_is_valid() -> None:
    Draft202012Validator.check_schema(json.loads(shipped_schema()))


def test_every_field_is_described() -> None:
    schema = json.loads(shipped_schema())

    for table in (schema, *schema["$defs"].values()):
        for name, field in table["properties"].items():
            described = schema["$defs"][field["$ref"].rsplit("/", 1)[1]] if "$ref" in field else field
            assert described["description"], name


@pytest.mark.parametrize(
    "text",
    [
        NAMED,
        '"$schema" = "./s.json"\nother = 1\n' + NAMED + "project.colour = 'red'\n",
        f'version = "1.12"\nproject = {{ name = "x", id = "{SOME_ID.upper()}" }}\nauto_switch = false\n',
        NAMED + 'instructions = ""\n[commands]\ntest = "make"\n[servers]\n',
        NAMED + '[servers.db]\ncommand = "a"\nargs = ["", "b"]\nenv.A_1 = ""\nenabled = false\n',
        NAMED + '[servers.db]\nurl = "https://a.example:8080/mcp"\nheaders.X-A = "é"\nargs = []\n',
    ],
)
def test_what_is_read_is_valid(text: str) -> None:
    assert is_read(text)
    VALIDATOR.validate(tomllib.loads(text))


@pytest.mark.parametrize(
    "text",
    [
        'project.name = "x"\n',
        'version = "2.0"\nproject.name = "x"\n',
        'version = 1.0\nproject.name = "x"\n',
        'version = "1.0"\nproject.name = " "\n',
        f'version = "1.0"\nproject.name = "{"x" * 256}"\n',
        NAMED + 'project.id = "x"\n',
        NAMED + "strict_mode = 1\n",
        NAMED + "instructions = 1\n",
        NAMED + '[commands]\n"a b" = "x"\n',
        NAMED + '[commands]\na = ""\n',
        NAMED + '[commands]\na = "\\u0000"\n',
        NAMED + "[servers.a]\n",
        NAMED + '[servers.a]\ncommand = "a"\nurl = "http://a/"\n',
        NAMED + '[servers.a]\nurl = "http://a/"\nargs = ["a"]\n',
        NAMED + '[servers.a]\nurl = "http://a/"\nenv.A = "a"\n',
        NAMED + '[servers.a]\ncommand = "a"\nheaders.A = "a"\n',
        NAMED + '[servers.a]\ncommand = "a"\nenv.1 = "a"\n',
        NAMED + '[servers.a]\nurl = "ftp://a/"\n',
        NAMED + '[servers.a]\nurl = "http://a/"\nheaders.A = "a\\nb"\n',
    ],
)
def test_what_is_refused_is_not_valid(text: str) -> None:
    assert not is_read(text)
    assert not is_valid(text)


def test_a_server_that_is_left_out_is_not_valid() -> None:
    assert not is_valid(NAMED + '[servers.a]\ncommand = "a"\ncwd = "/"\n')


SCALARS = st.none() | st.booleans() | st.integers(0, 1) | st.sampled_from(["", "a", "1.0", SOME_ID, "http://a/"])
TABLES = st.dictionaries(st.sampled_from(["A", "b", "", "é"]), SCALARS, max_size=2)
SERVERS = st.dictionaries(
    st.sampled_from(["command", "args", "env", "url", "headers", "enabled"]),
    SCALARS | TABLES | st.lists(SCALARS, max_size=2),
    max_size=3,
)
FILES = st.fixed_dictionaries(
    {"version": st.sampled_from(["1.0", "1.0", "2.0", ""]), "project": st.just({"name": "x"}) | TABLES},
    optional={
        "$schema": SCALARS,
        "description": SCALARS,
        "created_at": SCALARS,
        "auto_switch": SCALARS,
        "instructions": SCALARS | TABLES,
        "commands": TABLES,
        "servers": st.dictionaries(st.sampled_from(["a", "-"]), SERVERS, max_size=2),
        "unknown": SCALARS | TABLES,
    },
)


@given(FILES)
@example({"version": "1.0", "project": {"name": "x"}, "servers": {"a": {"command": None}}})
def test_the_schema_and_the_parser_agree(file: dict[str, object]) -> None:
    read = parse_config(json.dumps(file).encode(), "/p/config.json")

    assert VALIDATOR.is_valid(file) is not isinstance(read, ConfigProblem)

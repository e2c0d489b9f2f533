"""The schema that editors use says the same as the parser, and is the one that follows from the fields."""

from __future__ import annotations

import json
import tomllib

import pytest
from hypothesis import example, given, settings
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


HIDDEN = ["", " ", "\u200b", "\u3164", "\ufeff\u00a0", "\U000e0041", "\x00", "\n"]
ENDS = ["", "", "\n", "\r\n", "\u2028", " ", "\x00"]
HOSTS = ["a", "", ":80", "a:0", "a:00", "a:080", "a:65535", "a:65536", "a:99999", "a:", "a:b", "u:p@a", "@a", "a@", "é"]
IPV6 = ["[::1]", "[::1", "::1", "[::1]:80", "[::1::2]", "[]", "[1:2:3:4:5:6:7:8]", "[1:2]", "[::1.2.3.4]", "[::1%25a]"]


def ended(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(str.__add__, texts, st.sampled_from(ENDS))


WORDS = ended(st.sampled_from(HIDDEN) | st.text(st.sampled_from("".join(HIDDEN) + "aé漢😀"), max_size=3))
NAMES = ended(st.sampled_from(["a", "A-1", ".a", "", "a" * 64, "a" * 65, "é"]))
URLS = ended(
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["http://", "http://", "https://", "ftp://", "HTTP://", "http:/"]),
        st.sampled_from(HOSTS + IPV6) | st.text(st.sampled_from("a0:@[]%\\./?#"), max_size=6),
        st.sampled_from(["", "/", "/a?b#c", "/a b"]),
    )
)
TEXTS = st.fixed_dictionaries(
    {
        "version": st.just("1.0") | ended(st.sampled_from(["1.0", "1.12", "1.", "01.0", "1.٣"])),
        "project": st.fixed_dictionaries({"name": st.just("x") | WORDS}, optional={"id": ended(st.just(SOME_ID))}),
    },
    optional={
        "instructions": WORDS,
        "commands": st.dictionaries(NAMES, WORDS, max_size=2),
        "servers": st.dictionaries(
            NAMES,
            st.fixed_dictionaries({"command": WORDS}, optional={"env": st.dictionaries(NAMES, WORDS, max_size=1)})
            | st.fixed_dictionaries({"url": URLS}, optional={"headers": st.dictionaries(NAMES, WORDS, max_size=1)})
            | st.fixed_dictionaries({"url": URLS}),
            max_size=1,
        ),
    },
)


@given(TEXTS)
@settings(max_examples=400)
@example({"version": "1.0", "project": {"name": "\u200b"}})
@example({"version": "1.0\n", "project": {"name": "x"}})
@example({"version": "1.0", "project": {"name": "x"}, "commands": {"a": " "}})
@example({"version": "1.0", "project": {"name": "x"}, "commands": {"a\n": "x"}})
@example({"version": "1.0", "project": {"name": "x"}, "servers": {"a": {"url": "http://h:0/"}}})
def test_the_schema_and_the_parser_agree_about_texts(file: dict[str, object]) -> None:
    read = parse_config(json.dumps(file).encode(), "/p/config.json")

    assert VALIDATOR.is_valid(file) is not isinstance(read, ConfigProblem)


@pytest.mark.parametrize("authority", HOSTS + IPV6)
@pytest.mark.parametrize("end", ["", "/", "\n"])
def test_the_schema_and_the_parser_agree_about_hosts(authority: str, end: str) -> None:
    file = {"version": "1.0", "project": {"name": "x"}, "servers": {"a": {"url": f"http://{authority}{end}"}}}

    read = parse_config(json.dumps(file).encode(), "/p/config.json")

    assert VALIDATOR.is_valid(file) is not isinstance(read, ConfigProblem)


@pytest.mark.parametrize("number", [64, 65, 256, 257])
@pytest.mark.parametrize("table", ["commands", "servers", "args", "env", "headers"])
def test_the_schema_and_the_parser_agree_about_limits(table: str, number: int) -> None:
    names = [f"A{one}" for one in range(number)]
    fields: dict[str, dict[str, object]] = {
        "commands": {"commands": dict.fromkeys(names, "x")},
        "servers": {"servers": {name: {"command": "x"} for name in names}},
        "args": {"servers": {"a": {"command": "x", "args": names}}},
        "env": {"servers": {"a": {"command": "x", "env": dict.fromkeys(names, "x")}}},
        "headers": {"servers": {"a": {"url": "http://a/", "headers": dict.fromkeys(names, "x")}}},
    }
    file = {"version": "1.0", "project": {"name": "x"}, **fields[table]}

    read = parse_config(json.dumps(file).encode(), "/p/config.json")

    assert isinstance(read, ConfigProblem) is (number > (64 if table == "servers" else 256))
    assert VALIDATOR.is_valid(file) is not isinstance(read, ConfigProblem)


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

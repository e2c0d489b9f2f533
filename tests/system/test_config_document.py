"""What `docs/config.md` says is so: its tables are the fields and limits, and its examples are configs."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from workroot.cli.program import program
from workroot.core.projects import CONFIG_NAMES, ProjectConfig
from workroot.project_config import MAX_CONFIG_BYTES, parse_config
from workroot.project_config.fields import MAX_ENTRIES, MAX_SERVERS, ConfigFile, ProjectTable, ServerTable
from workroot.project_config.schema import shipped_schema
from workroot.project_config.text import MAX_DEPTH, MAX_LINE_BYTES

ROOT = Path(__file__).parents[2]
TOKENS = MarkdownIt("commonmark").enable("table").parse((ROOT / "docs/config.md").read_text("utf-8"))
TEXT = (ROOT / "docs/config.md").read_text("utf-8")

TYPES = {
    "string": {"type": "string"},
    "UUID": {"type": "string"},
    "string or TOML time": {"type": "string"},
    "true or false": {"type": "boolean"},
    "list of strings": {"type": "array"},
    "table: name = string": {"type": "object"},
    "table: name = server": {"type": "object"},
}


@dataclass(frozen=True)
class Example:
    """A fenced block, and the heading above it."""

    kind: str
    section: str
    text: str


def examples() -> list[Example]:
    found, section = [], ""
    for position, token in enumerate(TOKENS):
        if token.type == "heading_open":
            section = TOKENS[position + 1].content
        elif token.type == "fence":
            found.append(Example(token.info, section, token.content))
    return found


def table(section: str) -> list[list[str]]:
    """Return the cells of the only table below a heading, without its own headings."""
    below = section_tokens(section)
    rows: list[list[str]] = []
    for position, token in enumerate(below):
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "td_open":
            rows[-1].append(below[position + 1].content)
    return [row for row in rows if row]


def section_tokens(section: str) -> list[Token]:
    titles = [position for position, token in enumerate(TOKENS) if token.type == "heading_open"]
    (start,) = [position for position in titles if TOKENS[position + 1].content == section]
    return TOKENS[start : next((position for position in titles if position > start), len(TOKENS))]


def items(section: str) -> list[str]:
    below = section_tokens(section)
    return [below[position + 2].content for position, token in enumerate(below) if token.type == "list_item_open"]


def fields_of(table_: type[ConfigFile | ProjectTable | ServerTable], prefix: str = "") -> dict[str, tuple[str, str]]:
    """Return of each field the type as JSON Schema names it, and the default as the page writes it."""
    schema = json.loads(shipped_schema())
    properties = (schema["$defs"].get(table_.__name__) or schema)["properties"]
    found: dict[str, tuple[str, str]] = {}
    for name, field in table_.model_fields.items():
        shown = field.alias or name
        if shown == "project":
            found |= fields_of(ProjectTable, "project.")
            continue
        said = properties[shown]
        (kind,) = [one["type"] for one in said.get("anyOf", [said]) if one["type"] != "null"]
        default = (
            "required"
            if field.is_required()
            else {None: "none", True: "`true`", False: "`false`"}.get(
                field.default if not isinstance(field.default, list | dict) else None, "?"
            )
        )
        if field.default in ([], {}):
            default = "empty"
        found[prefix + shown] = (kind, default)
    return found


@pytest.mark.parametrize(("section", "fields"), [("Fields", ConfigFile), ("Servers", ServerTable)])
def test_the_table_lists_every_field_with_its_type_and_default(
    section: str, fields: type[ConfigFile | ServerTable]
) -> None:
    said = {name.strip("`"): (TYPES[kind]["type"], default) for name, kind, default, _ in table(section)}

    assert said == fields_of(fields)
    assert list(said) == list(fields_of(fields))  # in the same order


def test_each_meaning_ends_a_cell_and_is_not_empty() -> None:
    for row in table("Fields") + table("Servers"):
        assert len(row[3]) > 10


def test_the_names_are_those_that_are_looked_for_in_their_order() -> None:
    assert [item.strip("`") for item in items("Where it is looked for")] == list(CONFIG_NAMES)


def test_the_limits_are_those_of_the_parser() -> None:
    assert dict(table("Limits")) == {
        "the file": f"{MAX_CONFIG_BYTES // 1024} KiB",
        "a line of TOML": f"{MAX_LINE_BYTES // 1024} KiB",
        "parts of a dotted key": str(MAX_DEPTH),
        "lists and tables within each other": str(MAX_DEPTH),
        "commands": str(MAX_ENTRIES),
        "servers": str(MAX_SERVERS),
        "`args`, `env` and `headers`, each of one server": str(MAX_ENTRIES),
    }


@pytest.mark.parametrize("example", [one for one in examples() if one.kind != "sh"], ids=lambda one: one.section)
def test_every_example_is_a_config_in_which_nothing_is_ignored(example: Example) -> None:
    config = parse_config(example.text.encode(), f"/p/config.{example.kind}")

    assert isinstance(config, ProjectConfig), config
    assert config.name == "Shop"
    assert config.ignored == ()


def test_the_example_of_switches_switches_and_that_of_servers_has_servers() -> None:
    by_section = {one.section: parse_config(one.text.encode(), f"/p/c.{one.kind}") for one in examples()}
    switches, servers = by_section["Fields"], by_section["Servers"]

    assert isinstance(switches, ProjectConfig)
    assert switches.strict_mode
    assert [name for name, _ in switches.commands] == ["test", "lint"]
    assert isinstance(servers, ProjectConfig)
    assert [(one.name, one.enabled) for one in servers.servers] == [("database", True), ("docs", False)]


NO_EFFECT = items("What a config cannot do")


@pytest.mark.parametrize("key", [*re.findall(r"`(\w+)`", NO_EFFECT[0] + NO_EFFECT[1]), "auto_swich"])
def test_what_is_said_to_be_reported_is(key: str) -> None:
    assert f"`{key}`" in "".join(NO_EFFECT)

    config = parse_config(f'version = "1.0"\n{key} = 1\nproject.name = "x"\n'.encode(), "/p/c.toml")

    assert isinstance(config, ProjectConfig), config
    assert [report.partition(" ")[0] for report in config.ignored] == [key]


def test_what_is_said_of_misplaced_keys_is_so() -> None:
    config = parse_config(b'version = "1.0"\nid = "x"\n[project]\nname = "x"\nstrict_mode = true\n', "/p/config.toml")

    assert isinstance(config, ProjectConfig)
    assert [report.partition(" ")[0] for report in config.ignored] == ["id", "project.strict_mode"]


def test_the_options_of_init_are_there() -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", TEXT))
    there = {option for parameter in program.commands["init"].params for option in parameter.opts if "--" in option}

    assert named <= there | {"--read-only"}
    assert there - {"--json"} <= named


def test_the_schema_is_where_it_is_said_to_be() -> None:
    import workroot

    (path,) = re.findall(r"`(workroot/[\w./-]+\.schema\.json)`", TEXT)
    assert (Path(workroot.__file__).parents[1] / path).read_text("utf-8") == shipped_schema()

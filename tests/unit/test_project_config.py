"""What config files say, and how they are refused: by line and field, without a word of their content."""

from __future__ import annotations

import hashlib
import json
import re
import time
import unicodedata
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workroot.core.projects import ConfigProblem, ProjectConfig, ServerDeclaration
from workroot.project_config.forms import VISIBLE
from workroot.project_config.parsing import MAX_CONFIG_BYTES, USER_ONLY, parse_config
from workroot.settings import Settings

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


EVERY_FIELD = f'''\
"$schema" = "workroot.schema.json"
version = "1.0"
description = "what it is"
created_at = 2026-01-02T03:04:05Z
updated_at = "2026-01-03"
auto_switch = false
strict_mode = true
dry_run = true
instructions = """
Use tabs.
"""

[project]
name = "Ada's"
id = "{SOME_ID.upper()}"

[commands]
test = "make test"
"lint.all" = "make lint"

[servers.db]
command = "db-mcp"
args = ["--read-only", ""]
env = {{ DB_URL = "sqlite:///x", EMPTY = "" }}

[servers.docs]
url = "https://docs.example/mcp"
headers = {{ X-Team = "shop" }}
enabled = false
'''


@pytest.mark.row("S12")
def test_a_config_with_every_field_is_read() -> None:
    config = parsed(EVERY_FIELD)

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
        instructions="Use tabs.\n",
        commands=(("test", "make test"), ("lint.all", "make lint")),
        servers=(
            ServerDeclaration(
                name="db",
                command="db-mcp",
                args=("--read-only", ""),
                environment=(("DB_URL", "sqlite:///x"), ("EMPTY", "")),
            ),
            ServerDeclaration(
                name="docs", url="https://docs.example/mcp", headers=(("X-Team", "shop"),), enabled=False
            ),
        ),
        digest=hashlib.sha256(EVERY_FIELD.encode()).hexdigest(),
    )
    assert config.project_id == SOME_ID


def test_the_digest_is_that_of_the_bytes() -> None:
    content = b'version = "1.0"\n[project]\nname = "x"\n'

    assert parsed(content).digest == hashlib.sha256(content).hexdigest()
    assert parsed(b"\xef\xbb\xbf" + content).digest != parsed(content).digest


@pytest.mark.parametrize("instructions", ["", " \n\t"])
def test_blank_instructions_are_none(instructions: str) -> None:
    content = json.dumps({"version": "1.0", "project": {"name": "x"}, "instructions": instructions})

    assert parsed(content, JSON).instructions is None


def test_the_earlier_systems_json_has_the_same_fields() -> None:
    content = json.dumps({"version": "1.0", "project": {"name": "x", "id": SOME_ID}, "strict_mode": True})

    config = parsed(content, JSON)

    assert (config.name, config.project_id, config.strict_mode) == ("x", SOME_ID, True)
    assert (config.auto_switch, config.dry_run, config.description) == (True, False, None)


def test_what_a_config_says_to_others_is_passed_over() -> None:
    config = parsed(
        'version = "1.0"\nother = 1\n[project]\nname = "x"\ncolour = "red"\nversion = "3"\n[tool.x]\na = 1\n'
    )

    assert (config.name, config.version, config.ignored) == ("x", "1.0", ())


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
        ('version = "1.0"\n[project]\nname = " \\t\\u200b"\n', 3, "project.name", "must have a visible character"),
        ('version = "1.0"\ninstructions = ["a"]\n[project]\nname = "x"\n', 2, "instructions", "must be a string"),
        ('"$schema" = 5\nversion = "1.0"\n[project]\nname = "x"\n', 1, "$schema", "must be a string"),
    ],
)
@pytest.mark.row("B6", "S12")
def test_a_field_that_is_not_valid_is_named_with_its_line(
    content: str, line: int | None, field: str, problem: str
) -> None:
    refusal = refused(content)

    assert (refusal.line, refusal.field) == (line, field)
    assert refusal.problem.startswith(problem)


NAMED = 'version = "1.0"\nproject.name = "x"\n'


@pytest.mark.parametrize(
    ("content", "line", "field", "problem"),
    [
        ('commands = "make"', 3, "commands", "must be a table"),
        ("[commands]\ntest = 5", 4, "commands.test", "must be a string"),
        ('[commands]\ntest = ""', 4, "commands.test", "must not be empty"),
        ('[commands]\ntest = " "', 4, "commands.test", "must have a visible character"),
        ('[commands]\ntest = "a\\u0000b"', 4, "commands.test", "must not hold NUL"),
        ('[commands]\nok = "a"\n"hunter2 " = "a"', 5, "commands", "has a name that is not 1 to 64 of"),
        ('[commands]\n"" = "a"', 4, "commands", "has a name that is not 1 to 64 of"),
        ('[commands]\n"-x" = "a"', 4, "commands", "has a name that is not 1 to 64 of"),
        ('[commands]\n"a\\n" = "a"', 3, "commands", "has a name that is not 1 to 64 of"),
        (f'[commands]\n{"a" * 65} = "a"', 4, "commands", "has a name that is not 1 to 64 of"),
        ('servers = ["a"]', 3, "servers", "must be a table"),
        ('[servers]\ndb = "a"', 4, "servers.db", "must be a table"),
        ("[servers.db]\nenabled = true", 3, "servers.db", "must have either command or url"),
        ('[servers.db]\ncommand = "a"\nurl = "http://a/"', 3, "servers.db", "must have either command or url"),
        ('[servers.db]\nurl = "http://a/"\nargs = ["a"]', 3, "servers.db", "has a url, to which args and env do not"),
        ('[servers.db]\nurl = "http://a/"\nenv.a = "b"', 3, "servers.db", "has a url, to which args and env do not"),
        ('[servers.db]\ncommand = "a"\nheaders.a = "b"', 3, "servers.db", "has a command, to which headers do not"),
        ('[servers.db]\ncommand = ["a"]', 4, "servers.db.command", "must be a string"),
        ('[servers.db]\ncommand = ""', 4, "servers.db.command", "must not be empty"),
        ('[servers.db]\ncommand = "a"\nargs = "b"', 5, "servers.db.args", "must be a list"),
        ('[servers.db]\ncommand = "a"\nargs = [\n"b",\n5]', 5, "servers.db.args.1", "must be a string"),
        ('[servers.db]\ncommand = "a"\nargs = ["\\u0000"]', 5, "servers.db.args.0", "must not hold NUL"),
        ('[servers.db]\ncommand = "a"\n[servers.db.env]\nA = 1', 6, "servers.db.env.A", "must be a string"),
        ('[servers.db]\ncommand = "a"\nenv = { "A=B" = "1" }', 5, "servers.db.env", "has a variable whose name"),
        ('[servers.db]\nurl = "file:///hunter2"', 4, "servers.db.url", "must be an http:// or https:// URL"),
        ('[servers.db]\nurl = "http://a/ b"', 4, "servers.db.url", "must be an http:// or https:// URL"),
        ('[servers.db]\nurl = "http:///hunter2"', 4, "servers.db.url", "must be a URL with a host"),
        ('[servers.db]\nurl = "http://a:hunter2/"', 4, "servers.db.url", "must be a URL with a host"),
        ('[servers.db]\nurl = "http://[hunter2/"', 4, "servers.db.url", "must be a URL with a host"),
        ('[servers.db]\nurl = "http://a/"\nheaders."A B" = "c"', 5, "servers.db.headers", "has a header whose name"),
        ('[servers.db]\nurl = "http://a/"\nheaders.A = "b\\r\\nC: d"', 5, "servers.db.headers.A", "must not hold line"),
        ('[servers.db]\ncommand = "a"\nenabled = "yes"', 5, "servers.db.enabled", "must be true or false"),
        ('[servers."d b"]\ncommand = "a"', 3, "servers", "has a name that is not 1 to 64 of"),
    ],
)
def test_what_a_project_wants_to_be_run_is_checked(content: str, line: int, field: str, problem: str) -> None:
    refusal = refused(NAMED + content + "\n")

    assert (refusal.line, refusal.field) == (line, field)
    assert refusal.problem.startswith(problem)


def entries(table: str, number: int, entry: str) -> str:
    return f"{table}\n" + "".join(f"{entry.format(one)}\n" for one in range(number))


@pytest.mark.parametrize(
    ("table", "entry", "field", "limit"),
    [
        ("[commands]", 'c{} = "a"', "commands", 256),
        ("[servers]", 's{}.command = "a"', "servers", 64),
        ('servers.s.command = "a"\n[servers.s.env]', 'V{} = "a"', "servers.s.env", 256),
        ('servers.s.url = "http://a/"\n[servers.s.headers]', 'H{} = "a"', "servers.s.headers", 256),
    ],
)
def test_a_table_with_more_entries_than_it_may_have_is_refused(table: str, entry: str, field: str, limit: int) -> None:
    parsed(NAMED + entries(table, limit, entry))
    refusal = refused(NAMED + entries(table, limit + 1, entry))

    assert (refusal.field, refusal.problem) == (field, f"must have at most {limit} entries")
    assert refusal.line in (3, 4)


def test_a_program_with_more_arguments_than_it_may_have_is_refused() -> None:
    before = NAMED + '[servers.s]\ncommand = "a"\nargs = '

    assert len(parsed(f"{before}{['a'] * 256}").servers[0].args) == 256
    refusal = refused(f"{before}{['a'] * 257}")

    assert (refusal.line, refusal.field) == (5, "servers.s.args")
    assert refusal.problem == "must have at most 256 entries"


@pytest.mark.parametrize(
    "authority",
    [
        "h",
        "h:",
        "h:0080",
        "h:65535",
        "a_b.example",
        "u:p@h:1",
        "127.0.0.1",
        "[::1]",
        "[::]:8",
        "[fe80::1%25eth0]",
        "[1:2:3:4:5:6:7:8]",
        "[::ffff:1.2.3.4]",
        "[2001:db8::1:0]",
    ],
)
@pytest.mark.parametrize("rest", ["", "/", "/mcp?a=b#c", "?a"])
def test_a_url_with_a_host_is_read(authority: str, rest: str) -> None:
    url = f"http://{authority}{rest}"

    assert parsed(f'{NAMED}servers.s.url = "{url}"').servers[0].url == url
    assert urlsplit(url).hostname
    assert urlsplit(url).port != 0


@pytest.mark.parametrize(
    "authority",
    [
        "",
        ":80",
        "h:0",
        "h:000",
        "h:65536",
        "h:99999",
        "h:x",
        "[::1",
        "::1",
        "[::1::2]",
        "[1:2:3:4:5:6:7]",
        "[::g]",
        "[]",
        "[1.2.3.4]",
        "[::256.1.1.1]",
        "a@b@c",
        "u@",
        "a\\\\b",
        "<h>",
        "[::1]x",
        "h\\n",
    ],
)
def test_a_url_without_a_host_or_with_a_port_that_is_none_is_refused(authority: str) -> None:
    assert refused(f'{NAMED}servers.s.url = "http://{authority}"').problem.startswith("must be a")


@pytest.mark.parametrize(
    "character", [" ", "\u200b", "\u2800", "\u3164", "\ue000", "\ufeff", "\U000e0041", "\U000f0000"]
)
def test_a_text_of_invisible_characters_alone_is_refused(character: str) -> None:
    for fields in ({"project": {"name": character}}, {"project": {"name": "x"}, "commands": {"a": character}}):
        assert refused(json.dumps({"version": "1.0", **fields}), JSON).problem == "must have a visible character"
        parsed(json.dumps({"version": "1.0", **fields}).replace(json.dumps(character)[:-1], '"x'), JSON)


def test_the_invisible_characters_are_those_of_unicode() -> None:
    pairs = ((chr(code), unicodedata.category(chr(code))) for code in range(0x110000))
    told = {"Cc": True, "Zs": True, "Zl": True, "Zp": True, "Co": True}
    blank = {*map(chr, (0x034F, 0x115F, 0x1160, 0x2800, 0x3164, 0xFFA0)), *"\u17b4\u17b5"}
    for character, category in pairs:
        invisible = re.search(VISIBLE, character) is None
        if category in told:
            assert invisible, ascii(character)
        elif category[0] in "LNPS" and character not in blank:
            assert not invisible, ascii(character)


def test_the_settings_that_only_the_user_has_are_those_of_settings() -> None:
    assert set(Settings.model_fields) == USER_ONLY


@pytest.mark.parametrize(
    "key",
    [
        *sorted(USER_ONLY), "Trusted-Directories", "trust", "trusted", "auto_approve", "autoApprove", "allow",
        "allowedCommands", "deny", "permissions",
    ],
)  # fmt: skip
@pytest.mark.parametrize("table", ["", "project."])
def test_what_only_the_user_may_say_is_reported_and_has_no_effect(key: str, table: str) -> None:
    config = parsed(f'{NAMED}{table}{key} = ["/"]\n')

    assert config.ignored == (f"{table}{key} (only your own settings can say this)",)
    assert config == replace(parsed(NAMED), ignored=config.ignored, digest=config.digest)


@pytest.mark.parametrize(
    ("line", "report"),
    [
        ("auto_swich = false", "auto_swich (did you mean auto_switch?)"),
        ("strictMode = true", "strictMode (did you mean strict_mode?)"),
        ("DRY-RUN = true", "DRY-RUN (did you mean dry_run?)"),
        ("server.db = {}", "server (did you mean servers?)"),
        ("project.ID = 'x'", "project.ID (did you mean id?)"),
        ("project.strict_mode = true", "project.strict_mode (belongs outside of project)"),
        ("project.commands.test = 'x'", "project.commands (belongs outside of project)"),
        (f"id = '{SOME_ID}'", "id (belongs into project)"),
        ('"strict\\u001b_mode" = true', "strict\\x1b_mode (did you mean strict_mode?)"),
    ],
)
def test_a_key_that_somebody_may_count_on_is_reported(line: str, report: str) -> None:
    config = parsed(f"{NAMED}{line}\n")

    assert config.ignored == (report,)
    assert (config.auto_switch, config.strict_mode, config.dry_run) == (True, False, False)
    assert (config.project_id, config.commands, config.servers) == (None, (), ())


@pytest.mark.parametrize(
    ("key", "meant"), [("enabeld = false", "; did you mean enabled?"), ("cwd = '/'", ""), ("trust = true", "")]
)
def test_a_server_with_an_unknown_key_is_left_out_and_reported(key: str, meant: str) -> None:
    config = parsed(f'{NAMED}[servers.db]\ncommand = "a"\n{key}\n[servers.other]\ncommand = "b"\n')

    assert [server.name for server in config.servers] == ["other"]
    assert config.ignored == (f"servers.db (left out, for its unknown key {key.partition(' ')[0]}{meant})",)


def test_a_server_with_an_unknown_key_still_has_to_be_valid() -> None:
    assert refused(f'{NAMED}[servers.db]\ncommand = 5\ncwd = "/"\n').field == "servers.db.command"


def test_reports_do_not_go_on_for_ever() -> None:
    slips = "".join(f"strict_mode{number:03} = true\n" for number in range(300))
    servers = "".join(f'[servers.s{number}]\ncommand = "a"\nenabeld = false\n' for number in range(64))

    config = parsed(NAMED + slips + servers)

    assert len(config.ignored) == 20
    assert config.ignored[-1] == "and 145 more"  # 100 slips are looked at, and every server
    assert config.servers == ()


def test_a_key_as_long_as_a_line_is_shown_cut() -> None:
    assert len(parsed(f"{NAMED}{'trust-' * 500} = 1\n").ignored[0]) < 120


@pytest.mark.parametrize(
    ("content", "line", "field", "problem"),
    [
        ('{\n "version": "1.0",\n "project": {\n  "name": 5}}', 4, "project.name", "must be a string"),
        ('{"version": "1.0", "project": {"name": "\\ud800"}}', 1, "project.name", "must be valid Unicode"),
        ('{\n "version": "1.0",\n "project": {"name": "x"},\n "dry_run": null}', 4, "dry_run", "must be true or false"),
        ("[]", None, None, "must be a table"),
        ('{\n "version" "hunter2"}', 2, None, "is not valid JSON: expecting ':' delimiter"),
        ('{"a": NaN}', None, None, "is not valid JSON"),
        (
            '{\n "version": "1.0",\n "project": {"name": "x"},\n "version": "1.0"}',
            4,
            None,
            "has a key twice in one table",
        ),
        ('{"project": {"name": "x",\n "name": "y"}}', 2, None, "has a key twice in one table"),
        ('{"a": {"b": 1, "b": 2},\n "c": {"b": 3}}', None, None, "has a key twice in one table"),
        ("[" * 17, 1, None, "is nested deeper than 16 levels"),
        ("\n" + '{"a":' * 60_00, 2, None, "is nested deeper than 16 levels"),
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
        ("hunter2 = 1\nhunter2 = 2\n", 2, "has a key twice in one table"),
        ("[hunter2]\n[hunter2]\n", 2, "has a key twice in one table"),
        ("a = {hunter2 = 1,hunter2 = 2}\n", 1, "has a key twice in one table"),
        ('version = "1.0"\nname = """hunter2\n', 3, "is not valid TOML: unterminated string"),
        ('a = 1\n<<<<<<< HEAD\nname = "hunter2"\n=======\n', 2, "holds the marks of an unfinished merge"),
        ("\na = " + "[" * 17, 2, "is nested deeper than 16 levels"),
        ("a = " + "[\n" * 17 + "]" * 17, 17, "is nested deeper than 16 levels"),
        ("a = " + "{a = " * 800, 1, "is nested deeper than 16 levels"),
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
    ("content", "path"),
    [
        ("[" * 16 + "]" * 16, JSON),
        ('{"a": "' + "[" * 40 + '", "b": "\\\\", "c": "\\"' + "{" * 40 + '"}', JSON),
        ("a = " + "[" * 16 + "]" * 16 + "\nb = [" + "[], " * 40 + "]", TOML),
        ("a = '" + "[" * 40 + "' # " + "{" * 40 + '\nb = """' + "[\n" * 40 + '"""', TOML),
    ],
)
def test_brackets_that_are_not_nested_too_deep_are_read(content: str, path: str) -> None:
    assert refused(content, path).problem in ("is missing", "must be a table")  # of the version, or as a whole


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

"""What a parser of configs is given is measured before: the work that it makes is bounded by that, not by luck."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workroot.project_config.text import MAX_DEPTH, MAX_LINE_BYTES, UnusableTextError, line_of, parse_text

PIECES = st.lists(
    st.sampled_from(list("a0'\"\\. \n=#,[]{}:é\0\t"))
    | st.sampled_from(
        ['"""', "'''", "\r\n", "[" * 17, "{" * 17, "a." * 16, "[a]", "true", "x" * 4097, "<<<<<<< HEAD\n"]
    ),
    max_size=40,
).map("".join)


class Parser:
    """Stands for a library's parser: keeps what it was given, and what of it was parsed."""

    def __init__(self, parse: Callable[..., object]) -> None:
        self.given: list[str] = []
        self._parse = parse

    def __call__(self, text: str, **options: object) -> object:
        self.given.append(text)
        return self._parse(text, **options)


@given(PIECES, st.booleans())
@example("a = " + "[" * 16 + "]" * 16, True)
def test_any_text_is_parsed_or_refused_at_one_of_its_lines(text: str, is_toml: bool) -> None:
    line = None
    try:
        parse_text(text, is_toml=is_toml)
    except UnusableTextError as error:
        line = error.line
    assert line is None or 1 <= line <= text.count("\n") + 1


def deepest(value: object) -> int:
    """Return how many lists and tables lie within each other, without counting brackets."""
    if isinstance(value, dict):
        return 1 + max((deepest(one) for one in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((deepest(one) for one in value), default=0)
    return 0


LISTS = st.recursive(st.sampled_from(["[", "] '\""]), lambda inner: st.lists(inner, max_size=1), max_leaves=40)


@given(st.integers(1, 40).flatmap(lambda depth: st.tuples(st.just(depth), LISTS)))
def test_json_is_read_exactly_as_deep_as_is_allowed(case: tuple[int, object]) -> None:
    depth, value = case
    for _ in range(depth):
        value = {"k]": value}
    text = json.dumps(value)

    if deepest(value) <= MAX_DEPTH:
        assert parse_text(text, is_toml=False) == value
    else:
        with pytest.raises(UnusableTextError, match="is nested deeper than 16 levels"):
            parse_text(text, is_toml=False)


@pytest.mark.parametrize(
    "text",
    [
        "a." * 1000 + "b = 1",
        "x = 1\n" + "'a'.\"b\" . " * 8 + "c.d = 1",
        "[" + "a." * 16 + "b]",
        "a = " + "[" * 17,
        "a = " + "{a=" * 17,
        "a = [\n" * 17,
        "a = '''\n'''\nb = '" + "x" * MAX_LINE_BYTES + "'",
    ],
)
def test_the_toml_parser_never_sees_what_would_stall_it(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parser = Parser(tomllib.loads)
    monkeypatch.setattr(tomllib, "loads", parser)

    with pytest.raises(UnusableTextError):
        parse_text(text, is_toml=True)
    assert parser.given == []

    parse_text("a = 1", is_toml=True)
    assert parser.given == ["a = 1"]


def test_the_json_parser_never_sees_what_would_stall_it(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = Parser(json.loads)
    monkeypatch.setattr(json, "loads", parser)

    with pytest.raises(UnusableTextError):
        parse_text('{"a":' * 17, is_toml=False)
    assert parser.given == []

    parse_text('{"a": 1}', is_toml=False)
    assert parser.given == ['{"a": 1}']


@pytest.mark.parametrize("error", [RecursionError(), ValueError("hunter2"), tomllib.TOMLDecodeError("hunter2")])
def test_a_parser_that_fails_in_a_way_of_its_own_says_nothing_of_the_text(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_text: str, **_options: object) -> object:
        raise error

    monkeypatch.setattr(tomllib, "loads", fail)
    monkeypatch.setattr(json, "loads", fail)

    for is_toml, problem in ((True, "is not valid TOML"), (False, "is not valid JSON")):
        with pytest.raises(UnusableTextError) as raised:
            parse_text("", is_toml=is_toml)
        assert (raised.value.problem, raised.value.line) == (problem, None)


@pytest.mark.parametrize(
    ("keys", "line"), [(("a",), 2), (("a", "b"), 4), (("a", "b", 0), 4), (("a", "(b"), 2), ((), None)]
)
def test_a_field_is_looked_for_below_its_table(keys: tuple[str | int, ...], line: int | None) -> None:
    assert line_of(keys, "b = 1\n[a]\n# (\n  b = 2\n", is_toml=True) == line
    assert line_of(keys, '{"b": 1,\n"a": {\n\n  "b": [2]}}', is_toml=False) == line


def test_the_place_of_a_key_with_a_meaning_in_patterns_is_found() -> None:
    assert line_of(["a", ".*("], '[a]\nx = 1\n".*(" = 2\n', is_toml=True) == 3

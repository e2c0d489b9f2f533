"""The documents as data: fenced blocks, tables, steps and inline code, and which of them a test answers for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]

_Test = TypeVar("_Test", bound=Callable[..., Any])


@dataclass(frozen=True)
class Block:
    """A fenced block or a table.

    Attributes:
        kind: the language of a fenced block; `code` if it is only indented; `table` of a table.
        section: the heading above it.
        number: 1 for the first of its kind in the section.
        text: a fenced block's content.
        rows: a table's cells without its headings, as Markdown.
    """

    kind: str
    section: str
    number: int
    text: str = ""
    rows: tuple[tuple[str, ...], ...] = ()

    def __str__(self) -> str:
        return f"{self.section}: {self.kind} {self.number}"


README = "README.md"

_claimed: set[Block] = set()


def shown(kind: str, *sections: str, number: int = 1) -> Callable[[_Test], _Test]:
    """Give a test the README's block, of each section, as its argument `block`, and note that a test answers for it."""
    found = [find(kind, section, number) for section in sections]
    _claimed.update(found)
    return pytest.mark.parametrize("block", [pytest.param(block, id=str(block).replace(" ", "-")) for block in found])


def unclaimed() -> list[str]:
    """Return the blocks that no test answers for."""
    return [str(block) for block in blocks() if block not in _claimed]


def find(kind: str, section: str, number: int = 1, *, document: str = README) -> Block:
    """Return a block of a document."""
    for block in blocks(document):
        if (block.kind, block.section, block.number) == (kind, section, number):
            return block
    raise LookupError(f"the section {section!r} of {document} has no {kind} {number}")


@cache
def blocks(document: str = README) -> tuple[Block, ...]:
    """Return a document's fenced blocks and tables in their order."""
    return tuple(_blocks(_tokens(ROOT / document)))


@cache
def steps(document: str) -> tuple[tuple[str, int], ...]:
    """Return the steps of a document's procedures, each with the heading above it and its number in the list."""
    found, section, tokens = list[tuple[str, int]](), "", _tokens(ROOT / document)
    for position, token in enumerate(tokens):
        if token.type == "heading_open":
            section = tokens[position + 1].content
        elif token.type == "list_item_open" and token.level == 1 and token.markup == ".":
            found.append((section, int(token.info)))
    return tuple(found)


@cache
def headings(document: str) -> tuple[str, ...]:
    """Return a document's headings."""
    tokens = _tokens(ROOT / document)
    return tuple(tokens[position + 1].content for position, each in enumerate(tokens) if each.type == "heading_open")


@cache
def inline_code(document: str = README) -> tuple[str, ...]:
    """Return what stands between backticks in the text and tables of a document."""
    children = [child for token in _tokens(ROOT / document) for child in token.children or ()]
    return tuple(child.content for child in children if child.type == "code_inline")


@cache
def links(document: str = README) -> tuple[str, ...]:
    """Return where a document's links lead."""
    children = [child for token in _tokens(ROOT / document) for child in token.children or ()]
    return tuple(str(child.attrs["href"]) for child in children if child.type == "link_open")


def codes(cell: str) -> list[str]:
    """Return what stands between backticks in a table's cell."""
    return re.findall(r"`([^`]+)`", cell)


def code(cell: str) -> str:
    """Return a cell that is nothing but code."""
    (only,) = codes(cell)
    assert cell == f"`{only}`"
    return only


def section_text(section: str) -> str:
    """Return the Markdown between a heading and the next one."""
    _, _, rest = (ROOT / README).read_text("utf-8").partition(f"# {section}\n")
    assert rest, f"the README has no section {section!r}"
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


@cache
def _tokens(path: Path) -> tuple[Token, ...]:
    return tuple(MarkdownIt("commonmark").enable("table").parse(path.read_text("utf-8")))


def _blocks(tokens: tuple[Token, ...]) -> Iterator[Block]:
    section, numbers = "", Counter[tuple[str, str]]()

    def number(kind: str) -> int:
        numbers[section, kind] += 1
        return numbers[section, kind]

    for position, token in enumerate(tokens):
        if token.type == "heading_open":
            section = tokens[position + 1].content
        elif token.type in ("fence", "code_block"):
            kind = token.info or "code"
            yield Block(kind, section, number(kind), text=token.content)
        elif token.type == "table_open":
            yield Block("table", section, number("table"), rows=_rows(tokens, position))


def _rows(tokens: tuple[Token, ...], start: int) -> tuple[tuple[str, ...], ...]:
    rows: list[list[str]] = []
    for position in range(start, len(tokens)):
        match tokens[position].type:
            case "table_close":
                break
            case "tr_open":
                rows.append([])
            case "td_open":
                rows[-1].append(tokens[position + 1].content)
    return tuple(tuple(row) for row in rows if row)

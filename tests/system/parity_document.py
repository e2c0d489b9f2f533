"""`docs/parity.md` as data: which test shows what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from readme_document import blocks

DOCUMENT = "docs/parity.md"
ROOT = Path(__file__).parents[2]

_TEST = re.compile(r"`(tests/[\w/]+\.py::test_\w+)`")
_LATER = {"P4": "Redis"}  # rows that others wait for, and what for


def rows_wanted() -> list[str]:
    """Return the rows of what the earlier systems offer, but for those that come later."""
    counts = {"S": 16, "C": 13, "P": 6, "X": 4, "G": 5, "K": 8, "M": 10}
    return [
        f"{kind}{number}"
        for kind, count in counts.items()
        for number in range(1, count + 1)
        if f"{kind}{number}" not in _LATER
    ]


def defects_wanted() -> list[str]:
    """Return the defects of the earlier systems that sessions could have, too."""
    return [f"B{number}" for number in range(1, 31)]


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        name: `C5`, `B15`.
        says: the cells between the name and the tests.
        tests: by file and name.
    """

    name: str
    says: tuple[str, ...]
    tests: tuple[str, ...]


def rows() -> Iterator[Row]:
    """Yield the rows of all tables."""
    for block in blocks(DOCUMENT):
        if block.kind == "table":
            for name, *says, tests in block.rows:
                yield Row(name, tuple(says), tuple(_TEST.findall(tests)))

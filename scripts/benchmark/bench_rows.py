"""What a benchmark found, as rows: the table, the JSON and the plot all come from these.

A row is one measured figure beside another that was measured in turns with it, in the same run.
Absolute times say little on a shared machine; the median of the rounds' ratios says more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Literal

__all__ = ["OURS", "Report", "Row", "row_of", "series_of"]

OURS = "workroot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure, and what it stands beside.

    Attributes:
        section: the key of its section, as `scripts/bench --only` takes it.
        name: what was measured.
        load: under which load, such as `100 callers`; rows that differ in it alone are one series of the plot.
        of: whose figure it is; that of another system is there to compare with.
        value: what was measured, in *unit*; the median of the rounds.
        beside: the same of what it stands beside; None if it stands alone.
        ratio: value by beside, the median of the rounds' ratios; None if it stands alone.
        aim: what *ratio* (or *value*, see *aim_is_of*) should reach, or stay within; None if nothing is promised.
        is_higher_better: whether the aim is a least one (a rate) or a most one (a time).
        note: what a reader should know besides, such as a percentile.
    """

    section: str
    name: str
    load: str = ""
    of: str = OURS
    value: float
    unit: str
    beside: float | None = None
    beside_name: str = ""
    ratio: float | None = None
    aim: float | None = None
    aim_is_of: Literal["ratio", "value"] = "ratio"
    is_higher_better: bool = False
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the aim is reached; None if there is none."""
        reached = self.ratio if self.aim_is_of == "ratio" else self.value
        if self.aim is None or reached is None:
            return None
        return reached >= self.aim if self.is_higher_better else reached <= self.aim


def row_of(
    section: str,
    name: str,
    values: Sequence[float],
    beside: Sequence[float] | None = None,
    *,
    unit: str,
    load: str = "",
    of: str = OURS,
    beside_name: str = "",
    aim: float | None = None,
    aim_is_of: Literal["ratio", "value"] = "ratio",
    is_higher_better: bool = False,
    note: str = "",
) -> Row:
    """Return the row of several rounds.

    Args:
        values: one of each round.
        beside: as many, each measured right before or after its counterpart, and their ratio is taken round by
            round; if they are of another number, their medians are compared.
    """
    ratio = None
    if beside:
        pairs = zip(values, beside, strict=False)
        same = len(values) == len(beside)
        ratio = median(one / other for one, other in pairs) if same else median(values) / median(beside)
    return Row(
        section=section,
        name=name,
        load=load,
        of=of,
        value=median(values),
        unit=unit,
        beside=median(beside) if beside else None,
        beside_name=beside_name,
        ratio=ratio,
        aim=aim,
        aim_is_of=aim_is_of,
        is_higher_better=is_higher_better,
        note=note,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run.

    Attributes:
        machine: what it ran on, name by name.
        versions: of which programs and libraries.
        rows: what was found, in the order of the table.
        missing: what could not be measured, and why.
    """

    machine: Mapping[str, str]
    versions: Mapping[str, str]
    rows: tuple[Row, ...]
    missing: Mapping[str, str] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Report:
        """Read what `write` wrote."""
        kept = json.loads(path.read_text())
        return cls(**{**kept, "rows": tuple(Row(**row) for row in kept["rows"])})

    def section(self, key: str) -> list[Row]:
        """Return the rows of one section."""
        return [row for row in self.rows if row.section == key]


def series_of(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return rows by their name, in the order of their first; each a series over loads."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.name, []).append(row)
    return found

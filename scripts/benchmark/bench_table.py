"""Prints what a benchmark found, section by section."""

from __future__ import annotations

import sys

from bench_rows import Report, Row, series_of
from rich.console import Console
from rich.table import Table

__all__ = ["TITLES", "print_report", "shown"]

TITLES = {
    "memory": "In memory",
    "durable": "Acknowledged on disk",
    "scale": "With many sessions",
    "wire": "Over the wire",
    "stdio": "Over stdio",
    "projects": "Finding projects",
    "neighbours": "Beside greedy neighbours",
    "idle": "With nothing to do",
}
"""What a section is called, by its key, in order."""


def print_report(report: Report) -> None:
    """Print the tables, and what they rest on."""
    console = Console(width=None if sys.stdout.isatty() else 150, highlight=False)
    for key in dict.fromkeys(row.section for row in report.rows):
        console.print(_table(TITLES.get(key, key), report.section(key)))
        console.print()
    for what, why in report.missing.items():
        console.print(f"not measured: {what}: {why}")
    console.print(", ".join(f"{name} {value}" for name, value in report.machine.items()))
    console.print(", ".join(f"{name} {value}" for name, value in report.versions.items()))


def _table(title: str, rows: list[Row]) -> Table:
    table = Table(title=title, title_justify="left")
    beside = list(dict.fromkeys(row.beside_name for row in rows if row.beside_name))
    other = f"beside {beside[0]}" if len(beside) == 1 else "beside"
    for column in ("what", "load", "measured", other, "ratio", "aim", "note"):
        table.add_column(column, justify="left" if column in ("what", "load", "note") else "right")
    for name, series in series_of(rows).items():
        said = ""
        for row in series:
            table.add_row(
                name if row is series[0] else "",
                row.load,
                f"{shown(row.value)} {row.unit}",
                _beside(row, is_named=len(beside) > 1),
                f"{row.ratio:.2f}" if row.ratio is not None else "",
                _aim(row),
                row.note if row.note != said else "",
            )
            said = row.note
    return table


def shown(value: float) -> str:
    """Return a figure with three digits that count, thousands apart."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _beside(row: Row, *, is_named: bool) -> str:
    if row.beside is None:
        return ""
    return f"{shown(row.beside)} {row.unit}" + (f" ({row.beside_name})" if is_named else "")


def _aim(row: Row) -> str:
    if row.aim is None:
        return ""
    aim = f"{'>=' if row.is_higher_better else '<='} {row.aim:,g}" + (
        f" {row.unit}" if row.aim_is_of == "value" else ""
    )
    return aim if row.is_met else f"[bold]{aim} missed[/bold]"

"""Draws what a benchmark found: ratios on a log axis, what was promised beside them, and on what it ran.

Drawn with matplotlib, of the group `bench`. The background is opaque, so that it reads on dark pages, too.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from bench_rows import OURS, Report, Row, series_of
from bench_table import shown

__all__ = ["draw"]

PAPER, INK, FAINT, RULE = "#fcfcfa", "#22262b", "#6f7780", "#dfe2e5"
ACCENT, OTHER, AIM = "#0b6e99", "#9aa3ab", "#d9730d"

_WIDTH, _ROW, _HEAD, _FOOT, _GAP = 13.0, 0.29, 0.95, 0.75, 1.2  # inches
_LEFT, _RIGHT = 4.5, 2.75  # inches, for names and for figures
_COMPARED = {
    "memory": ("In memory", "calls a second; a dict behind an asyncio.Lock = 1"),
    "durable": (
        "Acknowledged on disk",
        "changes a second that outlive a power failure; one aiosqlite commit a call = 1",
    ),
    "library": ("The library's sessions", "calls a second; the same call of chuk-sessions' manager in memory = 1"),
    "stdio": ("Over stdio", "a connector beside a bare SDK stdio server = 1; less is better"),
    "wire": ("Over the wire", "beside a bare SDK server in the same era; rates (more is better) and times (less is)"),
}
_TICKS = {  # by whether the axis is short
    is_short: [digit * 10.0**power for power in range(-6, 7) for digit in ((1, 2, 5) if is_short else (1,))]
    for is_short in (True, False)
}
_PROMISED = ("scale", "wire", "projects", "idle")


def draw(report: Report, directory: Path) -> list[Path]:
    """Draw *report* as `bench.png` and `bench.svg` in *directory*, and return both."""
    library: Any = import_module("matplotlib")
    figures: Any = import_module("matplotlib.figure")
    panels: list[tuple[str, str, list[list[Row]]]] = []
    for key, (title, subtitle) in _COMPARED.items():
        if compared := _compared(report.section(key)):
            panels.append((title, subtitle, compared))
    promised = [[row] for row in report.rows if row.section in _PROMISED and row.aim_is_of == "value" and row.aim]
    if promised:
        panels.append(("Promises", "how many times better than promised; left of 1 the promise is not kept", promised))
    height = _HEAD + _FOOT + sum(_ROW * len(series) + _GAP for _, _, series in panels)
    with library.rc_context({"font.family": "DejaVu Sans", "font.size": 9, "svg.hashsalt": "workroot"}):
        figure = figures.Figure(figsize=(_WIDTH, height), facecolor=PAPER)
        _write_head(figure, height)
        top = height - _HEAD
        for title, subtitle, series in panels:
            size = _ROW * len(series)
            box = (_LEFT / _WIDTH, (top - size - 0.5) / height, (_WIDTH - _LEFT - _RIGHT) / _WIDTH, size / height)
            _draw_panel(figure.add_axes(box), title, subtitle, series, is_promise=title == "Promises")
            top -= size + _GAP
        figure.text(
            0.3 / _WIDTH, 0.3 / height, _caption(report), color=FAINT, fontsize=7.5, va="bottom", linespacing=1.5
        )
        drawn = [directory / "bench.png", directory / "bench.svg"]
        figure.savefig(drawn[0], dpi=160, facecolor=PAPER)
        described = {"Date": None, "Title": "workroot, measured", "Description": _caption(report)}
        figure.savefig(drawn[1], facecolor=PAPER, metadata=described)
    return drawn


def _compared(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the series that stand beside something, but for that which stands for 1."""
    series = [[row for row in each if row.ratio is not None] for each in series_of(rows).values()]
    return [each for each in series if each and any(row.ratio != 1 for row in each)]


def _write_head(figure: Any, height: float) -> None:
    figure.text(0.3 / _WIDTH, 1 - 0.3 / height, "workroot, measured", color=INK, fontsize=17, weight="bold", va="top")
    for inches, text, colour in ((3.7, "● workroot", ACCENT), (2.45, "● others", OTHER), (1.4, "┃ promised", AIM)):
        figure.text(1 - inches / _WIDTH, 1 - 0.38 / height, text, color=colour, fontsize=9.5, va="top")


def _draw_panel(axes: Any, title: str, subtitle: str, series: list[list[Row]], *, is_promise: bool) -> None:
    loads = list(dict.fromkeys(row.load for each in series for row in each)) if not is_promise else []
    values = [_position(row, is_promise) for each in series for row in each]
    aims = [row.aim for each in series for row in each if row.aim and not is_promise and row.aim_is_of == "ratio"]
    axes.set_xscale("log")
    axes.set_xlim(min([*values, *aims, 0.7]) / 1.35, max([*values, *aims, 1.4]) * 1.35)
    axes.set_ylim(len(series) - 0.5, -0.5)
    axes.axvline(1, color=AIM if is_promise else INK, linewidth=1.3, zorder=1.5)
    for line, each in enumerate(series):
        if line % 2:
            axes.axhspan(line - 0.5, line + 0.5, color="#f3f4f3", zorder=0)
        _draw_series(axes, line, each, loads, is_promise=is_promise)
    _dress(axes)
    height = axes.figure.get_figheight() * axes.get_position().height
    axes.text(0, 1 + 0.42 / height, title, transform=axes.transAxes, color=INK, fontsize=11.5, weight="bold")
    axes.text(0, 1 + 0.24 / height, subtitle, transform=axes.transAxes, color=FAINT, fontsize=8.5)
    columns = ("measured", "promised") if is_promise else loads
    for column, text in zip(_columns(len(columns)), columns, strict=True):
        _write(axes, column, 1 + 0.07 / height, text.replace(" ", "\n"), color=FAINT, is_axes=True)


def _draw_series(axes: Any, line: int, series: list[Row], loads: Sequence[str], *, is_promise: bool) -> None:
    is_ours = series[0].of == OURS
    colour = ACCENT if is_ours else OTHER
    name = series[0].name + (f", {series[0].load}" if is_promise and series[0].load else "")
    axes.text(
        -0.015,
        line,
        name,
        transform=axes.get_yaxis_transform(),
        ha="right",
        va="center",
        color=ACCENT if is_ours else INK,
        fontsize=8.5 if len(name) <= 52 else 7.5,
        weight="bold" if is_ours and not is_promise and len(name) <= 52 else "normal",
    )
    places = [_position(row, is_promise) for row in series]
    axes.hlines(line, min([*places, 1]), max([*places, 1]), color=colour, linewidth=1.4, alpha=0.45, zorder=2)
    for row, place in zip(series, places, strict=True):
        size = 26 + 26 * (loads.index(row.load) if row.load in loads else 0)
        filled = colour if not is_promise or row.is_met else PAPER
        axes.scatter([place], [line], s=size, color=filled, edgecolors=colour, linewidths=0.9, alpha=0.9, zorder=3)
        if row.aim and not is_promise and row.aim_is_of == "ratio":
            axes.vlines(row.aim, line - 0.4, line + 0.4, color=AIM, linewidth=2.4, zorder=4)
    if is_promise:
        [row] = series
        sign = "≥" if row.is_higher_better else "≤"
        texts = {0: f"{shown(row.value)} {row.unit}", 1: f"{sign} {row.aim:,g} {row.unit}"}
    else:
        texts = {loads.index(row.load): f"{_short(row)}" for row in series}
    columns = _columns(2 if is_promise else len(loads))
    for column, text in texts.items():
        missed = (series[0] if is_promise else next(row for row in series if row.load == loads[column])).is_met is False
        shade = AIM if missed else ACCENT if is_ours else FAINT
        _write(axes, columns[column], line, text, color=shade, is_axes=False)


def _position(row: Row, is_promise: bool) -> float:
    """Return where a row's dot lies: its ratio, or how many times better it is than promised."""
    if not is_promise:
        return row.ratio or 1.0
    least = 1e-9  # what is too small to be measured is far better
    assert row.aim is not None
    return row.value / row.aim if row.is_higher_better else row.aim / max(row.value, row.aim / 1000, least)


def _short(row: Row) -> str:
    ratio = row.ratio or 0.0
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}" if ratio >= 1 else f"{ratio:.2g}"


def _columns(count: int) -> list[float]:
    """Return where columns of figures lie, right of the axes, in their widths."""
    width = (_RIGHT - 0.4) / (_WIDTH - _LEFT - _RIGHT)
    return [1 + width * (number + 1) / count for number in range(count)]


def _write(axes: Any, x: float, y: float, text: str, *, color: str, is_axes: bool) -> None:
    transform = axes.transAxes if is_axes else axes.get_yaxis_transform()
    axes.text(
        x, y, text, transform=transform, ha="right", va="bottom" if is_axes else "center", color=color, fontsize=8
    )


def _dress(axes: Any) -> None:
    axes.set_facecolor(PAPER)
    axes.set_yticks([])
    axes.grid(axis="x", which="major", color=RULE, linewidth=0.8, zorder=0)
    axes.tick_params(axis="x", which="both", length=0, colors=FAINT, labelsize=8)
    low, high = axes.get_xlim()
    axes.set_xticks([tick for tick in _TICKS[high / low < 30] if low <= tick <= high])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}\N{MULTIPLICATION SIGN}")
    axes.xaxis.set_minor_formatter(lambda value, _: "")
    for spine in axes.spines.values():
        spine.set_visible(False)


def _caption(report: Report) -> str:
    machine = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    versions = ", ".join(f"{name} {value}" for name, value in report.versions.items())
    said = (
        "Medians of rounds in which all were measured in turns, in one run; larger dots stand for more callers at once."
    )
    lacking = [f"not measured: {what}" for what in report.missing]
    return "\n".join([said, *textwrap.wrap(machine, 150), *textwrap.wrap(versions, 150), *lacking])

"""`scripts/bench`: each section gives the rows that it promises, and they are drawn. What they say is for people."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
OWN_PYTHON = ROOT / ".venv-bench" / "bin" / "python"

DICTS = {"locked dict, get", "locked dict, set", "locked dict of records, get", "locked dict of records, set"}
CHUK = {"chuk memory provider, get", "chuk memory provider, set", "chuk manager, validate", "chuk manager, allocate"}
VALKEY = {"Valkey, always, held connection", "Valkey, always, pool of 100"}
MANAGED = {
    "validate_session",
    "get_session_info",
    "update_session_metadata",
    "extend_session_ttl",
    "allocate_session",
    "increment",
}
LIBRARY = MANAGED | {f"{name}, on disk" for name in MANAGED} | {"memory provider, setex", "memory provider, get"}
SAVE, CHANGE = "store.commit, through the queue", "set_working_directory, warm cache"
PROMISED = {
    "memory": DICTS | CHUK | {"get_working_directory", "MemoryStore.commit", "set_working_directory, MemoryStore"},
    "durable": VALKEY | {"aiosqlite, one commit a call", "sqlite3 in-line (blocks the loop)", SAVE, CHANGE},
    "library": LIBRARY,
    "scale": {
        "a daemon's first answer, 300 sessions against none",
        "the first answer comes later by",
        "resident memory a session, of a daemon with 300 sessions",
        "sweep of 30 of 300 sessions",
        "longest stall of the event loop in a sweep",
        "memory a session, with its indexes and alias, 300 held",
    },
}
LONGER = {"wire": 10, "stdio": 8, "projects": 3, "neighbours": 14, "idle": 1}  # how many rows at least


def python_of_bench() -> str:
    """Return the Python that has what the bench measures beside; without one, this one measures the rest."""
    return str(OWN_PYTHON if OWN_PYTHON.exists() else sys.executable)


def bench(*arguments: str | Path, seconds: float = 300) -> subprocess.CompletedProcess[str]:
    command = [python_of_bench(), ROOT / "scripts" / "benchmark" / "bench.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, is_full: bool) -> dict[str, Any]:
    """What was kept of one run at the least counts; the longer sections with `--full` alone."""
    path = tmp_path_factory.mktemp("bench") / "bench.json"
    sections = [*PROMISED, *(LONGER if is_full else ())]
    bench("--quick", "--json", path, *(argument for key in sections for argument in ("--only", key)))
    kept: dict[str, Any] = json.loads(path.read_text())
    return kept


def kept_report() -> dict[str, Any]:
    """Return a report with a met and a missed aim of either kind, and a figure of another system."""

    def row(section: str, name: str, load: str = "", **fields: object) -> dict[str, object]:
        usual = {"of": "workroot", "value": 2.0, "unit": "ms", "beside": None, "beside_name": "", "ratio": None}
        aims = {"aim": None, "aim_is_of": "ratio", "is_higher_better": False, "note": ""}
        return {"section": section, "name": name, "load": load, **usual, **aims, **fields}

    rate = {"unit": "/s", "beside": 1.0, "is_higher_better": True, "aim": 2.0}
    return {
        "machine": {"processor": "Abacus", "cores": "2"},
        "versions": {"Python": "3.11"},
        "rows": [
            row("durable", SAVE, "1 caller", ratio=1.5, **rate),
            row("durable", SAVE, "100 callers", ratio=40.0, **rate),
            row("durable", "another's", "1 caller", of="another", ratio=0.3, **{**rate, "aim": None}),
            row("scale", "a sweep", aim=300.0, aim_is_of="value"),
            row("scale", "a stall", aim=1.0, aim_is_of="value"),
        ],
        "missing": {"Valkey": "cannot be started"},
    }


def test_each_section_gives_every_row_it_promises(report: dict[str, Any], is_full: bool) -> None:
    rows = {key: {row["name"] for row in report["rows"] if row["section"] == key} for key in (*PROMISED, *LONGER)}
    lacking = {what.split()[0] for what in report["missing"]}
    excused = (CHUK | LIBRARY if "chuk-sessions" in lacking else set()) | (VALKEY if "Valkey" in lacking else set())
    assert not (OWN_PYTHON.exists() and lacking), report["missing"]
    for key, names in PROMISED.items():
        assert rows[key] | (excused & names) == names
    for key, least in LONGER.items() if is_full else ():
        assert len({(row["name"], row["load"]) for row in report["rows"] if row["section"] == key}) >= least, key
    assert {"processor", "cores", "memory", "kernel", "data on"} <= report["machine"].keys()
    assert {"Python", "SQLite", "mcp", "workroot"} <= report["versions"].keys()


def test_every_promise_of_speed_has_its_aim_under_each_load(report: dict[str, Any]) -> None:
    rows = [row for row in report["rows"] if row["section"] in ("memory", "durable", "library")]

    aims = {(row["name"], row["load"]): row["aim"] for row in rows if row["aim"] is not None}
    beside_chuk = {
        ("validate_session", "1 caller"): 5.0,
        ("validate_session", "100 callers"): 5.0,
        ("validate_session, on disk", "1 caller"): 5.0,
        ("validate_session, on disk", "100 callers"): 5.0,
        ("allocate_session, on disk", "100 callers"): 1.0,
    }
    is_beside_chuk = not any(what.startswith("chuk-sessions") for what in report["missing"])
    assert aims == (beside_chuk if is_beside_chuk else {}) | {
        ("get_working_directory", "1 task"): 2.0,
        ("get_working_directory", "5 tasks"): 2.0,
        ("get_working_directory", "100 tasks"): 2.0,
        (SAVE, "1 caller"): 1.0,
        (SAVE, "100 callers"): 20.0,
        (CHANGE, "100 callers"): 2.5,
    }
    assert all(row["ratio"] is not None for row in rows)


def test_a_kept_report_is_shown_with_what_it_misses_and_what_it_lacks(tmp_path: Path) -> None:
    (kept := tmp_path / "kept.json").write_text(json.dumps(kept_report()))

    said = bench("--from", kept, "--json", tmp_path / "again.json").stdout

    assert json.loads((tmp_path / "again.json").read_text()) == kept_report()
    assert "not measured: Valkey: cannot be started" in said
    missed = [line for line in said.splitlines() if "missed" in line]
    assert len(missed) == 2
    assert "1 caller" in missed[0]
    assert "a stall" in missed[1]


def test_a_kept_report_is_drawn(tmp_path: Path) -> None:
    found = subprocess.run([python_of_bench(), "-c", "import matplotlib"], capture_output=True, check=False)
    if found.returncode != 0:
        pytest.skip("matplotlib is not installed: `scripts/bench` installs the group `bench` into .venv-bench")
    (kept := tmp_path / "kept.json").write_text(json.dumps(kept_report()))

    bench("--from", kept, "--plot", tmp_path)

    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG\r\n")
    drawn = (tmp_path / "bench.svg").read_text()
    assert "Abacus" in drawn, "the caption names the machine, as text that a search finds"

"""Which code is mutated, and which tests are asked to notice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["AREAS", "Area", "area_of"]


@dataclass(frozen=True, slots=True)
class Area:
    """Modules that are judged together.

    Attributes:
        modules: patterns below `src/workroot`.
        tests: patterns below `tests`, the quickest first.
    """

    name: str
    modules: tuple[str, ...]
    tests: tuple[str, ...]

    def modules_in(self, root: Path) -> list[str]:
        """Return the paths of its modules, relative to *root*."""
        found = {path for pattern in self.modules for path in (root / "src" / "workroot").glob(pattern)}
        return sorted(str(path.relative_to(root)) for path in found)

    def tests_of(self, module: str, root: Path) -> list[str]:
        """Return the files of tests for one of its modules, that module's own first, as they are named after it."""
        found = {path: None for pattern in self.tests for path in sorted((root / "tests").glob(pattern))}
        stem = Path(module).stem
        nearest = sorted(found, key=lambda path: stem not in path.stem)
        return [str(path.relative_to(root)) for path in nearest]


AREAS = (
    Area(
        "storage",
        ("storage/*.py",),
        (
            "unit/test_commit_queue*.py",
            "unit/test_schema.py",
            "unit/test_network_disks.py",
            "unit/test_tidying.py",
            "unit/test_interruption.py",
            "contracts/test_session_store.py",
            "system/test_store_modes.py",
            "system/test_opening.py",
            "system/test_backup.py",
            "system/test_sqlite_store.py",
            "properties/test_revisions.py",
            "system/test_store_faults.py",
        ),
    ),
    Area(
        "sweeper",
        ("sweeper.py", "idle_clock.py", "live_connections.py", "session_room.py"),
        (
            "unit/test_sweep*.py",
            "unit/test_idle_clock.py",
            "unit/test_live_connections.py",
            "unit/test_session_room.py",
            "unit/test_session_context.py",
            "unit/test_kept_connections.py",
            "unit/test_housekeeping.py",
        ),
    ),
    Area(
        "resolution",
        (
            *(f"core/{name}.py" for name in ("resolution", "reading", "pins", "signs", "arrival", "reach")),
            "core/meta_signs.py",
            "core/session_table.py",
        ),
        (
            "unit/test_signs.py",
            "unit/test_pins.py",
            "unit/test_arrival.py",
            "unit/test_meta_signs.py",
            "unit/test_sessions.py",
            "unit/test_session_table.py",
            "unit/test_resolution*.py",
            "unit/test_decision*.py",
            "unit/test_clients.py",
            "unit/test_explanation.py",
            "unit/test_switching.py",
            "unit/test_session_ledger.py",
            "unit/test_session_context.py",
            "properties/test_isolation.py",
            "properties/test_resolution_properties.py",
        ),
    ),
    Area(
        "trust",
        ("core/trust.py", "trust/*.py"),
        ("unit/test_trust*.py", "properties/test_trust_properties.py"),
    ),
)


def area_of(module: str, root: Path) -> Area | None:
    """Return the area that a module belongs to, by its path relative to *root*; None if it belongs to none."""
    return next((area for area in AREAS if module in area.modules_in(root)), None)

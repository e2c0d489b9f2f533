"""What may be wrong with an installation and its daemon, and what to do about it.

Nothing is started and nothing is changed; every question is asked of the system or of a daemon that runs.
"""

from __future__ import annotations

from workroot.doctor.examining import examine
from workroot.doctor.findings import Check, Finding, Found, State
from workroot.doctor.report import Report
from workroot.doctor.rounds import all_checks

__all__ = ["Check", "Finding", "Found", "Report", "State", "all_checks", "examine"]

"""Sessions that are allocated for a time: the life cycle that servers' authors build on."""

from __future__ import annotations

from workroot.allocating.ledger_allocations import LedgerAllocations

__all__ = ["LedgerAllocations"]

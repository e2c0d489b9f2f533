"""Helps to look at what checks found."""

from __future__ import annotations

from collections.abc import Iterable

from workroot.doctor.findings import Found, plain


def states(found: Iterable[Found]) -> list[str]:
    """Return how bad each is."""
    return [one.state for one in found]


def only(found: Iterable[Found]) -> Found:
    """Return the one that there is."""
    (one,) = found
    return one


def seen(found: Found) -> str:
    """Return what was seen, for its user."""
    return plain(found.seen)


def cure(found: Found) -> str:
    """Return what to do, for its user."""
    return plain(found.cure)

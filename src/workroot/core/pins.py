"""A pin does not outlive what it was set for.

A pin keeps the signs that the client sent when it was set (ranks 2 to 4: `_meta`, roots, the connector's
facts). On every later call the best sign that there was then, and that there is now, is compared:

- it says the same: the pin holds;
- it changed, and the pin had agreed with it: the pin follows the sign (an agent entered a worktree);
- it changed, and the pin was set against it: the pin is stale, unless the sign now agrees with it. The same
  holds where all that it names now was there then, and was not what the pin was set to.

A sign that is missing now says nothing: clients do not send all of them with every call.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from sys import intern
from typing import TYPE_CHECKING, TypeVar

from workroot.core.projects import owner_of
from workroot.core.reading import FIRST_ROOT, is_below
from workroot.core.sessions import PinnedSign
from workroot.core.signs import Hint, Source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workroot.core.projects import Place
    from workroot.core.sessions import SessionContext

__all__ = ["PinState", "PinVerdict", "judge_pin", "pinned_signs"]

_KEPT = (Source.META, Source.ROOTS, Source.CONNECTOR)
_ROOTS = "roots"

_Sign = TypeVar("_Sign")


class PinState(StrEnum):
    """What became of a pin."""

    HOLDS = "holds"
    FOLLOWS = "follows"
    STALE = "stale"


@dataclass(frozen=True, slots=True, kw_only=True)
class PinVerdict:
    """What became of a pin, and because of which sign.

    Attributes:
        signs: what the pin has to remember from now on; None if that is what it remembers already.
        changed: the signs that changed, with where they lead now; empty where the pin holds.
        sign: what changed, in words; empty where nothing did.
        before: where that sign led when the pin was set.
    """

    state: PinState
    signs: tuple[PinnedSign, ...] | None = None
    changed: tuple[tuple[Hint, Place], ...] = ()
    sign: str = ""
    before: tuple[str, ...] = ()


def pinned_signs(place: Place, usable: Sequence[tuple[Hint, Place]]) -> tuple[PinnedSign, ...]:
    """Return what a pin set to *place* has to remember of the signs seen then."""
    return tuple(
        PinnedSign(
            intern(f"{hint.source}: {hint.detail}"),  # most sessions remember the same ones, and keep them
            place.directory if seen.directory == place.directory else seen.directory,
            _agree(place, seen),
        )
        for hint, seen in usable
        if hint.source in _KEPT
    )


def judge_pin(
    session: SessionContext, place: Place | None, usable: Sequence[tuple[Hint, Place]], *, first_root_counts: bool
) -> PinVerdict:
    """Return what became of a session's pin.

    Args:
        place: what is at the pinned directory now, or None if it is gone.
        usable: the signs of this call that lead somewhere, best first.
        first_root_counts: of several roots the first is where the client works.
    """
    then = _slots([(sign.sign, sign) for sign in session.signs], first_root_counts=first_root_counts)
    now = _slots(
        [(f"{hint.source}: {hint.detail}", (hint, seen)) for hint, seen in usable if hint.source in _KEPT],
        first_root_counts=first_root_counts,
    )
    for slot, seen_now in now.items():
        if slot in then:
            return _compared(slot, then[slot], seen_now, place, usable)
    return PinVerdict(state=PinState.HOLDS)


def _compared(
    slot: str,
    then: Sequence[PinnedSign],
    now: Sequence[tuple[Hint, Place]],
    place: Place | None,
    usable: Sequence[tuple[Hint, Place]],
) -> PinVerdict:
    before = tuple(sign.directory for sign in then)
    if {seen.directory for _, seen in now} == set(before):
        return PinVerdict(state=PinState.HOLDS)
    agreeing = [sign.directory for sign in then if sign.agreed]
    still_named = {seen.directory for _, seen in now}
    if agreeing and all(directory in still_named for directory in agreeing):
        return PinVerdict(state=PinState.HOLDS)  # folders were added or removed beside the one that it agrees with
    if not agreeing and place is not None and any(_agree(place, seen) for _, seen in now):
        return PinVerdict(state=PinState.HOLDS, signs=pinned_signs(place, usable))
    new = tuple(each for each in now if each[1].directory not in before)
    if agreeing and len({owner_of(seen) for _, seen in new}) == 1:
        signs = pinned_signs(new[0][1], usable)
        return PinVerdict(state=PinState.FOLLOWS, signs=signs, changed=new, sign=slot, before=before)
    return PinVerdict(state=PinState.STALE, changed=tuple(now), sign=slot, before=before)


def _slots(signs: Sequence[tuple[str, _Sign]], *, first_root_counts: bool) -> Mapping[str, list[_Sign]]:
    """Group signs by what is compared: the roots are one sign, or their first is the sign; all others by name."""
    slots: dict[str, list[_Sign]] = {}
    for name, sign in signs:
        if not name.startswith(f"{_ROOTS}:"):
            slots.setdefault(name, []).append(sign)
        elif not first_root_counts or name == f"{_ROOTS}: {FIRST_ROOT}":
            slots.setdefault(_ROOTS, []).append(sign)
    return slots


def _agree(pin: Place, sign: Place) -> bool:
    """Tell whether a pin means the same as a sign: the same project, or something in a directory that nobody owns."""
    if owner_of(pin) == owner_of(sign):
        return True
    return sign.project is None and is_below(pin.directory, sign.directory)

"""A pin does not outlive what it was set for."""

from __future__ import annotations

import pytest

from fakes import place
from workroot.core.pins import PinState, PinVerdict, judge_pin, pinned_signs
from workroot.core.projects import Directory, Place
from workroot.core.sessions import Owner, SessionContext, SessionId
from workroot.core.signs import Hint, Source

SHOP = place("/shop", project="shop")
SHOP_SRC = place("/shop/src", project="shop", root="/shop")
WORKTREE = place("/shop-fix", project="shop-fix")
BLOG = place("/blog", project="blog")
MONO = place("/mono", project="mono")
NESTED = place("/mono/api", project="api")
NOBODYS = place("/notes")

ROOT = Hint(Source.ROOTS, "root 1", "")
SECOND_ROOT = Hint(Source.ROOTS, "root 2", "")
META = Hint(Source.META, "workroot/directory", "")
OWN = Hint(Source.CONNECTOR, "working directory", "")
PWD = Hint(Source.CONNECTOR, "PWD", "")
HEADER = Hint(Source.HEADER, "Workroot-Directory", "")

Usable = list[tuple[Hint, Place]]


def judged(
    pin: Place, then: Usable, now: Usable, *, is_gone: bool = False, first_root_counts: bool = False
) -> PinVerdict:
    """Return what becomes of a pin that was set when the signs said *then*, at a call when they say *now*."""
    session = SessionContext(
        session_id=SessionId("wr_1"),
        owner=Owner("uid:1000"),
        working_directory=Directory(pin.directory),
        given_directory=pin.directory,
        signs=pinned_signs(pin, then),
        set_at=0,
        last_used=0,
    )
    return judge_pin(session, None if is_gone else pin, now, first_root_counts=first_root_counts)


@pytest.mark.parametrize(
    ("then", "now"),
    [
        ([], []),
        ([], [(ROOT, BLOG)]),
        ([(ROOT, SHOP)], []),
        ([(ROOT, SHOP)], [(ROOT, SHOP)]),
        ([(ROOT, SHOP)], [(META, BLOG), (ROOT, SHOP)]),
        ([(META, SHOP), (ROOT, SHOP)], [(META, SHOP), (ROOT, BLOG)]),
        ([(META, SHOP), (OWN, SHOP)], [(OWN, SHOP)]),
        ([(HEADER, SHOP)], [(HEADER, BLOG)]),
        ([(ROOT, BLOG)], [(ROOT, BLOG)]),
    ],
    ids=[
        "no signs at all",
        "a sign that was not there then",
        "a sign that is not there now",
        "the same sign",
        "the same sign behind a new one",
        "the best sign is the same",
        "what is left is the same",
        "headers are believed less than a pin anyway",
        "set against a sign that stays",
    ],
)
def test_a_pin_holds_while_its_signs_say_the_same(then: Usable, now: Usable) -> None:
    assert judged(SHOP, then, now) == PinVerdict(state=PinState.HOLDS)


@pytest.mark.parametrize("sign", [META, ROOT, OWN])
def test_a_pin_that_agreed_with_a_sign_follows_it(sign: Hint) -> None:
    verdict = judged(SHOP, [(sign, SHOP)], [(sign, WORKTREE)])

    assert verdict.state is PinState.FOLLOWS
    assert verdict.changed == ((sign, WORKTREE),)
    assert verdict.before == ("/shop",)
    assert verdict.signs == pinned_signs(WORKTREE, [(sign, WORKTREE)]), "from now on it is compared with where it went"


@pytest.mark.parametrize("sign", [META, ROOT, OWN])
def test_a_pin_that_was_set_against_a_sign_is_stale_when_that_changes(sign: Hint) -> None:
    verdict = judged(BLOG, [(sign, SHOP)], [(sign, WORKTREE)])

    assert verdict.state is PinState.STALE
    assert (verdict.changed, verdict.before) == (((sign, WORKTREE),), ("/shop",))


def test_a_pin_that_the_changed_sign_now_agrees_with_holds_and_remembers_that() -> None:
    verdict = judged(BLOG, [(ROOT, SHOP)], [(ROOT, BLOG)])

    assert verdict.state is PinState.HOLDS
    assert verdict.signs == (("roots: root 1", "/blog", True),)


@pytest.mark.parametrize(
    ("pin", "sign", "state"),
    [
        (SHOP_SRC, SHOP, PinState.FOLLOWS),
        (SHOP, SHOP_SRC, PinState.FOLLOWS),
        (NESTED, MONO, PinState.STALE),
        (MONO, NESTED, PinState.STALE),
        (NOBODYS, NOBODYS, PinState.FOLLOWS),
    ],
    ids=[
        "below the sign",
        "above it, one project",
        "a nested project below it",
        "above a nested project",
        "no project",
    ],
)
def test_agreeing_is_being_in_the_same_project(pin: Place, sign: Place, state: PinState) -> None:
    assert judged(pin, [(OWN, sign)], [(OWN, BLOG)]).state is state


def test_the_best_sign_that_was_there_then_and_is_now_decides() -> None:
    then = [(ROOT, SHOP), (OWN, BLOG)]

    assert judged(SHOP, then, [(META, BLOG), (ROOT, WORKTREE), (OWN, BLOG)]).state is PinState.FOLLOWS
    assert judged(SHOP, then, [(OWN, MONO)]).state is PinState.STALE


def test_a_pin_whose_directory_is_gone_still_follows() -> None:
    assert judged(WORKTREE, [(ROOT, WORKTREE)], [(ROOT, SHOP)], is_gone=True).state is PinState.FOLLOWS
    assert judged(WORKTREE, [(ROOT, BLOG)], [(ROOT, SHOP)], is_gone=True).state is PinState.STALE


def test_folders_added_or_removed_beside_the_pins_change_nothing() -> None:
    both: Usable = [(ROOT, SHOP), (SECOND_ROOT, BLOG)]

    assert judged(SHOP, [(ROOT, SHOP)], both).state is PinState.HOLDS
    assert judged(SHOP, both, [(ROOT, SHOP)]).state is PinState.HOLDS
    assert judged(SHOP, both, [(ROOT, BLOG), (SECOND_ROOT, SHOP)]).state is PinState.HOLDS


def test_a_pin_does_not_follow_into_the_folder_that_it_was_set_against() -> None:
    both: Usable = [(ROOT, SHOP), (SECOND_ROOT, BLOG)]

    assert judged(SHOP, both, [(ROOT, BLOG)]).state is PinState.STALE
    assert judged(SHOP, both, [(ROOT, BLOG), (SECOND_ROOT, WORKTREE)]).changed == ((SECOND_ROOT, WORKTREE),)
    assert judged(BLOG, [(ROOT, SHOP)], [(ROOT, SHOP), (SECOND_ROOT, WORKTREE)]).changed == (
        (ROOT, SHOP),
        (SECOND_ROOT, WORKTREE),
    ), "all that it names now are candidates"


def test_below_a_directory_of_nobodys_a_pin_agrees_with_it() -> None:
    inside = place("/notes/2026")

    assert judged(inside, [(ROOT, NOBODYS)], [(ROOT, BLOG)]).state is PinState.FOLLOWS


def test_a_pin_cannot_follow_into_several_projects() -> None:
    assert judged(SHOP, [(ROOT, SHOP)], [(ROOT, BLOG), (SECOND_ROOT, MONO)]).state is PinState.STALE


def test_where_the_first_root_counts_the_others_are_not_compared() -> None:
    then, now = [(ROOT, SHOP), (SECOND_ROOT, BLOG)], [(ROOT, SHOP), (SECOND_ROOT, MONO)]
    entered: Usable = [(ROOT, WORKTREE), (SECOND_ROOT, BLOG)]

    assert judged(BLOG, then, now, first_root_counts=True).state is PinState.HOLDS
    assert judged(SHOP, then, entered, first_root_counts=True).changed == ((ROOT, WORKTREE),)

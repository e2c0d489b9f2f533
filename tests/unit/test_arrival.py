"""What a project's config says of those who arrive in it, and of those who look out of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fakes import place
from workroot.core.arrival import Arrival, arrive, check_strict
from workroot.core.projects import Directory, Place, Project, ProjectConfig, ProjectId
from workroot.core.sessions import Owner, SessionContext, SessionId
from workroot.errors import StrictModeError

SHOP_ID = ProjectId("5b2f3f6e-8f0e-4a51-9d0c-3f7c1c0a9b11")


def shop(*, auto_switch: bool = True, strict_mode: bool = False, dry_run: bool = False) -> Place:
    config = ProjectConfig(name="Shop", auto_switch=auto_switch, strict_mode=strict_mode, dry_run=dry_run)
    project = Project(project_id=SHOP_ID, name="Shop", root=Directory("/shop"), config=config)
    return replace(place("/shop/src"), project=project, config_path="/shop/.workroot/config.toml")


def session_in(project_id: ProjectId | None) -> SessionContext:
    return SessionContext(
        session_id=SessionId("wr_1"),
        owner=Owner("uid:1000"),
        working_directory=Directory("/elsewhere"),
        given_directory="/elsewhere",
        project_id=project_id,
        set_at=0,
        last_used=0,
    )


OUTSIDE = [None, session_in(None), session_in(ProjectId("other"))]


@pytest.mark.parametrize("session", OUTSIDE)
@pytest.mark.parametrize("there", [shop(), place("/shop", project="shop"), place("/nobodys")])
def test_as_a_rule_who_arrives_is_in(session: SessionContext | None, there: Place) -> None:
    assert arrive(session, there) == Arrival(there)


@pytest.mark.parametrize("session", OUTSIDE)
def test_without_auto_switch_who_arrives_is_in_no_project_and_hears_how_to_enter(
    session: SessionContext | None,
) -> None:
    there = shop(auto_switch=False)

    arrival = arrive(session, there)

    assert arrival.is_made
    assert arrival.place == replace(there, project=None)
    assert arrival.warning is not None
    assert "set_working_directory(project='/shop')" in arrival.warning


def test_without_auto_switch_whoever_names_the_project_enters_it() -> None:
    there = shop(auto_switch=False)

    assert arrive(session_in(None), there, is_asked_for=True) == Arrival(there)


@pytest.mark.parametrize("session", OUTSIDE)
@pytest.mark.parametrize("is_asked_for", [False, True])
def test_with_dry_run_a_switch_is_reported_and_not_made(session: SessionContext | None, is_asked_for: bool) -> None:
    arrival = arrive(session, shop(dry_run=True), is_asked_for=is_asked_for)

    assert not arrival.is_made
    assert arrival.place.project is None
    assert arrival.warning == "dry_run: a switch into project 'Shop' at /shop was reported, not made"


def test_who_is_in_a_project_already_does_not_arrive() -> None:
    there = shop(auto_switch=False, dry_run=True)

    assert arrive(session_in(SHOP_ID), there) == Arrival(there)


@pytest.mark.parametrize("directory", ["/", "/shopping", "/blog"])
def test_a_strict_project_answers_for_nothing_outside_of_its_root(directory: str) -> None:
    with pytest.raises(StrictModeError, match="only for directories inside /shop"):
        check_strict(shop(strict_mode=True), place(directory))


@pytest.mark.parametrize("inside", [None, place("/nobodys"), place("/shop", project="shop"), shop()])
def test_only_a_strict_project_refuses(inside: Place | None) -> None:
    check_strict(inside, place("/blog"))


@pytest.mark.parametrize("directory", ["/shop", "/shop/src/deep"])
def test_a_strict_project_answers_for_what_is_inside_of_it(directory: str) -> None:
    check_strict(shop(strict_mode=True), place(directory))

"""Joining looks again for as long as others keep ids meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import pytest

from fakes import ManualClock
from workroot.core.discovery import Finding, FoundConfig
from workroot.core.identities import Identities
from workroot.core.placing import place_of
from workroot.core.ports import PlaceFinder
from workroot.core.projects import (
    Directory,
    KnownId,
    Place,
    ProjectConfig,
    ProjectId,
    ProjectKey,
    Repository,
    StopReason,
)
from workroot.core.sessions import Owner
from workroot.errors import JoinRefusedError
from workroot.joining import join_project
from workroot.session_ledger import SessionLedger
from workroot.storage.memory import MemoryStore

ADA = Owner("uid:1000")
SHARED = ProjectId("123e4567-e89b-42d3-a456-426614174000")
HERE = Directory("/work/here")
KEY = ProjectKey("/work/here/.git", "")


class Clone(PlaceFinder):
    """Finds one clone; what else happens in the meantime is done after each look, in turn."""

    def __init__(self, identities: Identities) -> None:
        self.identities, self.meanwhile, self.looks = identities, list[Callable[[], None]](), 0
        self.has_config = True

    def lose_its_config(self) -> None:
        self.has_config = False

    async def find(self, directory: str) -> Place:
        self.looks += 1
        content = ProjectConfig(name="shop", project_id=SHARED)
        finding = Finding(
            directory=HERE,
            levels=(HERE,),
            stop=StopReason.CONFIG,
            stopped_at=HERE,
            config=FoundConfig(root=HERE, path="c", content=content),
            repository=Repository(root=HERE, name="x", common_directory=Directory("/work/here/.git")),
        )
        place = place_of(finding, directory, UUID(SHARED), self.identities)
        if not self.has_config:
            place = replace(place, project=None, key=None, known_id=None)
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return place


def known(root: str) -> KnownId:
    return KnownId(key=ProjectKey(f"{root}/.git", ""), project_id=SHARED, name="shop", root=Directory(root))


@pytest.fixture
async def world() -> tuple[SessionLedger, Clone]:
    identities = Identities()
    ledger = SessionLedger(MemoryStore(), ManualClock(), identities=identities)
    await ledger.load()
    return ledger, Clone(identities)


async def test_a_join_sees_the_one_that_came_first_while_it_looked(world: tuple[SessionLedger, Clone]) -> None:
    ledger, clone = world
    clone.meanwhile = [lambda: clone.identities.put(known("/work/first"))]

    joined = await join_project(ledger, clone, ADA, HERE)

    assert joined.was_needed
    assert {holder.root for holder in clone.identities.holders_of(SHARED)} == {HERE, "/work/first"}
    assert all(holder.is_joined for holder in clone.identities.holders_of(SHARED))


async def test_a_joined_project_is_noted_as_it_is_at_last(world: tuple[SessionLedger, Clone]) -> None:
    ledger, clone = world
    renamed = replace(known(HERE), name="renamed")
    clone.meanwhile = [lambda: None, lambda: clone.identities.put(renamed)]

    joined = await join_project(ledger, clone, ADA, HERE)

    assert joined.project.project_id == SHARED
    assert clone.looks == 3
    assert [seen.project_id for seen in ledger.projects.known(ADA)] == [SHARED]


async def test_a_project_that_is_gone_after_all_is_an_error(world: tuple[SessionLedger, Clone]) -> None:
    ledger, clone = world
    clone.meanwhile = [clone.lose_its_config]

    with pytest.raises(JoinRefusedError, match="changed meanwhile"):
        await join_project(ledger, clone, ADA, HERE)

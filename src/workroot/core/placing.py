"""From what a search saw to the place it is: which project owns it, and under which id that is known.

1. An id in a usable config is a claim. If another repository has that id, was here first and still stands by
   it, this project gets a local id and a warning, until the user joins the two.
2. A config without an id, or none, or a broken one at the repository's root (an old branch, a merge conflict)
   leaves the project the id that the registry kept, and the name with it where the config gives none.
3. Else the id is local: derived from where the project is, so it is the same each time.

Worktrees of one repository are one project and never conflict. Two projects with one name are two projects.
Nothing here touches a disk: whether another repository still stands by its id is asked of the caller.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from workroot.core.identities import Identities
from workroot.core.projects import (
    ConfigProblem,
    Directory,
    KnownId,
    Place,
    Project,
    ProjectConfig,
    ProjectId,
    ProjectKey,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from workroot.core.discovery import Finding

__all__ = ["key_of", "place_of", "project_of", "rivals_of", "still_stands_by"]


def key_of(finding: Finding) -> ProjectKey | None:
    """Return what the project that a finding names is known by, whether its config is usable or not."""
    repository = finding.repository
    if repository is None:
        return ProjectKey("", finding.config.root) if finding.config is not None else None
    return ProjectKey(repository.common_directory, _below(_root_of(finding), repository.root))


def rivals_of(finding: Finding, identities: Identities) -> tuple[KnownId, ...]:
    """Return which others have the id that a finding's config claims; whether they stand by it is to be asked."""
    key, claimed = key_of(finding), _claimed_by(finding)
    if key is None or claimed is None:
        return ()
    own = identities.of(key)
    is_joined = own is not None and own.project_id == claimed and own.is_joined
    return tuple(
        holder
        for holder in identities.holders_of(claimed)
        if _is_elsewhere(holder.key, key) and not (is_joined and holder.is_joined)
    )


def still_stands_by(known: KnownId, seen: Finding | None, *, is_repository_there: bool) -> bool:
    """Tell whether a project that has an id would still get it.

    Args:
        known: the project, and the id.
        seen: what is found at its root now, or None if there is nothing.
        is_repository_there: its common directory exists.
    """
    if seen is not None and key_of(seen) == known.key:
        claimed = _claimed_by(seen)
        return claimed is None or claimed == known.project_id
    # A worktree comes and goes; the repository that it belonged to stays.
    return known.key.repository != "" and known.key.path == "" and is_repository_there


def place_of(
    finding: Finding,
    given: str,
    namespace: UUID,
    identities: Identities | None = None,
    still_claims: Callable[[KnownId], bool] = lambda _: True,
) -> Place:
    """Return the answer that a finding gives for the path *given*.

    Args:
        finding: what a search saw.
        given: the path as the caller spelled it.
        namespace: local ids derive from it, so another user's differ.
        identities: what the registry keeps; None: nothing is kept, and every claim holds.
        still_claims: tells of one of `rivals_of` whether it stands by its id.
    """
    key, found = key_of(finding), finding.config
    known = identities if identities is not None else Identities()
    named = _named(finding, key, namespace, known, still_claims) if key is not None else None
    content = found.content if found is not None else None
    warnings = named.warnings if named is not None else ()
    if found is not None and isinstance(content, ProjectConfig):
        warnings += tuple(_IGNORED.format(name, found.path) for name in content.ignored)
    place = Place(
        directory=finding.directory,
        given=given,
        project=None,
        config_path=found.path if found is not None else None,
        config_error=content if isinstance(content, ConfigProblem) else None,
        stopped_at=finding.stopped_at,
        stop=finding.stop,
        identities_seen=identities.revision if identities is not None else None,
        warnings=warnings,
    )
    if key is None or named is None:
        return place
    project = _project(finding, key, named)
    place = replace(place, project=project, key=key)
    if identities is None:
        return place
    return replace(place, known_id=_to_keep(key, project, identities.of(key)), displaced=named.displaced)


def project_of(finding: Finding, namespace: UUID) -> Project | None:
    """Return the project that a finding names by itself, without a registry, or None."""
    return place_of(finding, finding.directory, namespace).project


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    """How a project is known, and what that did to others and should tell people."""

    project_id: ProjectId
    name: str
    displaced: tuple[KnownId, ...] = ()
    warnings: tuple[str, ...] = ()


def _named(
    finding: Finding,
    key: ProjectKey,
    namespace: UUID,
    identities: Identities,
    still_claims: Callable[[KnownId], bool],
) -> _Named | None:
    """Return how the project is known; None if its config is broken and nobody knows it."""
    found, own, local = finding.config, identities.of(key), _local_id(namespace, key)
    if found is None or isinstance(found.content, ConfigProblem):
        return _named_without_config(finding, key, own, local)
    config = found.content
    if config.project_id is None:
        return _Named(project_id=own.project_id if own is not None else local, name=config.name)
    rivals = rivals_of(finding, identities)
    if any(still_claims(rival) for rival in rivals):
        conflict = _CONFLICT.format(config.project_id, found.path, found.root)
        return _Named(project_id=local, name=config.name, warnings=(conflict,))
    displaced = tuple(replace(gone, project_id=_local_id(namespace, gone.key), is_joined=False) for gone in rivals)
    return _Named(project_id=config.project_id, name=config.name, displaced=displaced)


def _named_without_config(finding: Finding, key: ProjectKey, own: KnownId | None, local: ProjectId) -> _Named | None:
    """Return what the registry kept of a repository whose config is missing or broken, or else its own name."""
    repository = finding.repository
    if repository is None or key.path:
        return None
    if own is not None:
        has_had_one = (own.project_id, own.name) != (local, repository.name)
        is_missing = has_had_one and finding.config is None
        warnings = (_MISSING.format(repository.root),) if is_missing else ()
        return _Named(project_id=own.project_id, name=own.name, warnings=warnings)
    return _Named(project_id=local, name=repository.name) if finding.config is None else None


def _project(finding: Finding, key: ProjectKey, named: _Named) -> Project:
    found, repository = finding.config, finding.repository
    worktree_of = None
    if repository is not None and repository.main_root is not None:
        worktree_of = _join(repository.main_root, key.path)
    return Project(
        project_id=named.project_id,
        name=named.name,
        root=_root_of(finding),
        worktree_of=worktree_of,
        config_path=found.path if found is not None else None,
        config=found.content if found is not None and isinstance(found.content, ProjectConfig) else None,
    )


def _to_keep(key: ProjectKey, project: Project, own: KnownId | None) -> KnownId | None:
    """Return what the registry has to keep of a project, or None if it keeps that."""
    if own is None or own.project_id != project.project_id:
        return KnownId(key=key, project_id=project.project_id, name=project.name, root=project.root)
    # Worktrees may name the project differently; it must not be written anew at each step from one to the other.
    return replace(own, name=project.name) if own.root == project.root and own.name != project.name else None


def _root_of(finding: Finding) -> Directory:
    """Return the root of the project that a finding names; it names one."""
    if finding.config is not None:
        return finding.config.root
    return finding.repository.root if finding.repository is not None else finding.directory


def _claimed_by(finding: Finding) -> ProjectId | None:
    content = finding.config.content if finding.config is not None else None
    return content.project_id if isinstance(content, ProjectConfig) else None


def _is_elsewhere(one: ProjectKey, other: ProjectKey) -> bool:
    """Tell whether two keys are of different repositories; outside of them, of different roots."""
    return one != other if not one.repository else one.repository != other.repository


def _local_id(namespace: UUID, key: ProjectKey) -> ProjectId:
    where = f"repository:{key.repository}\0{key.path}" if key.repository else f"directory:{key.path}"
    return ProjectId(str(uuid5(namespace, where)))


def _below(directory: Directory, top: Directory) -> str:
    """Return the way from *top* down to *directory*; empty if they are the same."""
    return directory[len(top) :].lstrip("/")


def _join(top: Directory, below: str) -> Directory:
    return Directory(f"{top.rstrip('/')}/{below}") if below else top


_CONFLICT = (
    "id_conflict: another repository has the id {} that {} claims, and had it first, so this project has an id of "
    "its own; if the two are one project, run `workroot projects join` in {}, else give this one another id"
)
_MISSING = "the config of the project in {} is missing; the project keeps the id and the name that it had"
_IGNORED = "{} in {} has no effect"

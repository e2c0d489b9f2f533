"""From what a search saw to the place it is: which project owns it, and under which id that is known.

1. An id in a usable config is a claim. If another repository has that id, was here first and still stands by
   it, this project gets a local id and a warning, until the user joins the two.
2. A config without an id, or none, or a broken one at the repository's root (an old branch, a merge conflict)
   leaves the project the id that the registry kept, and the name with it where the config gives none.
3. Else the id is local: derived from where the project is, so it is the same each time.

What is kept is of the very directory that was seen (`standing.py`): another one at its path inherits nothing.

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
from workroot.core.standing import (
    claimed_by,
    inherited_by,
    is_gone,
    key_of,
    marker_of,
    node_of,
    other_tops,
    root_of,
    settled,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from workroot.core.discovery import Finding

__all__ = ["paths_to_ask", "place_of", "project_of", "rivals_of"]


def rivals_of(finding: Finding, identities: Identities) -> tuple[KnownId, ...]:
    """Return which others have the id that a finding's config claims; whether they stand by it is to be asked."""
    key, claimed = key_of(finding), claimed_by(finding)
    if key is None or claimed is None:
        return ()
    own = inherited_by(finding, identities)
    is_joined = own is not None and own.project_id == claimed and own.is_joined
    return tuple(
        holder
        for holder in identities.holders_of(claimed)
        if _is_elsewhere(holder.key, key) and not (is_joined and holder.is_joined)
    )


def place_of(
    finding: Finding,
    given: str,
    namespace: UUID,
    identities: Identities | None = None,
    still_claims: Callable[[KnownId], bool] = lambda _: True,
    *,
    is_there: Callable[[str], bool] = lambda _: True,
) -> Place:
    """Return the answer that a finding gives for the path *given*.

    Args:
        finding: what a search saw.
        given: the path as the caller spelled it.
        namespace: local ids derive from it, so another user's differ.
        identities: what the registry keeps; None: nothing is kept, and every claim holds.
        still_claims: tells of one of `rivals_of` whether it stands by its id.
        is_there: tells of one of `paths_to_ask` whether it exists.
    """
    known = identities if identities is not None else Identities()
    finding, is_taken = settled(finding, identities, is_there)
    key, found = key_of(finding), finding.config
    named = _named(finding, key, namespace, known, still_claims) if key is not None else None
    content = found.content if found is not None else None
    warnings = named.warnings if named is not None else ()
    if is_taken:
        warnings += (_TAKEN.format(root_of(finding)),)
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
    return replace(place, known_id=_to_keep(finding, key, project, identities, is_there), displaced=named.displaced)


def paths_to_ask(finding: Finding, identities: Identities) -> tuple[str, ...]:
    """Return the paths whose existence an answer depends on besides what was found."""
    tops = tuple(marker_of(top) for top in other_tops(finding, identities))
    found = settled(finding, identities)[0] if not tops else finding
    own = inherited_by(found, identities)
    return tops if own is None or own.root == root_of(found) else (*tops, own.root)


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
    found, own, local = finding.config, inherited_by(finding, identities), _local_id(namespace, key)
    if found is None or isinstance(found.content, ConfigProblem):
        return _named_without_config(finding, key, own, local)
    config = found.content
    if config.project_id is None:
        return _Named(project_id=own.project_id if own is not None else local, name=config.name)
    rivals = rivals_of(finding, identities)
    if any(_is_named_by(finding, rival) or still_claims(rival) for rival in rivals):
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
        root=root_of(finding),
        worktree_of=worktree_of,
        config_path=found.path if found is not None else None,
        config=found.content if found is not None and isinstance(found.content, ProjectConfig) else None,
    )


def _to_keep(
    finding: Finding, key: ProjectKey, project: Project, identities: Identities, is_there: Callable[[str], bool]
) -> KnownId | None:
    """Return what the registry has to keep of a project, or None if it keeps that."""
    if is_gone(finding):
        return None
    before, own, node = identities.of(key), inherited_by(finding, identities), node_of(finding)
    if own is None or own.project_id != project.project_id:
        return KnownId(key=key, project_id=project.project_id, name=project.name, root=project.root, node=node)
    # Worktrees may name the project differently; it must not be written anew at each step from one to the other.
    if own.root == project.root or not is_there(own.root):
        own = replace(own, name=project.name, root=project.root)
    if own.node is None or not own.is_of(node):
        own = replace(own, node=node)
    return own if own != before else None


def _is_named_by(finding: Finding, rival: KnownId) -> bool:
    """Tell whether a rival is of the repository that a finding names, unconfirmed; nothing is taken from that one."""
    named = finding.repository.named if finding.repository is not None else None
    return named is not None and named.common_directory == rival.key.repository


def _is_elsewhere(one: ProjectKey, other: ProjectKey) -> bool:
    """Tell whether two keys are of different repositories; outside of them, of different roots."""
    return one != other if not one.repository else one.repository != other.repository


def _local_id(namespace: UUID, key: ProjectKey) -> ProjectId:
    where = f"repository:{key.repository}\0{key.path}" if key.repository else f"directory:{key.path}"
    return ProjectId(str(uuid5(namespace, where)))


def _join(top: Directory, below: str) -> Directory:
    return Directory(f"{top.rstrip('/')}/{below}") if below else top


_CONFLICT = (
    "id_conflict: another repository has the id {} that {} claims, and had it first, so this project has an id of "
    "its own; if the two are one project, run `workroot projects join` in {}, else give this one another id"
)
_MISSING = "the config of the project in {} is missing; the project keeps the id and the name that it had"
_TAKEN = (
    "the git directory that {} names is another checkout's, too, and says of none that it is its own, so this project "
    "has an id of its own; if it is the right one, set `core.worktree` there"
)
_IGNORED = "{} in {} has no effect"

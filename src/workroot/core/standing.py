"""What a project is known by, and whether what is kept of it still is about what is there.

A path is not enough: another repository may come to lie where one was, and anybody's `.git` file can name any
repository. So what is kept says which directory it was, and what a repository does not confirm has to be known already.

Nothing here touches a disk: what has to be looked at is said to the caller, who asks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workroot.core.projects import Directory, DirectoryNode, KnownId, ProjectConfig, ProjectId, ProjectKey, Repository

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from workroot.core.discovery import Finding
    from workroot.core.identities import Identities

__all__ = [
    "claimed_by",
    "inherited_by",
    "is_gone",
    "key_of",
    "marker_of",
    "node_of",
    "other_tops",
    "root_of",
    "roots_to_ask",
    "settled",
    "still_stands_by",
]


def key_of(finding: Finding) -> ProjectKey | None:
    """Return what the project that a finding names is known by, whether its config is usable or not."""
    repository = finding.repository
    if repository is None:
        return ProjectKey("", finding.config.root) if finding.config is not None else None
    return ProjectKey(repository.common_directory, _below(root_of(finding), repository.root))


def root_of(finding: Finding) -> Directory:
    """Return the root of the project that a finding names; it names one."""
    if finding.config is not None:
        return finding.config.root
    return finding.repository.root if finding.repository is not None else finding.directory


def node_of(finding: Finding) -> DirectoryNode | None:
    """Return what tells the project that a finding names from another one at its path."""
    return finding.repository.node if finding.repository is not None else finding.root_node


def claimed_by(finding: Finding) -> ProjectId | None:
    """Return the id that a finding's config claims, or None."""
    content = finding.config.content if finding.config is not None else None
    return content.project_id if isinstance(content, ProjectConfig) else None


def other_tops(finding: Finding, identities: Identities) -> tuple[Directory, ...]:
    """Return where else the repository lives that a finding cannot prove to be its own; () if it may have it."""
    repository = finding.repository
    if repository is None or not repository.is_silent:
        return ()
    tops = identities.tops_of(repository.common_directory)
    return () if repository.root in tops else tuple(sorted(tops))


def settled(
    finding: Finding, identities: Identities | None, is_there: Callable[[str], bool] = lambda _: True
) -> tuple[Finding, bool]:
    """Return a finding with the repository that it is taken to be in, and whether another has the one it names.

    Args:
        finding: what a search saw.
        identities: what the registry keeps, or None.
        is_there: tells of the `.git` of one of `other_tops` whether it exists.
    """
    repository = finding.repository
    if repository is None:
        return finding, False
    if repository.named is not None and _is_known_to_be_of(repository.named, identities):
        return replace(finding, repository=repository.named), False
    tops = other_tops(finding, identities) if identities is not None else ()
    if not any(is_there(marker_of(top)) for top in tops):
        return finding, False
    own = Repository(
        root=repository.root,
        name=repository.root.rpartition("/")[2] or "/",
        common_directory=Directory(marker_of(repository.root)),
    )
    return replace(finding, repository=own), True


def marker_of(top: Directory) -> str:
    """Return where the top directory of a checkout says that it is one."""
    return f"{top.rstrip('/')}/.git"


def inherited_by(finding: Finding, identities: Identities) -> KnownId | None:
    """Return what the registry kept of the very project that a finding names, or None."""
    key = key_of(finding)
    own = identities.of(key) if key is not None else None
    if own is not None:
        return own if own.project_id == claimed_by(finding) or own.is_of(node_of(finding)) else None
    if key is None or not key.repository:
        return None
    # A directory that became a repository, or a part of one, is the project that it was.
    before = identities.of(ProjectKey("", root_of(finding)))
    if before is None or not before.is_of(finding.root_node):
        return None
    return replace(before, key=key, node=node_of(finding))


def roots_to_ask(known: KnownId, identities: Identities) -> tuple[Directory, ...]:
    """Return where a project that is kept may be found, the likeliest first: its checkouts that are known."""
    key = known.key
    if not key.repository:
        return (known.root,)
    tops = sorted(identities.tops_of(key.repository))
    if key.repository.endswith("/.git"):
        tops.insert(0, Directory(key.repository.removesuffix("/.git") or "/"))
    roots = (Directory(f"{top.rstrip('/')}/{key.path}") if key.path else top for top in tops)
    return tuple(dict.fromkeys((known.root, *roots)))


def still_stands_by(known: KnownId, seen: Iterable[Finding], *, is_repository_there: bool) -> bool:
    """Tell whether a project that has an id would still get it.

    Args:
        known: the project, and the id.
        seen: what is found now at those of `roots_to_ask` that exist.
        is_repository_there: its common directory exists, and is the one that was known.
    """
    there = [finding for finding in seen if key_of(finding) == known.key and not is_gone(finding)]
    for finding in there:
        if (claimed := claimed_by(finding)) is not None:
            return claimed == known.project_id
    # Worktrees and branches come and go; the repository that they belong to stays.
    if known.key.repository:
        return is_repository_there
    return any(known.is_of(finding.root_node) for finding in there)


def _is_known_to_be_of(named: Repository, identities: Identities | None) -> bool:
    """Tell whether a level that names a repository is taken to be that one's.

    Of one that is gone nothing can be taken, and nothing is kept: a worktree whose main checkout went is what it was.
    """
    if identities is None:
        return named.is_gone
    tops = identities.tops_of(named.common_directory)
    return named.root in tops or (named.is_gone and bool(tops))


def is_gone(finding: Finding) -> bool:
    """Tell whether the repository that a finding is taken to be in exists no more."""
    return finding.repository is not None and finding.repository.is_gone


def _below(directory: Directory, top: Directory) -> str:
    """Return the way from *top* down to *directory*; empty if they are the same."""
    return directory[len(top) :].lstrip("/")

"""A search for the project that owns a directory in words: level by level, for people who ask why.

The lines hold what repositories chose, as they chose it: whoever shows them escapes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workroot.core.projects import ConfigProblem, StopReason

if TYPE_CHECKING:
    from workroot.core.discovery import Finding, Rules
    from workroot.core.projects import Directory

__all__ = ["explain_walk"]

_ENDED = {
    StopReason.CONFIG: "a config decides, whether it can be used or not",
    StopReason.REPOSITORY: "a version-control root ends the search",
    StopReason.FILESYSTEM_ROOT: "this is the top of the file system",
    StopReason.MOUNT: "{barrier} is on another device, which ends the search",
    StopReason.OWNER: "{barrier} belongs to another user or others may write there, which ends the search unless it "
    "is one of your trusted_directories",
    StopReason.HOME: "the home directory ends the search",
    StopReason.DEPTH: "the search ends after so many levels",
}

_TRUSTED = " (in one of your trusted_directories: its owner does not count)"


def explain_walk(finding: Finding, rules: Rules | None = None) -> tuple[str, ...]:
    """Return each level of a search with what was found there, nearest first, and last why it ended.

    Args:
        rules: those of the search, to tell which levels are in directories that the user trusts.
    """
    lines = [
        f"{level}: {_seen_at(finding, level)}{_TRUSTED if rules is not None and rules.is_trusted(level) else ''}"
        for level in finding.levels
    ]
    if finding.barrier is not None:
        lines.append(f"{finding.barrier}: not looked into")
    numbered = [f"{number}. {line}" for number, line in enumerate(lines, start=1)]
    return (*numbered, f"=> {finding.stopped_at}: {_ended(finding)}")


def _seen_at(finding: Finding, level: Directory) -> str:
    config, repository = finding.config, finding.repository
    seen = []
    if config is not None and level == config.root:
        name = f"the config {config.path.removeprefix(level.rstrip('/') + '/')}"
        problem = config.content if isinstance(config.content, ConfigProblem) else None
        seen.append(f"{name} cannot be used: {_fault(problem)}" if problem else f"{name} is the project's")
    if repository is not None and level == repository.root:
        of = f", a worktree of {repository.main_root}" if repository.main_root else ""
        is_bare = repository.common_directory == repository.root
        seen.append("a bare repository" if is_bare else f"a version-control root{of}")
    is_above_config = config is not None and len(level) < len(config.root)
    return " and ".join(seen) or ("not a version-control root" if is_above_config else "nothing")


def _fault(problem: ConfigProblem) -> str:
    where = [f"line {problem.line}"] if problem.line is not None else []
    where += [problem.field] if problem.field is not None else []
    return ": ".join([*([", ".join(where)] if where else []), problem.problem])


def _ended(finding: Finding) -> str:
    return _ENDED[finding.stop].format(barrier=finding.barrier)

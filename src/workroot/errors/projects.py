"""Directories, the projects that own them, and what both refuse."""

from __future__ import annotations

from workroot.errors.tree import WorkrootError

TYPE_CHECKING = False  # not from typing: as in `tree`
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ConfigError",
    "DirectoryError",
    "DryRunError",
    "JoinRefusedError",
    "MoveRefusedError",
    "ProjectNeededError",
    "ProjectUnknownError",
    "StrictModeError",
]


class DirectoryError(WorkrootError):
    """A directory cannot be worked in; nothing was changed.

    The texts before the first full stop are those that users of earlier systems know.
    """

    code = "invalid_directory"

    def __init__(self, directory: str, problem: str) -> None:
        self.directory, self.problem = directory, problem
        super().__init__(f"{problem}: {directory}")


class ConfigError(WorkrootError):
    """A project's config cannot be used.

    Attributes:
        path: the file.
        line: 1-based line of the fault, or None where the format gives none.
        field: dotted name of the faulty field, or None for a syntax error.
        problem: what is wrong; never holds the file's content.
    """

    code = "invalid_config"

    def __init__(self, path: str, problem: str, *, line: int | None = None, field: str | None = None) -> None:
        self.path, self.problem, self.line, self.field = path, problem, line, field
        where = f"{path}:{line}" if line is not None else path
        super().__init__(f"{where}: {f'{field}: ' if field else ''}{problem}")


class ProjectUnknownError(WorkrootError):
    """What was asked for names no known project, or more than one.

    Attributes:
        candidates: projects to choose from, each as name, id and root.
        is_ambiguous: all of them have the name or id asked for.
    """

    code = "unknown_project"

    def __init__(
        self, wanted: str, candidates: Sequence[tuple[str, str, str]] = (), *, is_ambiguous: bool = False
    ) -> None:
        self.wanted, self.candidates, self.is_ambiguous = wanted, tuple(candidates), is_ambiguous
        known = "; ".join(f"{name} at {root} (id {project_id})" for name, project_id, root in self.candidates)
        if is_ambiguous:
            text = f"several known projects have the id or name {wanted[:200]!r}, name one by its root: {known}"
        else:
            some = f", for example {known}" if known else ""
            text = f"no known project has the id, name or root {wanted[:200]!r}; list_projects shows all{some}"
        super().__init__(text)


class JoinRefusedError(WorkrootError):
    """A project cannot be joined with others; nothing was changed."""

    code = "cannot_join"

    def __init__(self, directory: str, problem: str) -> None:
        self.directory = directory
        super().__init__(f"{directory} cannot be joined with another project: {problem}")


class ProjectNeededError(WorkrootError):
    """A call needs a project, and it is not known in which one its caller works; nothing was done.

    Attributes:
        candidates: directories to choose from.
    """

    code = "project_needed"

    def __init__(self, why: str, candidates: Sequence[str] = ()) -> None:
        self.candidates = tuple(candidates)
        among = f", for example one of: {'; '.join(candidates)}" if candidates else ""
        super().__init__(f"this needs a project, and {why}; call set_working_directory(directory=ABSOLUTE PATH){among}")


class DryRunError(WorkrootError):
    """A project with `dry_run` was to be entered: that is reported, and nothing was done."""

    code = "dry_run"


class StrictModeError(WorkrootError):
    """A project with `strict_mode` answers only for directories inside its root; nothing was done."""

    code = "strict_mode"

    def __init__(self, directory: str, project: str, root: str) -> None:
        self.directory = directory
        super().__init__(
            f"project {project!r} has strict_mode on and answers only for directories inside {root}, "
            f"not for {directory}; move there with set_working_directory if that is meant"
        )


class MoveRefusedError(WorkrootError):
    """The user's settings do not let an argument reach this directory; nothing was done.

    Attributes:
        candidates: directories that it may reach.
    """

    code = "move_refused"

    def __init__(self, directory: str, setting: str, candidates: Sequence[str] = ()) -> None:
        self.directory, self.candidates = directory, tuple(candidates)
        within = {"known": "projects that are known already", "roots": "what your client itself names"}[setting]
        allowed = f": {'; '.join(candidates)}" if candidates else ""
        super().__init__(
            f"{directory} is out of reach: the user's setting model_may_move = {setting!r} allows only "
            f"{within}{allowed}; ask the user to open the project in the client, or to change the setting"
        )

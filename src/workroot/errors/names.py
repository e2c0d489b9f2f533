"""Names that cannot be: ids in a form that nobody knows, and paths with an empty part."""

from __future__ import annotations

from workroot.errors.tree import WorkrootError

__all__ = ["GridPathError", "IdFormatError"]


class GridPathError(WorkrootError, ValueError):
    """A part of a grid path is missing; no path was made."""

    code = "invalid_grid_path"


class IdFormatError(WorkrootError, ValueError):
    """Ids cannot have this form, or nobody knows it; none was made."""

    code = "invalid_id_format"

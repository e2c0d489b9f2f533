"""The root of the tree of errors."""

from __future__ import annotations

TYPE_CHECKING = False  # not from typing: the connector must be able to import this in no time
if TYPE_CHECKING:
    from typing import ClassVar

__all__ = ["WorkrootError"]


class WorkrootError(Exception):
    """The root of the tree: catch this to catch all that workroot raises on purpose.

    Attributes:
        code: stable name of the kind of error, for programs.
    """

    code: ClassVar[str] = "workroot_error"

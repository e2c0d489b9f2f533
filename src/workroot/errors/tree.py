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

    def __reduce__(self) -> tuple[object, ...]:
        """Be copied and pickled as it is: by default it would be made anew from its message, in place of its facts."""
        return _as_it_was, (type(self), self.args), self.__dict__


def _as_it_was(kind: type[WorkrootError], args: tuple[object, ...]) -> WorkrootError:
    error = kind.__new__(kind)
    error.args = args
    return error

"""The arguments of one operation: each is taken once, as what it has to be, before anything is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from workroot import __version__
from workroot.errors import WorkrootError
from workroot.wire_values.codec import TEXT, Codec, optional

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from workroot.core.sessions import Owner

__all__ = ["MAYBE_TEXT", "ArgumentRefusedError", "Given", "Operation", "UnknownOperationError"]

T = TypeVar("T")

MAYBE_TEXT = optional(TEXT)
"""Text, or None."""


class ArgumentRefusedError(WorkrootError):
    """An argument of an operation is missing, unknown, or not what it has to be; nothing was done."""

    code = "invalid_request"


class UnknownOperationError(WorkrootError):
    """This daemon cannot do that with sessions; a newer one may."""

    code = "unknown_operation"

    def __init__(self, operation: str) -> None:
        super().__init__(f"this daemon ({__version__}) has no operation {operation[:80]!r} of sessions")


class Given:
    """The arguments of one call; each is taken once, as what it has to be."""

    def __init__(self, operation: str, arguments: Mapping[str, object]) -> None:
        self._operation, self._left = operation, dict(arguments)

    def take(self, name: str, codec: Codec[T]) -> T:
        """Return an argument.

        Raises:
            ArgumentRefusedError: it is missing, or not what *codec* reads.
        """
        if name not in self._left:
            raise ArgumentRefusedError(f"{self._operation} needs the argument {name!r}")
        try:
            return codec.read(self._left.pop(name), name)
        except (TypeError, ValueError) as error:
            raise ArgumentRefusedError(f"{self._operation}: {error}") from None

    def take_or(self, name: str, codec: Codec[T], default: T) -> T:
        """Return the same, or *default* where it was left out."""
        return self.take(name, codec) if name in self._left else default

    def text(self, name: str) -> str:
        """Return an argument that is text."""
        return self.take(name, TEXT)

    @property
    def user_id(self) -> str | None:
        """The acting user; None is the program itself."""
        return self.take_or("user_id", MAYBE_TEXT, None)

    def check_all_taken(self) -> None:
        """Refuse the call if an argument is left that nobody asked for.

        Raises:
            ArgumentRefusedError: there is one.
        """
        if self._left:
            name = next(iter(self._left))[:80]
            raise ArgumentRefusedError(f"{self._operation} has no argument {name!r} in workroot {__version__}")


class Operation(NamedTuple, Generic[T]):
    """How one operation is done.

    Attributes:
        begin: takes the arguments, and returns what does it; nothing happens before that is awaited.
        answer: how its result crosses.
    """

    begin: Callable[[Owner, Given], Coroutine[Any, Any, T]]
    answer: Codec[T]

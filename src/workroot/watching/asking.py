"""Questions to the disk that may never be answered, asked in threads that may be lost.

A directory that did not answer in time is left alone for a minute, and with it whatever lies below it; the others
are asked all the same. The event loop never waits for a disk here.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Generic, TypeVar

import anyio

from workroot.project_finder.file_pool import FilePool, NoAnswerError
from workroot.project_finder.mounts import Mount, MountTable, mount_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workroot.project_finder.file_pool import Touch

__all__ = ["Asker"]

LEFT_ALONE_SECONDS = 60.0

T = TypeVar("T")


class Asker:
    """Asks about directories, one group of them at a time.

    Args:
        mounts: which mounts may hang; None stands for this system's.
        pool: where is asked; None stands for one of its own.
    """

    def __init__(self, mounts: MountTable | None = None, pool: FilePool | None = None) -> None:
        self._mounts = mounts if mounts is not None else mount_table()
        self._pool = pool if pool is not None else FilePool(breaker_seconds=LEFT_ALONE_SECONDS)
        self._turn = anyio.Lock()
        self._groups = itertools.count()

    @property
    def is_busy(self) -> bool:
        """Whether a question asked now would wait for another one."""
        return self._turn.locked()

    async def ask(self, question: Callable[[str], T], directories: Sequence[str]) -> dict[str, T]:
        """Return the answers, in the order of the directories; those are missing of which there was none.

        Directories on mounts that may hang are not asked.

        Args:
            question: does file calls and nothing else, and raises nothing; runs in a thread.
            directories: a few dozen, so that together they answer at once.
        """
        async with self._turn:
            mounts = self._mounts.current()
            left = sorted(each for each in directories if mounts.touched_by(each) is None)
            answers: dict[str, T] = {}
            while left:
                group = _Group(question, left)
                try:
                    await self._pool.run(Mount("", str(next(self._groups))), group)
                except NoAnswerError:
                    left = group.left_after_the_silent_one()
                else:
                    left = []
                answers |= group.answers_so_far()
        return {each: answers[each] for each in directories if each in answers}


class _Group(Generic[T]):
    """Asks one directory after the other, in a thread; the pool is told which, as if each were a mount.

    Args:
        question: see `Asker.ask`.
        directories: sorted, so that what lies below another comes after it.
    """

    def __init__(self, question: Callable[[str], T], directories: Sequence[str]) -> None:
        self._question, self._directories = question, directories
        self._answers: dict[str, T] = {}
        self._asked: str | None = None
        self._is_given_up = False

    def __call__(self, touch: Touch) -> None:
        silent: tuple[str, ...] = ()
        for directory in self._directories:
            if f"{directory}/".startswith(silent):
                continue
            try:
                touch(Mount(directory))
            except NoAnswerError:
                silent += (f"{directory}/",)
                continue
            self._asked = directory
            answer = self._question(directory)
            if self._is_given_up:
                return
            self._answers[directory] = answer

    def answers_so_far(self) -> dict[str, T]:
        """Return the answers; for the event loop, as is what follows."""
        self._is_given_up = True
        return self._answers.copy()

    def left_after_the_silent_one(self) -> list[str]:
        """Return whom to ask in another thread; nobody if there was none to ask."""
        if (silent := self._asked) is None:
            return []
        return [each for each in self._directories if each > silent and not each.startswith(f"{silent}/")]

"""`workroot export` and `workroot import`: all that the daemon holds, as one file, and back.

An archive is read twice: nothing is imported before its last line has been found to be right.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import click

from workroot.cli.answers import number, row
from workroot.cli.archive_access import open_archive
from workroot.cli.output import json_option, print_json, print_line, print_note
from workroot.errors import WorkrootError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from workroot.archive.records import HeadRecord
    from workroot.cli.answers import Row
    from workroot.cli.archive_access import HeldArchive

__all__ = ["export", "import_archive"]

_PAGE_LINES = 200  # a page is kept in one commit
_PAGE_LENGTH = 128 * 1024  # characters; a request has to stay below 1 MiB, whatever is escaped
_IN_MEMORY_BYTES = 4 * 1024 * 1024  # of what comes through a pipe; more of it waits in a temporary file

_NAMES = {
    "session": "sessions",
    "ended": "ended sessions",
    "allocation": "allocated sessions",
    "alias": "names of sessions",
    "connection": "conversations",
    "ended_alias": "ended conversations",
    "project": "projects",
    "project_id": "project ids",
}


def _path_moves(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    moves = [tuple(value.split("=", 1)) for value in values]
    for move in moves:
        if len(move) != 2 or not all(path.startswith("/") for path in move):
            raise click.BadParameter("two absolute paths are needed: OLD=NEW", context, parameter)
    return tuple((old, os.path.realpath(new)) for old, new in moves)  # as sessions have their directories


@click.command(epilog="\b\nExample:\n  workroot export -o workroot.jsonl")
@click.option(
    "-o", "--output", metavar="FILE", help="Write this file, which only you can read, instead of standard output."
)
def export(output: str | None) -> None:
    """Write all that the daemon holds as JSON lines.

    `workroot import` takes them over, here or on another machine: sessions with their handles, how sessions ended,
    known projects and their ids. What you trust and your tokens are not in it. A running daemon goes on meanwhile.
    """
    with open_archive(is_read_only=True) as archive:
        if output is None or output == "-":
            _write(archive, sys.stdout.buffer)
            return
        with _opened(output) as file:
            lines = _write(archive, file)
    print_note(f"wrote {lines} lines to {output}; whoever reads it can pass the handles of your sessions")


@click.command("import", epilog="\b\nExample:\n  workroot import workroot.jsonl --move /home/ada=/Users/ada")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--move",
    "moves",
    multiple=True,
    metavar="OLD=NEW",
    callback=_path_moves,
    help="What lay in the directory OLD lies in NEW here; may be given several times.",
)
@json_option
def import_archive(file: IO[bytes], moves: tuple[tuple[str, str], ...], as_json: bool) -> None:
    """Take over what `workroot export` wrote.

    FILE `-` is standard input. What is here already stays as it is, so a second time changes nothing. Nothing is
    imported from a file that is not right to its last line. A running daemon goes on meanwhile.
    """
    from workroot.archive.document import check_archive, read_body
    from workroot.archive.moving import Moving
    from workroot.archive.records import encode
    from workroot.identity import os_owner

    name = file.name if isinstance(file.name, str) else "standard input"
    taken: Counter[str] = Counter()
    known: Counter[str] = Counter()
    with _rewindable(file) as whole:
        head: HeadRecord = check_archive(whole, name)
        whole.seek(0)
        moving = Moving((head.principal, os_owner().principal), moves)
        records = map(moving.moved, read_body(whole, name))
        with open_archive() as archive:
            try:
                for page in _pages(map(encode, records)):
                    answer = archive.take_in(page)
                    _add(taken, row(answer, "taken"))
                    _add(known, row(answer, "known"))
            except WorkrootError:
                if taken or known:
                    print_note(
                        f"{taken.total()} records were imported before that; the same command goes on from there"
                    )
                raise
            remark = archive.remark()
    _report(taken, known, as_json)
    if remark is not None:
        print_note(f"workroot: {remark}; what was imported is lost if the daemon ends before")


def _write(archive: HeldArchive, file: IO[bytes]) -> int:
    count = 0
    for line in archive.lines():
        file.write(line.encode() + b"\n")
        count += 1
    file.flush()
    return count


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    """Yield what to write to: a new file in the place of a plain one, and a pipe or a device as it is.

    Raises:
        OSError: nobody may write there; nothing was changed.
    """
    try:
        there = os.open(path, os.O_WRONLY | os.O_CLOEXEC)  # the system says, too, whether a link may be followed here
    except FileNotFoundError:
        there = None
    if there is not None and not stat.S_ISREG(os.fstat(there).st_mode):
        with os.fdopen(there, "wb") as file:
            yield file
        return
    if there is not None:
        os.close(there)
    with _replaced(os.path.realpath(path)) as file:
        yield file


@contextmanager
def _replaced(path: str) -> Iterator[IO[bytes]]:
    """Yield a file that takes the place of *path* when all of it is on the disk, and never before."""
    directory, name = os.path.split(path)
    with tempfile.NamedTemporaryFile(dir=directory, prefix=f".{name}.", delete=False) as file:  # only its user reads it
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, os.path.join(directory, name))
        except BaseException:
            os.unlink(file.name)
            raise


@contextmanager
def _rewindable(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """Yield a file that can be read twice, as a pipe cannot."""
    if file.seekable():
        yield file
        return
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as copy:
        shutil.copyfileobj(file, copy)
        copy.seek(0)
        yield copy


def _pages(lines: Iterable[str]) -> Iterator[list[str]]:
    page: list[str] = []
    length = 0
    for line in lines:
        if page and (len(page) == _PAGE_LINES or length + len(line) > _PAGE_LENGTH):
            yield page
            page, length = [], 0
        page.append(line)
        length += len(line)
    if page:
        yield page


def _add(counts: Counter[str], more: Row | None) -> None:
    for kind in more or ():
        counts[kind] += int(number(more or {}, kind) or 0)


def _report(taken: Counter[str], known: Counter[str], as_json: bool) -> None:
    if as_json:
        print_json({"imported": dict(taken), "left_as_they_were": dict(known)})
        return
    for kind, name in _NAMES.items():
        if taken[kind] or known[kind]:
            here = f", {known[kind]} left as they were" if known[kind] else ""
            print_line(f"{name}: {taken[kind]} imported{here}")
    if not taken and not known:
        print_line("the archive is empty")

"""Mutation testing: makes a sample of small faults, one at a time, and looks whether the tests notice.

Exits with 0 if at least 80 % were killed, with 1 if not, with 2 if nothing can be said: the tests fail without any
fault, too. Works on copies of the tree. The same seed and the same code give the same sample.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Literal, NamedTuple

from mutants_areas import AREAS, Area, area_of
from mutants_places import Mutant, Place, places_of
from tree_copies import ROOT, TreeCopy, library_of

GOAL = 0.8
SLACK_SECONDS = 20.0  # beside three times what the tests need without a fault, for a machine that is busy
LIBRARY = library_of(ROOT / ".venv" / "bin" / "python")

Fate = Literal["killed", "hung", "survived", "stillborn"]


class Judged(NamedTuple):
    """What became of a mutant. A stillborn one cannot even be imported: it does not count."""

    area: str
    mutant: Mutant
    fate: Fate


@dataclass(frozen=True)
class Job:
    """A mutant for a worker."""

    area: str
    mutant: Mutant
    tests: tuple[str, ...]
    seconds: float


def main() -> None:
    """Draw, judge, tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the sample (default 1)")
    parser.add_argument("--count", type=int, default=200, help="mutants over all areas (default 200)")
    parser.add_argument("--only", choices=[area.name for area in AREAS], help="this area only")
    parser.add_argument("--module", help="this module only: its path, as src/workroot/core/pins.py")
    parser.add_argument("--minutes", type=float, default=30, help="begin no mutant after that (default 30)")
    parser.add_argument("--workers", type=int, default=2, help="mutants judged at a time (default 2)")
    options = parser.parse_args()
    until = time.monotonic() + options.minutes * 60
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the copies are removed then, too
    with tempfile.TemporaryDirectory(prefix="workroot-mutants-") as directory:
        source = TreeCopy(Path(directory) / "source", LIBRARY).top  # as it is now: others may go on writing
        areas = _chosen(source, options.only, options.module)
        queues = {area.name: _queue(area, source, modules, options.seed) for area, modules in areas}
        places = {name: len(queue) for name, queue in queues.items()}
        shares = _shares(places, options.count)
        pool = ProcessPoolExecutor(options.workers, initializer=_start_worker, initargs=(source,))
        try:
            judged = list(_Judge(pool, source, [area for area, _ in areas]).judge(queues, shares, until))
        finally:
            pool.shutdown(cancel_futures=True)  # one that is being judged is judged
    _tell(judged, places, options.seed)
    complete = sum(shares.values()) == sum(each.fate != "stillborn" for each in judged)
    if not complete:
        print("the time was over before the sample was through, or there are not that many mutants")
    sys.exit(0 if _score(judged) >= GOAL else 1)


def _chosen(source: Path, only: str | None, module: str | None) -> list[tuple[Area, list[str]]]:
    if module is None:
        return [(area, area.modules_in(source)) for area in AREAS if only in (None, area.name)]
    path = str(Path(module).resolve().relative_to(ROOT))
    area = area_of(path, source)
    if area is None:
        raise SystemExit(f"{module} belongs to no area; see scripts/mutation/mutants_areas.py")
    return [(area, [path])]


def _queue(area: Area, source: Path, modules: Iterable[str], seed: int) -> list[Place]:
    """Return the places of an area in the order in which they are drawn."""
    random = Random(f"{seed} {area.name}")
    places = [place for path in modules for place in places_of(path, source, random)]
    random.shuffle(places)
    return places


def _shares(places: dict[str, int], count: int) -> dict[str, int]:
    """Return how many mutants each area gets: as many of its places as of the others', together *count*."""
    total, shares, taken, seen = sum(places.values()), {}, 0, 0
    for name, number in places.items():
        seen += number
        upto = min(count, total) * seen // max(total, 1)
        shares[name], taken = upto - taken, upto
    return shares


class _Judge:
    """Gives mutants to the workers."""

    def __init__(self, pool: ProcessPoolExecutor, source: Path, areas: Iterable[Area]) -> None:
        self._pool, self._source = pool, source
        self._areas = {area.name: area for area in areas}
        self._limits: dict[frozenset[str], float] = {}

    def judge(self, queues: dict[str, list[Place]], shares: dict[str, int], until: float) -> Iterator[Judged]:
        """Yield what became of the first of each queue; for each stillborn one, of one more."""
        rest = {name: filter(None, (place.mutant(self._source) for place in queue)) for name, queue in queues.items()}
        wanted = dict(shares)
        while any(wanted.values()):
            drawn = [(name, each) for name, number in wanted.items() for each in islice(rest[name], number)]
            if not drawn:
                return
            Random(len(drawn)).shuffle(drawn)  # if the time is over early, every area had its share
            wanted = dict.fromkeys(wanted, 0)
            for result in self._pool.map(_judge, self._jobs(drawn), [until] * len(drawn)):
                if result is None:
                    return
                if result.fate == "stillborn":
                    wanted[result.area] += 1
                elif sys.stderr.isatty() or result.fate == "survived":
                    print(f"{result.fate:8} {result.mutant.path}:{result.mutant.line}", file=sys.stderr, flush=True)
                yield result

    def _jobs(self, drawn: Sequence[tuple[str, Mutant]]) -> list[Job]:
        tests = [tuple(self._areas[area].tests_of(mutant.path, self._source)) for area, mutant in drawn]
        new = {frozenset(each): each for each in tests if frozenset(each) not in self._limits}
        for key, seconds in zip(new, self._pool.map(_seconds_without_fault, new.values()), strict=True):
            if isinstance(seconds, str):
                print(f"the tests fail without a fault, so they say nothing:\n{seconds}", file=sys.stderr)
                sys.exit(2)
            self._limits[key] = 3 * seconds + SLACK_SECONDS
        return [
            Job(area, mutant, each, self._limits[frozenset(each)])
            for (area, mutant), each in zip(drawn, tests, strict=True)
        ]


# In a worker


_copies: list[TreeCopy] = []


def _start_worker(source: Path) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _copies.append(TreeCopy(Path(tempfile.mkdtemp(dir=source.parent)) / "tree", LIBRARY, source))


def _seconds_without_fault(tests: tuple[str, ...]) -> float | str:
    """Return how long the tests take, or what they print if they fail."""
    run = _copies[0].run(tests, seconds=600)
    return run.seconds if run.passed else str(run.output)


def _judge(job: Job, until: float) -> Judged | None:
    """Return what becomes of a mutant; None if the time is over."""
    if time.monotonic() > until:
        return None
    copy, path = _copies[0], job.mutant.path
    copy.write(path, job.mutant.code)
    try:
        module = path.removeprefix("src/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        if not copy.imports(module):
            return Judged(job.area, job.mutant, "stillborn")
        run = copy.run(job.tests, seconds=job.seconds)
    finally:
        copy.restore(path)
    if run.is_over_time:
        return Judged(job.area, job.mutant, "hung")
    return Judged(job.area, job.mutant, "survived" if run.passed else "killed")


# What is told


def _score(judged: Sequence[Judged]) -> float:
    counted = [each for each in judged if each.fate != "stillborn"]
    return sum(each.fate != "survived" for each in counted) / len(counted) if counted else 0.0


def _tell(judged: Sequence[Judged], places: dict[str, int], seed: int) -> None:
    for each in judged:
        if each.fate == "survived":
            print(f"\nsurvived: {each.mutant.path}:{each.mutant.line} ({each.mutant.operator})\n{each.mutant.diff}")
    columns = ("places", "judged", "killed", "by time", "survived", "stillborn", "score")
    print(f"\n{'area':12}" + "".join(f"{column:>11}" for column in columns))
    for name in (*places, "all"):
        of_area = [each for each in judged if name in (each.area, "all")]
        fates = Counter(each.fate for each in of_area)
        counted, killed = len(of_area) - fates["stillborn"], fates["killed"] + fates["hung"]
        numbers = (places.get(name, sum(places.values())), counted, killed, fates["hung"], fates["survived"])
        cells = (*numbers, fates["stillborn"], f"{_score(of_area):.1%}")
        print(f"{name:12}" + "".join(f"{cell:>11}" for cell in cells))
    print(f"seed {seed}; to be killed: {GOAL:.0%}")


if __name__ == "__main__":
    main()

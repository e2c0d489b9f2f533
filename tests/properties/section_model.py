"""A little world, what a client says in it, and a slow, obvious model of which directory that means.

Written from the procedure as people read it, rank by rank, and not from the code that it checks: it knows
nothing of hints, readings or verdicts, only of paths, places and what a session remembers.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import quote

from workroot.core.meta_signs import meta_hints
from workroot.core.projects import (
    ConfigProblem,
    Directory,
    KnownProject,
    Place,
    Project,
    ProjectConfig,
    ProjectId,
    StopReason,
)
from workroot.core.reach import Reach
from workroot.core.sessions import PinnedSign, SessionContext
from workroot.core.signs import (
    ClientTraits,
    ConnectorFacts,
    Hint,
    Roots,
    RootsAnswer,
    Signs,
    Source,
    connector_hints,
)
from workroot.errors import DirectoryError

HOME = "/home/ada"

WORK = ("/w", "/w/a", "/w/a/src", "/w/a/sub", "/w/a/sub/x", "/w/ab", "/w/b", "/w/b-fix", "/w/notes", f"{HOME}/code")
PROGRAMS = ("/etc", "/usr/lib/editor", "/opt/x", f"{HOME}/.config/app", f"{HOME}/Library/x")
LINKS = {"/link": "/w/a/src", "/w/home": HOME, "/w/a/out": "/w/b"}
LITERAL = "/w/${folder}"
"""A directory of exactly this name, as a template's author has it, and a text that a client did not expand."""

NOWHERE = ("/gone", "/w/a/file.txt", "relative")
PATHS = (*WORK, *PROGRAMS, *LINKS, *NOWHERE, LITERAL, HOME, "/")
"""All that a sign can say."""

ROOTS_OF_PROJECTS = ("/w", "/w/a", "/w/a/sub", "/w/b", "/w/b-fix", "/usr/lib/editor", HOME, "/")
CONFIGS = {
    "plain": ProjectConfig(name="p"),
    "auto_switch off": ProjectConfig(name="p", auto_switch=False),
    "strict": ProjectConfig(name="p", strict_mode=True),
    "strict, auto_switch off": ProjectConfig(name="p", strict_mode=True, auto_switch=False),
    "dry_run": ProjectConfig(name="p", dry_run=True),
    "another id": ProjectConfig(name="q"),
}
KINDS = ("repository", "broken", *CONFIGS)


def is_in(directory: str, top: str) -> bool:
    return directory == top or directory.startswith("/" if top == "/" else top + "/")


@dataclass
class World:
    """Which directories there are, and what is in them.

    Attributes:
        projects: what is at a project's root: one of `KINDS`.
        gone: directories that are not there now.
    """

    projects: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)

    def look(self, given: str) -> Place | None:
        """Return what is at a path, or None if there is no directory."""
        directory = LINKS.get(given, given)
        if directory in NOWHERE or directory in self.gone or directory not in PATHS:
            return None
        level = directory
        while level not in self.projects and level != "/":
            level = level.rpartition("/")[0] or "/"
        kind = self.projects.get(level)
        config_path = f"{level}/.workroot/config.toml" if kind not in (None, "repository") else None
        problem = ConfigProblem(path=str(config_path), problem="is broken") if kind == "broken" else None
        return Place(
            directory=Directory(directory),
            given=given,
            project=self._project(Directory(level), kind, config_path),
            config_path=config_path,
            config_error=problem,
            stopped_at=Directory(level),
            stop=StopReason.CONFIG if kind else StopReason.FILESYSTEM_ROOT,
            rests_on=(directory,),
        )

    def _project(self, root: Directory, kind: str | None, config_path: str | None) -> Project | None:
        if kind is None or kind == "broken":
            return None
        main = Directory("/w/b") if root == "/w/b-fix" else root
        config = CONFIGS.get(kind)
        return Project(
            project_id=ProjectId("another" if kind == "another id" else f"id-of-{main}"),
            name=config.name if config else root,
            root=root,
            worktree_of=main if main != root else None,
            config_path=config_path,
            config=config,
        )

    def find(self, given: str) -> Place | DirectoryError:
        """Return what a finder of places says."""
        place = self.look(given)
        return place if place is not None else DirectoryError(given, "Directory does not exist")


@dataclass(frozen=True)
class KnownRoots:
    """Projects that somebody has worked in; implements `core.reach.KnownProjects`."""

    roots: tuple[str, ...] = ()

    def below(self, directory: str) -> Sequence[KnownProject]:
        return [_known(root) for root in self.roots if root != directory and is_in(root, directory)]

    def holds(self, directory: str) -> KnownProject | None:
        return next((_known(root) for root in sorted(self.roots, reverse=True) if is_in(directory, root)), None)


def _known(root: str) -> KnownProject:
    return KnownProject(project_id=ProjectId(root), name=root, root=Directory(root), worktree_of=None, seen_at=0)


# What a client says


class Root(NamedTuple):
    """One of a client's roots, and how it writes it."""

    style: str
    path: str

    @property
    def uri(self) -> str:
        styles = {"plain": "file://{0}", "encoded": "file://{1}", "localhost": "file://localhost{1}"}
        return {**styles, "http": "http://example.org{1}", "elsewhere": "file://other-host{1}"}[self.style].format(
            self.path, quote(self.path).replace("a", "%61")
        )


ROOT_STYLES = ("plain", "encoded", "localhost", "http", "elsewhere")


@dataclass(frozen=True, kw_only=True)
class Said:
    """What one call carries, in the client's own words; None and the empty tuple: nothing.

    Attributes:
        roots: None where the client was not asked.
    """

    argument: str | None = None
    meta: str | None = None
    sandbox: str | None = None
    agent: str | None = None
    roots: tuple[Root, ...] | None = None
    is_silent: bool = False
    option: str | None = None
    claude: str | None = None
    own: str | None = None
    folders: tuple[str, ...] = ()
    pwd: str | None = None
    workspaces: tuple[str, ...] = ()
    header: str | None = None
    query: str | None = None
    process: str | None = None
    first_root_counts: bool = False
    shares_process: bool = False

    def signs(self) -> Signs:
        """Return it as transports gather it."""
        meta: dict[str, object] = {"workroot/directory": self.meta, "agent-working-dir": self.agent}
        meta["codex/sandbox-state-meta"] = {"sandboxCwd": self.sandbox}
        if self.workspaces:
            meta["x-codex-turn-metadata"] = {"workspaces": {key: {} for key in self.workspaces}}
        named = {"CLAUDE_PROJECT_DIR": self.claude, "PWD": self.pwd, "WORKSPACE_FOLDER_PATHS": ":".join(self.folders)}
        environment = {name: value for name, value in named.items() if value}
        late = (
            (Source.HEADER, "Workroot-Directory", self.header),
            (Source.HEADER, "?directory=", self.query),
            (Source.PROCESS, "process 7 (agent)", self.process),
        )
        roots = Roots()
        if self.is_silent:
            roots = Roots(RootsAnswer.SILENT)
        elif self.roots is not None:
            roots = Roots(RootsAnswer.GIVEN, tuple(root.uri for root in self.roots))
        return Signs(
            directory=self.argument,
            hints=(
                *meta_hints(meta),
                *connector_hints(ConnectorFacts(option=self.option, own_directory=self.own, environment=environment)),
                *(Hint(source, detail, directory) for source, detail, directory in late if directory is not None),
            ),
            roots=roots,
            traits=ClientTraits(
                first_root_is_working_directory=self.first_root_counts, shares_process=self.shares_process
            ),
        )

    def spoken(self) -> list[tuple[str, str, str]]:
        """Return rank, name and path of each sign that can be followed, best first."""
        said: list[tuple[str, str, str | None]] = [
            ("meta", "workroot/directory", self.meta),
            ("meta", "codex/sandbox-state-meta.sandboxCwd", self.sandbox),
            ("meta", "agent-working-dir", self.agent),
        ]
        if not self.is_silent:
            for number, root in enumerate(self.roots or (), start=1):
                is_here = root.style in ("plain", "encoded", "localhost")
                said.append(("roots", f"root {number}", root.path if is_here else None))
        facts = [
            ("--directory", self.option),
            ("CLAUDE_PROJECT_DIR", self.claude),
            ("working directory", self.own),
            ("WORKSPACE_FOLDER_PATHS", self.folders[0] if len(self.folders) == 1 else None),
            ("PWD", self.pwd),
        ]
        for name, path in facts:
            is_of_one_window = self.shares_process and name != "--directory"
            if path is not None and "${" not in path and not is_of_one_window:
                said.append(("connector", name, path))
        if len(self.workspaces) == 1:
            said.append(("turn_metadata", "x-codex-turn-metadata.workspaces", self.workspaces[0]))
        headers = [("header", "Workroot-Directory", self.header), ("header", "?directory=", self.query)]
        said += [each for each in headers if each[2] is not None and "${" not in each[2]]
        said.append(("process", "process 7 (agent)", self.process))
        return [(rank, name, path) for rank, name, path in said if path is not None]


# The model


class Usable(NamedTuple):
    """A sign that leads to a place where somebody may work."""

    rank: str
    name: str
    place: Place


class Answer(NamedTuple):
    """What is answered.

    Attributes:
        outcome: decided, unknown, ambiguous, stale; or an error's code, and then nothing else is told.
        directory: None where there is none.
        source: the kind of sign that decided.
        root: of the project; None where there is none or it is withheld.
        others: the directories that are offered beside.
        becomes: what the session has to be kept as: directory, root and signs; None where nothing changes.
    """

    outcome: str
    directory: str | None = None
    source: str | None = None
    root: str | None = None
    others: frozenset[str] = frozenset()
    becomes: tuple[str, str | None, tuple[PinnedSign, ...]] | None = None


class ModelError(Exception):
    """The answer is an error of this code."""


def usable(world: World, said: Said) -> list[Usable]:
    """Return the signs that lead somewhere, best first."""
    found = []
    for rank, name, path in said.spoken():
        place = world.look(path)
        if place is None or place.directory in (HOME, "/"):
            continue
        is_owned = place.project is not None or place.config_error is not None
        if place.directory in PROGRAMS and not is_owned:
            continue
        found.append(Usable(rank, name, place))
    return found


def owner(place: Place) -> str:
    return place.project.root if place.project else place.directory


def agree(pin: Place, sign: Place) -> bool:
    """Tell whether a pin means what a sign means: one project, or in a directory that nobody owns."""
    return owner(pin) == owner(sign) or (sign.project is None and is_in(pin.directory, sign.directory))


def remembered(pin: Place, signs: Sequence[Usable]) -> tuple[PinnedSign, ...]:
    """Return what a pin keeps: the signs of ranks 2 to 4."""
    kept = [sign for sign in signs if sign.rank in ("meta", "roots", "connector")]
    return tuple(PinnedSign(f"{sign.rank}: {sign.name}", sign.place.directory, agree(pin, sign.place)) for sign in kept)


@dataclass
class Model:
    """Where one call works.

    Attributes:
        known: roots of the projects that the caller's principal has worked in.
        reach: the setting `model_may_move`.
    """

    world: World
    said: Said
    session: SessionContext | None = None
    known: Collection[str] = ()
    reach: Reach = "anywhere"

    def answer(self) -> Answer:
        try:
            return self._by_argument() if self.said.argument is not None else self._by_signs()
        except ModelError as error:
            return Answer(str(error))

    def _by_argument(self) -> Answer:
        asked = self.world.look(str(self.said.argument))
        if asked is None:
            raise ModelError("invalid_directory")
        if not self.is_reached(asked):
            raise ModelError("move_refused")
        try:
            here = self._by_signs()
        except ModelError:
            here = Answer("unknown")
        if here.root is not None:
            inside = self.world.projects[here.root]
            if "strict" in inside and not is_in(asked.directory, here.root):
                raise ModelError("strict_mode")
        outcome = "ambiguous" if self._is_above_several(asked) else "decided"
        root = asked.project.root if asked.project else None
        return Answer(outcome, asked.directory, "argument", root, frozenset(self._below(asked)))

    def is_reached(self, asked: Place) -> bool:
        tops = [owner(sign.place) for sign in usable(self.world, self.said)]
        if self.reach == "anywhere" or any(is_in(asked.directory, top) for top in tops):
            return True
        if self.reach == "roots":
            return False
        if asked.project is not None:  # an unknown project is out of reach, even in a known one
            return asked.project.root in self.known
        return any(is_in(asked.directory, top) for top in self.known)

    def _by_signs(self) -> Answer:
        signs = usable(self.world, self.said)
        if self.session is None:
            return self._by_hints(signs)
        pinned = self.world.look(self.session.working_directory)
        rank, then, now = self._compared(signs)
        fate, is_renewed = self._fate_of_pin(pinned, then, now)
        new = _new(then, now)
        if fate == "stale":
            both = {place.directory for place in (pinned, *now) if place is not None}
            return Answer("stale", None, "pin", None, frozenset(both))
        if fate == "follows":
            return self.there(new[0], rank, signs, remembered(new[0], signs))
        if pinned is None:
            raise ModelError("invalid_directory")
        return self.there(pinned, "pin", signs, remembered(pinned, signs) if is_renewed else self.session.signs)

    def _compared(self, signs: Sequence[Usable]) -> tuple[str, list[PinnedSign], list[Place]]:
        """Return the best sign that was there when the pin was set and is there now: its rank, then, and now."""
        assert self.session is not None
        for rank in ("meta", "roots", "connector"):
            here = [sign for sign in signs if sign.rank == rank]
            for name in ["roots"] if rank == "roots" else [sign.name for sign in here]:
                now = [sign.place for sign in here if self._counts(rank, name, sign.name)]
                then = [
                    sign
                    for sign in self.session.signs
                    if sign.sign.startswith(f"{rank}: ")
                    and self._counts(rank, name, sign.sign.removeprefix(f"{rank}: "))
                ]
                if now and then:
                    return rank, then, now
        return "", [], []

    def _counts(self, rank: str, name: str, each: str) -> bool:
        """Tell whether a sign is compared as *name*: all roots are one sign, or the first of them is it."""
        if rank == "roots":
            return each == "root 1" or not self.said.first_root_counts
        return each == name

    def _fate_of_pin(self, pinned: Place | None, then: Sequence[PinnedSign], now: Sequence[Place]) -> tuple[str, bool]:
        """Return what became of the pin, and whether it remembers today's signs from now on."""
        named = {place.directory for place in now}
        agreed = {sign.directory for sign in then if sign.agreed}
        if named == {sign.directory for sign in then}:
            return "holds", False
        if agreed:  # it was set with the sign
            if agreed <= named:
                return "holds", False
            return ("follows" if len({owner(place) for place in _new(then, now)}) == 1 else "stale"), False
        if pinned is not None and any(agree(pinned, place) for place in now):
            return "holds", True
        return "stale", False

    def _by_hints(self, signs: Sequence[Usable]) -> Answer:
        everything = frozenset(sign.place.directory for sign in signs)
        if self.said.first_root_counts:
            signs = [sign for sign in signs if sign.rank != "roots" or sign.name == "root 1"]
        by_meta = [sign for sign in signs if sign.rank == "meta"]
        roots = [sign for sign in signs if sign.rank == "roots"]
        if not by_meta and self.said.is_silent:
            return Answer("unknown", None, "unknown", None, everything)
        if not by_meta and len({owner(sign.place) for sign in roots}) > 1:
            return Answer("ambiguous", None, "roots", None, frozenset(sign.place.directory for sign in roots))
        if not signs:
            return Answer("unknown", None, "unknown", None, everything)
        best = signs[0]
        if best.rank == "header":
            named = [path for rank, _, path in self.said.spoken() if rank == "header"]
            if len({LINKS.get(path, path) for path in named}) > 1:
                raise ModelError("signs_disagree")
        return self.there(best.place, best.rank, usable(self.world, self.said), None)

    def there(self, place: Place, source: str, signs: Sequence[Usable], pin: tuple[PinnedSign, ...] | None) -> Answer:
        """Return the answer to who works in *place*, or arrives there."""
        kind = self.world.projects.get(place.project.root, "") if place.project else ""
        was_inside = self.session is not None and place.project and self.session.project_id == place.project.project_id
        is_only_reported = kind == "dry_run" and not was_inside
        is_withheld = is_only_reported or ("auto_switch off" in kind and not was_inside)
        project = None if is_withheld else place.project
        root = project.root if project else None
        others = {sign.place.directory for sign in signs} | set(self._below(place))
        becomes = None
        if self.session is not None and pin is not None and not is_only_reported:
            before, after = _kept(self.session), _kept_in(place, project)
            if (*before, self.session.signs) != (*after, pin):
                becomes = (place.directory, root, pin)
        outcome = "ambiguous" if self._is_above_several(place) else "decided"
        return Answer(outcome, place.directory, source, root, frozenset(others - {place.directory}), becomes)

    def _below(self, place: Place) -> list[str]:
        return [root for root in self.known if is_in(root, place.directory) and root != place.directory]

    def _is_above_several(self, place: Place) -> bool:
        return place.project is None and place.config_path is None and len(self._below(place)) > 1


def _new(then: Sequence[PinnedSign], now: Sequence[Place]) -> list[Place]:
    return [place for place in now if place.directory not in {sign.directory for sign in then}]


def _kept(session: SessionContext) -> tuple[object, ...]:
    project = (session.project_id, session.project_root, session.project_name)
    return (session.working_directory, session.config_path, *project)


def _kept_in(place: Place, project: Project | None) -> tuple[object, ...]:
    shown = (project.project_id, project.root, project.name) if project else (None, None, None)
    return (place.directory, place.config_path, *shown)

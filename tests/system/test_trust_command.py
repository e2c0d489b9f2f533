"""`workroot trust` as people use it: in a terminal, on real repositories."""

from __future__ import annotations

import ast
import json
import os
import pty
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from trees import git

import workroot
from workroot.core.trust import Verdict
from workroot.mcp_face.tools import TOOLS
from workroot.project_finder import ProjectFinder
from workroot.trust import TrustStore, subject_of

WORKROOT = str(Path(sys.executable).with_name("workroot"))
NAMESPACE = "6f1d6a3e-52a4-4b0c-9a53-0e6f0c1de111"
DEADLINE_SECONDS = 20
QUESTION = "Allow this very content? [y/N] "
TAKES_THE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)

CONFIG = """\
version = "1.0"
instructions = \"\"\"
Be brief.
Never \\u202epush.\"\"\"

[project]
name = "shop"

[commands]
test = "make test"

[servers.db]
command = "npx"
args = ["-y", "@acme/db"]
env = { TOKEN = "abc" }
"""
HARMLESS = 'version = "1.0"\n[project]\nname = "shop"\n'


class User:
    """Somebody with a home directory, projects and a store of decisions."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.store_path = top / "state" / "trust.json"
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(top), "WORKROOT_HOME": str(top / "state")}

    @property
    def store(self) -> TrustStore:
        return TrustStore(self.store_path)

    def project(self, name: str, config: str = CONFIG) -> Path:
        root = self.top / name
        (root / ".workroot").mkdir(parents=True)
        (root / ".workroot" / "config.toml").write_text(config)
        return root

    def verdict(self, root: Path) -> Verdict:
        subject = subject_of(ProjectFinder(NAMESPACE).find_now(str(root)))
        assert subject is not None
        return self.store.verdict(subject)

    def run(self, *arguments: str | Path, text_in: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `workroot trust` without a terminal."""
        return subprocess.run(
            [WORKROOT, "trust", *map(str, arguments)],
            env=self.environment | environment,
            input=text_in,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )

    def allow(self, root: Path) -> str:
        """Allow a project's config at a terminal, and return what was shown."""
        with self.terminal(root) as terminal:
            terminal.read_until(QUESTION)
            terminal.type("y\n")
            assert terminal.end() == 0, terminal.shown
            return terminal.shown

    @contextmanager
    def terminal(self, *arguments: str | Path, typed_before: str = "", stdout: int | None = None) -> Iterator[Terminal]:
        """Run `workroot trust` in a terminal of its own."""
        ours, theirs = pty.openpty()
        try:
            os.write(ours, typed_before.encode())
            process = subprocess.Popen(
                [sys.executable, "-c", TAKES_THE_TERMINAL, WORKROOT, "trust", *map(str, arguments)],
                env=self.environment,
                stdin=theirs,
                stdout=theirs if stdout is None else stdout,
                stderr=theirs,
                start_new_session=True,
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        try:
            yield Terminal(ours, process)
        finally:
            process.kill()
            process.wait()
            os.close(ours)


class Terminal:
    """What a person sees and types."""

    def __init__(self, descriptor: int, process: subprocess.Popen[bytes]) -> None:
        self._descriptor, self._process = descriptor, process
        self._seen = b""

    @property
    def shown(self) -> str:
        return self._seen.decode(errors="replace").replace("\r\n", "\n")

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode(errors="surrogateescape"))

    def read_until(self, text: str) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while text not in self.shown:
            assert self._read(deadline), f"ended without {text!r}: {self.shown}"

    def end(self) -> int:
        """Return the exit code once the program has ended."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self._read(deadline):
            pass
        return self._process.wait(timeout=DEADLINE_SECONDS)

    def _read(self, deadline: float) -> bool:
        readable, _, _ = select.select([self._descriptor], [], [], max(0.0, deadline - time.monotonic()))
        assert readable, f"nothing more was shown: {self.shown}"
        try:
            read = os.read(self._descriptor, 65536)
        except OSError:  # Linux says so when the other side is closed
            return False
        self._seen += read
        return bool(read)


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path)


def make_repository(root: Path) -> None:
    git(root, "init")
    git(root, "add", ".")
    git(root, "commit", "-m", "first")


# Asking at a terminal


def test_all_that_would_be_allowed_is_shown_before_the_question(user: User) -> None:
    root = user.project("shop")

    shown = user.allow(root)

    assert shown.index("  | Be brief.\n  | Never \\u202epush.\n") < shown.index(QUESTION)
    assert "command test:\n  | make test\n" in shown
    assert "server db:\n  | command      npx\n  | args         -y\n  | args         @acme/db\n" in shown
    assert "  | environment  TOKEN=abc\n" in shown
    assert "It asks for: instructions (2 lines), 1 command, 1 server. All of it is shown above.\n" in shown
    assert f"config    {root}/.workroot/config.toml\n" in shown
    assert "\x1b" not in shown
    assert user.verdict(root) is Verdict.ALLOWED


def test_what_was_allowed_is_not_asked_for_again_until_it_changes(user: User) -> None:
    root = user.project("shop")
    user.allow(root)
    again = user.run(root)
    (root / ".workroot" / "config.toml").write_text(CONFIG + "\n")

    assert (again.returncode, again.stdout.split()[0]) == (0, "allowed")
    assert user.run(root).returncode == 1
    assert "another content of this file was allowed" in user.allow(root)
    (root / ".workroot" / "config.toml").write_text(CONFIG)
    assert user.verdict(root) is Verdict.ALLOWED


@pytest.mark.parametrize("answer", ["n\n", "\n", "no\n", "yes please\n", "Y?\n", "\x04", "\udcff\n"])
def test_any_other_answer_than_yes_allows_nothing(user: User, answer: str) -> None:
    root = user.project("shop")

    with user.terminal(root) as terminal:
        terminal.read_until(QUESTION)
        terminal.type(answer)
        assert terminal.end() == 1

    assert "was not allowed; nothing was changed" in terminal.shown
    assert user.verdict(root) is Verdict.UNKNOWN
    assert not user.store_path.exists()


@pytest.mark.parametrize("answer", ["y\n", "YES\n", " Yes \n"])
def test_yes_may_be_spelled_as_people_do(user: User, answer: str) -> None:
    root = user.project("shop")

    with user.terminal(root) as terminal:
        terminal.read_until(QUESTION)
        terminal.type(answer)
        assert terminal.end() == 0

    assert user.verdict(root) is Verdict.ALLOWED


def test_an_interrupt_allows_nothing(user: User) -> None:
    root = user.project("shop")

    with user.terminal(root) as terminal:
        terminal.read_until(QUESTION)
        terminal.type("\x03")
        assert terminal.end() == 1

    assert user.verdict(root) is Verdict.UNKNOWN


def test_an_answer_from_before_the_question_does_not_count(user: User) -> None:
    root = user.project("shop")

    with user.terminal(root, typed_before="y\n") as terminal:
        terminal.read_until(QUESTION)
        terminal.type("\n")
        assert terminal.end() == 1

    assert user.verdict(root) is Verdict.UNKNOWN


def test_what_is_allowed_is_what_was_shown_though_the_file_has_changed_meanwhile(user: User) -> None:
    root = user.project("shop")

    with user.terminal(root) as terminal:
        terminal.read_until(QUESTION)
        (root / ".workroot" / "config.toml").write_text(CONFIG.replace("npx", "evil"))
        terminal.type("y\n")
        assert terminal.end() == 0

    assert user.verdict(root) is Verdict.CHANGED
    (root / ".workroot" / "config.toml").write_text(CONFIG)
    assert user.verdict(root) is Verdict.ALLOWED


def test_a_denial_that_comes_while_the_question_is_open_holds(user: User) -> None:
    root = user.project("shop")

    with user.terminal(root) as terminal:
        terminal.read_until(QUESTION)
        assert user.run("--deny", root).returncode == 0
        terminal.type("y\n")
        assert terminal.end() == 1

    assert user.verdict(root) is Verdict.DENIED


def test_two_people_at_two_terminals_lose_nothing(user: User) -> None:
    one, other = user.project("one"), user.project("other")

    with user.terminal(one) as first, user.terminal(other) as second:
        for terminal in (first, second):
            terminal.read_until(QUESTION)
        for terminal in (first, second):
            terminal.type("y\n")
        assert (first.end(), second.end()) == (0, 0)

    assert user.verdict(one) is user.verdict(other) is Verdict.ALLOWED


def test_with_json_the_question_is_on_the_terminal_and_the_document_is_not(user: User, tmp_path: Path) -> None:
    root = user.project("shop")
    with (tmp_path / "out").open("wb") as out, user.terminal(root, "--json", stdout=out.fileno()) as terminal:
        terminal.read_until(QUESTION)
        terminal.type("y\n")
        assert terminal.end() == 0

    document = json.loads((tmp_path / "out").read_text())
    assert (document["verdict"], document["config_path"]) == ("allowed", f"{root}/.workroot/config.toml")
    assert document["asks_for"] == {"instructions": True, "commands": ["test"], "servers": ["db"]}
    assert "server db:" in terminal.shown


# Without a terminal


@pytest.mark.parametrize("text_in", ["", "y\n", "yes\n" * 10])
def test_without_a_terminal_nothing_can_be_allowed(user: User, text_in: str) -> None:
    root = user.project("shop")

    result = user.run(root, text_in=text_in)

    assert result.returncode == 1
    assert f"run `workroot trust {root}` in a terminal (nothing was changed)" in result.stderr
    assert "npx" not in result.stdout + result.stderr
    assert user.verdict(root) is Verdict.UNKNOWN


def test_without_a_terminal_the_refusal_is_a_json_document_too(user: User) -> None:
    result = user.run(user.project("shop"), "--json")

    assert result.returncode == 1
    assert json.loads(result.stdout)["error"]["code"] == "trust"


@pytest.mark.parametrize("option", ["--yes", "-y", "--force", "--allow", "--no-input"])
def test_no_option_answers_for_the_person(user: User, option: str) -> None:
    assert user.run(user.project("shop"), option).returncode == 2
    assert not user.store_path.exists()


def test_no_variable_answers_for_the_person(user: User) -> None:
    root = user.project("shop")
    variables = {f"WORKROOT_{name}": "1" for name in ("TRUST", "YES", "TRUST_YES", "ASSUME_YES", "TRUSTED")}

    assert user.run(root, CI="1", **variables).returncode == 1
    assert user.verdict(root) is Verdict.UNKNOWN


def test_a_terminal_for_the_answer_only_is_not_enough(user: User) -> None:
    root = user.project("shop")
    ours, theirs = pty.openpty()
    try:
        os.write(ours, b"y\n")
        result = subprocess.run(
            [WORKROOT, "trust", str(root)],
            env=user.environment, stdin=theirs, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False,
        )  # fmt: skip
    finally:
        os.close(ours)
        os.close(theirs)

    assert result.returncode == 1
    assert "in a terminal" in result.stderr


# Deny, revoke, list


def test_a_denial_needs_no_terminal_and_holds_whatever_the_file_says(user: User) -> None:
    root = user.project("shop")
    denied = user.run("--deny", root)
    (root / ".workroot" / "config.toml").write_text(CONFIG + "\n")

    again = user.run(root)

    assert (denied.returncode, denied.stdout.split()[0]) == (0, "denied")
    assert user.verdict(root) is Verdict.DENIED
    assert again.returncode == 1
    assert f"was denied; `workroot trust --revoke {root}` takes that back first" in again.stderr


def test_a_revocation_forgets_both_kinds_of_decision(user: User) -> None:
    root = user.project("shop")
    user.allow(root)
    first = user.run("--revoke", root)
    assert user.verdict(root) is Verdict.UNKNOWN
    user.run("--deny", root)
    second = user.run("--revoke", root, "--json")
    third = user.run("--revoke", root)

    assert first.stdout == f"forgot what was decided about {root}/.workroot/config.toml\n"
    assert json.loads(second.stdout)["revoked"] == 1
    assert (third.returncode, third.stdout.split(" about ")[0]) == (0, "nothing was decided")
    assert user.verdict(root) is Verdict.UNKNOWN


@pytest.mark.parametrize("is_repository", [False, True])
@pytest.mark.parametrize("ruin", ["gone", "broken", "no config"])
def test_what_was_decided_of_a_config_that_is_no_more_can_be_revoked(
    user: User, ruin: str, is_repository: bool
) -> None:
    root, other = user.project("shop"), user.project("other")
    if is_repository:
        make_repository(root)
    for each in (root, other):
        user.run("--deny", each)
    config = root / ".workroot" / "config.toml"
    match ruin:
        case "gone":
            subprocess.run(["rm", "-r", str(root)], check=True)
        case "broken":
            config.write_text("[")
        case _:
            config.unlink()

    result = user.run("--revoke", root)

    assert result.returncode == 0, result.stderr
    assert [record.subject.file.path for record in user.store.records()] == [f"{other}/.workroot/config.toml"]


def test_what_was_decided_in_a_repository_can_be_revoked_by_its_name_in_the_list(user: User) -> None:
    root = user.project("shop")
    make_repository(root)
    user.run("--deny", root)

    assert user.run("--revoke", root / ".git").returncode == 0
    assert user.store.records() == ()


def test_the_list_shows_each_decision(user: User) -> None:
    shop, demo = user.project("shop"), user.project("demo")
    make_repository(demo)
    empty = user.run("--list")
    user.allow(shop)
    user.run("--deny", demo)

    listed = user.run("--list").stdout.splitlines()
    records = json.loads(user.run("--list", "--json").stdout)["records"]

    assert empty.stdout.startswith("nothing was allowed or denied yet")
    assert [line.split()[0] for line in listed[-2:]] == ["allowed", "denied"]
    assert f"{shop}/.workroot/config.toml" in listed[-2]
    assert f"{demo}/.git" in listed[-1]
    assert [(record["decision"], record["repository"], record["path"]) for record in records] == [
        ("allow", None, f"{shop}/.workroot/config.toml"),
        ("deny", f"{demo}/.git", ".workroot/config.toml"),
    ]
    assert all(len(record["sha256"]) == 64 and record["at"] > 0 for record in records)


@pytest.mark.parametrize("arguments", [["--deny", "--revoke"], ["--deny", "--list"], ["--list", "."]])
def test_what_does_not_go_together_is_wrong_usage(user: User, arguments: list[str]) -> None:
    assert user.run(*arguments).returncode == 2


# Projects that cannot be allowed


def test_a_config_that_asks_for_nothing_says_so(user: User) -> None:
    root = user.project("shop", HARMLESS)

    text, as_json = user.run(root), user.run(root, "--json")

    assert (text.returncode, as_json.returncode) == (0, 0)
    assert text.stdout == f"{root}/.workroot/config.toml asks for nothing that has to be allowed\n"
    assert json.loads(as_json.stdout)["asks_for"] == {"instructions": False, "commands": [], "servers": []}


@pytest.mark.parametrize("option", [[], ["--deny"], ["--revoke"]])
def test_what_has_no_usable_config_is_an_error_that_says_why(user: User, option: list[str]) -> None:
    broken = user.project("broken", "[project\n")
    bare = user.top / "bare"
    (bare / ".git").mkdir(parents=True)
    nothing = user.top / "nothing"
    nothing.mkdir()

    for directory, said in (
        (broken, f"{broken}/.workroot/config.toml:1: is not valid TOML"),
        (bare, f"the project {bare} has no config, so there is nothing to allow"),
        (nothing, f"no project owns {nothing}; nothing can be allowed here"),
        (user.top / "gone", f"Directory does not exist: {user.top}/gone"),
    ):
        result = user.run(*option, directory)
        assert result.returncode == 1
        assert said in result.stderr
    assert not user.store_path.exists()


# What a grant is bound to


def test_worktrees_of_a_repository_share_a_grant_and_a_second_clone_does_not(user: User) -> None:
    root = user.project("shop")
    make_repository(root)
    git(root, "worktree", "add", str(user.top / "fix"))
    git(user.top, "clone", str(root), "clone")

    shown = user.allow(root)

    assert f".workroot/config.toml in all worktrees of the repository {root}/.git" in shown
    assert user.verdict(user.top / "fix") is Verdict.ALLOWED
    assert user.verdict(user.top / "clone") is Verdict.UNKNOWN


def test_a_switch_of_branches_and_back_does_not_ask_again(user: User) -> None:
    root = user.project("shop")
    make_repository(root)
    user.allow(root)
    git(root, "switch", "--create", "other")
    (root / ".workroot" / "config.toml").write_text(CONFIG.replace("npx", "uvx"))
    git(root, "commit", "-a", "-m", "second")
    assert user.verdict(root) is Verdict.CHANGED
    user.allow(root)

    for branch in ("-", "-"):
        git(root, "switch", branch)
        assert user.verdict(root) is Verdict.ALLOWED


def test_a_directory_that_points_into_a_repository_cannot_borrow_its_grant(user: User) -> None:
    root, evil = user.project("shop"), user.project("evil")
    make_repository(root)
    git(root, "worktree", "add", str(user.top / "fix"))
    user.allow(root)

    (evil / ".git").write_text((user.top / "fix" / ".git").read_text())

    assert user.verdict(evil) is Verdict.UNKNOWN


@pytest.mark.parametrize(
    "claim",
    [
        "trust = true\n",
        "trusted = true\nallow = true\n",
        'trusted_directories = ["/"]\n',
        'trust = ["instructions", "servers"]\n',
        'workroot_home = "."\nstate_directory = "."\n',
    ],
)
def test_a_project_cannot_grant_itself_anything(user: User, claim: str) -> None:
    root = user.project(
        "shop", f'{claim}{CONFIG}\n[trust]\nallow = "all"\n' if "trust =" not in claim else claim + CONFIG
    )
    subject = subject_of(ProjectFinder(NAMESPACE).find_now(str(root)))
    assert subject is not None
    grant = {"repository": subject.file.repository, "path": subject.file.path, "digest": subject.digest}
    for place in (root / "trust.json", root / ".workroot" / "trust.json", root / "state" / "trust.json"):
        place.parent.mkdir(exist_ok=True)
        place.write_text(json.dumps({"version": 1, "records": [{**grant, "decision": "allow", "at": 1.0}]}))
        place.chmod(0o600)

    assert user.verdict(root) is Verdict.UNKNOWN
    assert user.run(root).returncode == 1


# What else could grant


def test_no_tool_grants_trust() -> None:
    for tool in TOOLS:
        said = json.dumps(tool.model_dump(mode="json", include={"name", "title", "input_schema"})).lower()
        assert not any(word in said for word in ("trust", "allow", "grant", "approve", "consent"))


def test_only_the_command_decides_and_nothing_that_clients_reach_does() -> None:
    package = Path(workroot.__file__).parent
    users = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("allow", "deny") and isinstance(node.ctx, ast.Load)
    }

    assert users == {"cli/trust_command.py"}


# The store


@pytest.mark.parametrize("mode", [0o644, 0o660])
def test_a_store_that_others_can_open_is_refused_with_its_cure(user: User, mode: int) -> None:
    root = user.project("shop")
    user.allow(root)
    user.store_path.chmod(mode)
    before = user.store_path.read_bytes()

    for arguments in ([root], ["--deny", root], ["--revoke", root], ["--list"]):
        result = user.run(*arguments)
        assert result.returncode == 1
        assert f"{user.store_path} must be a plain file" in result.stderr
        assert "0600" in result.stderr
    assert user.store_path.read_bytes() == before


def test_a_planted_link_grants_nothing(user: User) -> None:
    root = user.project("shop")
    user.allow(root)
    user.store_path.rename(root / "trust.json")
    user.store_path.symlink_to(root / "trust.json")

    result = user.run(root)

    assert result.returncode == 1
    assert "must be a plain file" in result.stderr


KILLED = """
import os, signal, sys
from pathlib import Path
from workroot.core.trust import ConfigFile, TrustSubject
from workroot.trust import TrustStore

call, is_after = sys.argv[2], sys.argv[3] == "after"
done = getattr(os, call)

def die(*args, **kwargs):
    if is_after:
        done(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(os, call, die)
TrustStore(Path(sys.argv[1])).allow(TrustSubject(file=ConfigFile("", "/new"), digest="b" * 64))
"""


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("call", ["fchmod", "fsync", "replace"])
def test_a_process_that_is_killed_while_it_writes_loses_nothing(user: User, call: str, moment: str) -> None:
    root = user.project("shop")
    user.allow(root)
    before = user.store.records()

    result = subprocess.run(
        [sys.executable, "-c", KILLED, str(user.store_path), call, moment], timeout=DEADLINE_SECONDS, check=False
    )

    assert result.returncode == -signal.SIGKILL
    kept = user.store.records()
    assert kept[:1] == before
    assert len(kept) == (2 if (call, moment) == ("replace", "after") else 1)
    assert user.run("--deny", root).returncode == 0
    assert os.listdir(user.store_path.parent) == ["trust.json"]
    assert stat.S_IMODE(user.store_path.stat().st_mode) == 0o600

"""Two values of a git config, as git reads them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workroot.project_finder.git_config import CoreSettings, core_settings


@pytest.mark.parametrize(
    ("text", "worktree", "is_bare"),
    [
        ("", None, False),
        ("[core]\n\tbare = false\n\tworktree = ../../../lib\n", "../../../lib", False),
        ("[core]\n\tbare = true\n", None, True),
        ("[core]\n\tbare\n", None, True),
        ("[core] bare = Yes\n", None, True),
        ("[CORE]\nWorkTree=/a\n", "/a", False),
        ("[core]\nworktree = /a b  # a comment\n", "/a b", False),
        ('[core]\nworktree = "/a # b" ; a comment\n', "/a # b", False),
        ('[core]\nworktree = "/a \\"b\\" \\\\c"\n', '/a "b" \\c', False),
        ("[core]\nworktree = /a\nworktree = /b\n", "/b", False),
        ("[core]\nworktree = /a\n[core]\nbare = true\n", "/a", True),
        ('[core "sub"]\nworktree = /a\n', None, False),
        ('[remote "core"]\nworktree = /a\n[corelike]\nworktree = /b\n', None, False),
        ("worktree = /a\n", None, False),
        ("[core]\nworktrees = /a\nwork = /b\n", None, False),
    ],
)
def test_core_says_where_the_worktree_is_and_whether_there_is_one(
    tmp_path: Path, text: str, worktree: str | None, is_bare: bool
) -> None:
    assert core_settings(text) == CoreSettings(worktree, is_bare)

    (tmp_path / "config").write_text(text)
    assert git_says(tmp_path, text, "core.worktree") == worktree
    assert git_says(tmp_path, text, "core.bare") in (("true",) if is_bare else ("false", None))


def git_says(directory: Path, text: str, name: str) -> str | None:
    kind = ["--type=bool"] if name == "core.bare" else []
    words = ["git", "config", "--file", str(directory / "config"), *kind, "--get", name]
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=30)
    return done.stdout.rstrip("\n") or None


@pytest.mark.parametrize("value", ['"open', "goes on \\", 'a"b'])
def test_a_value_that_is_not_whole_is_not_said(value: str) -> None:
    assert core_settings(f"[core]\nworktree = {value}\n").worktree is None


@given(text=st.text(alphabet='[]core="\\ #;\n\tworktreeba/.', max_size=200))
def test_whatever_is_written_is_read(text: str) -> None:
    core_settings(text)
    core_settings(f"[core]\nworktree = {text}")

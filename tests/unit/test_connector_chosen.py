"""Which installation's daemon is started, and that nothing but a choice counts as one."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from workroot.connector.chosen import SERVE_COMMAND, choose_this, serve_command
from workroot.errors import RendezvousError
from workroot.rendezvous import chosen_path, prepare_meeting_place


@pytest.fixture
def state(tmp_path: Path) -> str:
    tmp_path.chmod(0o700)
    prepare_meeting_place(str(tmp_path))
    return str(tmp_path)


def write(state: str, said: object) -> None:
    Path(chosen_path(state)).write_text(said if isinstance(said, str) else json.dumps(said))


def test_without_a_choice_it_is_this_installation(state: str) -> None:
    assert serve_command(state) == SERVE_COMMAND


def test_a_choice_replaces_the_one_before_it_and_is_private(state: str) -> None:
    write(state, {"python": "/bin/sh", "package": "/" + "x" * 300})
    choose_this(state)

    assert serve_command(state) == SERVE_COMMAND
    said = json.loads(Path(chosen_path(state)).read_text())
    assert said["python"] == sys.executable
    assert (Path(said["package"]) / "rendezvous.py").exists()


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_choice_that_cannot_be_written_leaves_the_one_before_it(
    state: str, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    write(state, {"python": "/bin/sh", "package": state})
    before = os.listdir(Path(chosen_path(state)).parent)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, failing, refuse)
        with pytest.raises(OSError, match="No space left"):
            choose_this(state)

    assert serve_command(state)[0] == "/bin/sh"
    assert os.listdir(Path(chosen_path(state)).parent) == before


def test_a_disk_that_takes_nothing_leaves_the_choice_before(state: str) -> None:
    write(state, {"python": "/bin/sh", "package": state})
    program = (
        "import resource, signal, sys\n"
        "from workroot.connector.chosen import choose_this\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "choose_this(sys.argv[1])\n"
    )

    done = subprocess.run([sys.executable, "-I", "-c", program, state], capture_output=True, text=True, check=False)

    assert "File too large" in done.stderr
    assert serve_command(state)[0] == "/bin/sh"


def test_another_installation_that_is_there_is_started(state: str) -> None:
    write(state, {"python": "/bin/sh", "package": state})

    assert serve_command(state) == ("/bin/sh", "-I", "-m", "workroot", "serve", "--ready-fd")


@pytest.mark.parametrize(
    "said",
    [
        "",
        "no JSON",
        "[" * 10_000,
        "\udcff",
        [],
        {"python": "/bin/sh"},
        {"python": "bin/sh", "package": "/"},
        {"python": "/gone/python", "package": "/"},
        {"python": "/bin/sh", "package": "/gone"},
        {"python": ["/bin/sh"], "package": 7},
        {"python": "/etc/passwd", "package": "/"},
        {"python": "/", "package": "/"},
        {"python": "/bin/sh\0", "package": "/"},
    ],
)
def test_what_names_no_installation_that_is_there_counts_for_nothing(state: str, said: object) -> None:
    if isinstance(said, str):
        Path(chosen_path(state)).write_bytes(said.encode(errors="surrogateescape"))
    else:
        write(state, said)

    assert serve_command(state) == SERVE_COMMAND


def test_a_choice_is_not_read_nor_written_through_a_link(state: str, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text(json.dumps({"python": "/bin/sh", "package": "/"}))
    os.symlink(elsewhere, chosen_path(state))

    assert serve_command(state) == SERVE_COMMAND
    with pytest.raises(RendezvousError):
        choose_this(state)
    assert "/bin/sh" in elsewhere.read_text()

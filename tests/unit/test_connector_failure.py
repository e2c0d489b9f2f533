from __future__ import annotations

import json
from pathlib import Path

import pytest

from workroot.connector.starting import _describe_failure

RECORD = json.dumps(
    {"time": "2026-07-28T09:00:00.000Z", "level": "ERROR", "logger": "x", "message": "the disk is full"}
)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (f"{RECORD}\n", "the disk is full"),
        (f"{RECORD}\nworkroot: no space left\n", "workroot: no space left"),
        (json.dumps({"message": "long", "exception": "x" * 12_000}) + "\n", "long"),
        ("{broken\n", "{broken"),
        ("[]\n", "[]"),
        ('{"message": 1}\n', '{"message": 1}'),
        ("", "it wrote nothing"),
    ],
)
def test_why_a_daemon_is_not_there_is_said_without_the_form_of_the_log(tmp_path: Path, written: str, said: str) -> None:
    log = tmp_path / "daemon.log"
    log.write_text(written)

    assert _describe_failure(b"", str(log), 0) == said

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import sys
before = set(sys.modules)
{statement}
import json
print(json.dumps(sorted(set(sys.modules) - before)))
"""

ALLOWED = {
    "__future__",
    "_collections",
    "_functools",
    "_json",
    "_operator",
    "_socket",
    "_sre",
    "collections",
    "copyreg",
    "enum",
    "functools",
    "itertools",
    "json",
    "keyword",
    "operator",
    "pwd",
    "re",
    "reprlib",
    "select",
    "time",
    "types",
    "workroot",
}


def modules_after(statement: str) -> set[str]:
    program = PROGRAM.format(statement=statement)
    done = subprocess.run([sys.executable, "-I", "-c", program], check=True, capture_output=True, text=True, timeout=30)
    return set(json.loads(done.stdout))


def test_a_connector_imports_only_what_starts_at_once() -> None:
    found = modules_after("import workroot.__main__, workroot.connector")
    packages = {name.partition(".")[0] for name in found}
    assert packages - ALLOWED == set(), "each costs every client some milliseconds; typing alone takes eight"
    assert {name for name in found if name.startswith("workroot.")} == {
        "workroot.__main__",
        "workroot.connector",
        "workroot.connector.conversation",
        "workroot.connector.lines",
        "workroot.connector.meeting",
        "workroot.connector.messages",
        "workroot.connector.outbox",
        "workroot.connector.readiness",
        "workroot.connector.relay",
        "workroot.errors",
        "workroot.errors.daemon",
        "workroot.errors.projects",
        "workroot.errors.sessions",
        "workroot.errors.store",
        "workroot.errors.tree",
        "workroot.errors.user",
        "workroot.rendezvous",
    }


def test_starting_a_daemon_needs_no_package_beyond_the_standard_library() -> None:
    found = modules_after("import workroot.connector.starting")
    packages = {name.partition(".")[0] for name in found}
    assert packages <= {*sys.stdlib_module_names, "workroot"}
    assert "asyncio" not in packages

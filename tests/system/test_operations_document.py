"""What `docs/operations.md` says is so: its tables are the files, settings, limits, signals and exit codes that are."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import tomllib
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

import click
import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from readme_document import ROOT, code, codes, find, inline_code, links
from real_daemon import ERAS, WORKROOT, Home, open_home

from workroot import daemon, rendezvous
from workroot.cli.exit_codes import ExitCode
from workroot.cli.program import program
from workroot.counters import Refusal
from workroot.daemon.settings_reload import LIVE_SETTINGS, RESTART_SETTINGS
from workroot.identity import TokenFile
from workroot.limits import Limits
from workroot.logs import FILE_BYTES, FILE_COUNT
from workroot.project_finder import file_pool
from workroot.service.launchd_agent import AGENT_FILE
from workroot.service.systemd_units import SERVICE_UNIT, SOCKET_UNIT
from workroot.settings import Settings, load_settings
from workroot.storage.backup import KEPT_BACKUPS
from workroot.transports import strict_json
from workroot.transports.http_bodies import MAX_BODY_BYTES
from workroot.transports.http_protocol import MAX_HEAD_BYTES
from workroot.transports.message_room import OWN_BYTES

PAGE = "docs/operations.md"
README = "README.md"


def rows(section: str, number: int = 1, *, document: str = PAGE) -> tuple[tuple[str, ...], ...]:
    return find("table", section, number, document=document).rows


def settable() -> list[str]:
    return [name for name in Settings.model_fields if name != "state_directory"]


# Settings and limits


def test_the_limits_are_those_of_the_code_in_their_order() -> None:
    assert [code(row[0]) for row in rows("Limits")] == list(Limits.model_fields)


def test_readme_and_this_page_have_every_setting_once() -> None:
    listed = [code(row[0]) for row in (*rows("Settings", document=README), *rows("Settings"), *rows("Limits"))]

    assert sorted(listed) == sorted(settable())


@pytest.mark.parametrize("row", [*rows("Settings"), *rows("Limits")], ids=lambda row: row[0].strip("`"))
def test_default_and_variable_of_a_setting_are_its_own(row: tuple[str, ...], tmp_path: Path) -> None:
    name = code(row[0])
    said = None if row[1] == "none" else tomllib.loads(f"value = {code(row[1])}")["value"]
    default = getattr(Settings(state_directory=tmp_path), name)

    assert said == default
    assert code(row[2]) == f"WORKROOT_{name.upper()}"
    changed = load_settings(
        {"WORKROOT_HOME": str(tmp_path), code(row[2]): "http://127.0.0.1:77" if said is None else "77"}
    )
    assert getattr(changed, name) != default
    assert len(row[3]) > 10


def test_the_kinds_of_refusals_are_those_that_are_counted_in_their_order() -> None:
    assert [code(row[0]) for row in rows("Limits", 3)] == list(get_args(Refusal))


def test_the_fixed_limits_are_those_of_the_code() -> None:
    assert MAX_BODY_BYTES == rendezvous.MAX_LINE_BYTES
    assert {row[0]: row[1] for row in rows("Limits", 2)} == {
        "a message, over the socket or HTTP": f"{MAX_BODY_BYTES // 1024 // 1024} MiB",
        "the first request of a connection over the socket, with what it takes in memory": f"{OWN_BYTES // 1024} KiB",
        "arrays and objects in each other, in a message": f"{strict_json.MOST_DEPTH}",
        "keys in a message": f"{strict_json.MOST_KEYS:,}",
        "arrays and objects in a message": f"{strict_json.MOST_CONTAINERS:,}",
        "files open at a time, which the daemon asks the system for": f"{daemon._DESCRIPTORS:,}",
        "threads that look at files which may hang": f"{file_pool.THREADS}, "
        f"and {file_pool.THREADS_PER_MOUNT} for each mount",
        "a look at such a file": f"{file_pool.ANSWER_SECONDS:g} s; "
        f"then its mount is left alone for {file_pool.BREAKER_SECONDS:g} s",
        "the log": f"{FILE_BYTES * FILE_COUNT // 1_000_000} MB",
        "copies of the database from before upgrades": f"{KEPT_BACKUPS}",
    }


def test_every_variable_that_is_named_exists() -> None:
    variables = {word for one in inline_code(PAGE) for word in re.findall(r"WORKROOT_[A-Z_]+", one)}

    assert variables <= {"WORKROOT_HOME"} | {f"WORKROOT_{name.upper()}" for name in settable()}


# Signals


def test_the_daemon_obeys_the_signals_of_the_table_and_no_others(home: Home) -> None:
    said = {getattr(signal, name) for row in rows("Signals") for name in re.findall(r"SIG[A-Z]+", row[0])}
    started = home.start()

    status = Path(f"/proc/{started.pid}/status").read_text()

    (caught,) = re.findall(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
    numbers = {number for number in signal.valid_signals() if int(caught, 16) >> (number - 1) & 1}
    assert said == {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    assert numbers & {*said, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT, signal.SIGALRM, signal.SIGWINCH} == said


def test_what_sighup_changes_is_what_the_code_says() -> None:
    said = {name: when for names, when in rows("Signals", 2) for name in codes(names)}

    assert said == dict(LIVE_SETTINGS)
    assert rows("Signals", 2)[-1][0] == "all others"
    assert sorted([*LIVE_SETTINGS, *RESTART_SETTINGS]) == sorted(settable())


async def test_a_signal_of_each_kind_does_what_the_table_says(home: Home) -> None:
    started = home.start()
    (home.state / "config.toml").write_text("show_recent_projects = false\nhttp = true\n")

    os.kill(started.pid, signal.SIGHUP)

    said = "settings read again; changed: show_recent_projects"
    await home.wait_until_async(lambda: said in home.log, what="a word on the settings")
    assert "needs a restart: http" in home.log  # is said before
    os.kill(started.pid, signal.SIGTERM)
    assert started.wait(10) == 0
    assert not Path(home.socket_path).exists()


# Files


async def test_the_state_directory_holds_what_the_table_lists(home: Home) -> None:
    listed = {name: row[1] for row in rows("Where everything lies") for name in codes(row[0])}
    host = Path(rendezvous.run_directory(str(home.state))).name
    home.settings["WORKROOT_HTTP"] = home.environment["WORKROOT_HTTP"] = "1"
    home.state.mkdir(mode=0o700)
    (home.state / "config.toml").write_text("")
    home.run("token", "create", "x")
    home.run("trust", "--deny", str(home.with_config("p", 'version = "1.0"\n[project]\nname = "P"\n')))
    async with home.open_client(ERAS[1], home.directory("d")) as client:
        await client.list_tools()
        running = files_of(home)
    made = home.ask("backup")
    home.run("stop")
    home.run("upgrade")
    found = {name.replace(f"/{host}/", "/HOST/"): mode for name, mode in {**running, **files_of(home)}.items()}

    assert Path(made["path"]).parent == home.state / "backups"
    generic = {re.sub(r"workroot-.+-\d{8}T\d{12}Z\.db", "workroot-VERSION-TIME.db", name) for name in found}
    if "run/HOST/daemon.sock" in listed and not Path(home.socket_path).is_relative_to(home.state):
        generic.add("run/HOST/daemon.sock")  # its path was too long here
    assert generic == {*listed} - {"workroot.db.vN.bak", "workroot.db.damaged-TIME", "workroot.db.replaced-TIME"}
    for name, mode in found.items():
        assert name == "config.toml" or mode == "0600", name
    assert {stat.S_IMODE(path.stat().st_mode) for path in home.state.rglob("*") if path.is_dir()} == {0o700}


def files_of(home: Home) -> dict[str, str]:
    """Return the modes of all that is in the state directory and is no directory."""
    return {
        path.relative_to(home.state).as_posix(): f"{stat.S_IMODE(path.lstat().st_mode):04o}"
        for path in home.state.rglob("*")
        if not path.is_dir()
    }


def test_the_units_are_called_what_the_page_calls_them() -> None:
    assert {SOCKET_UNIT, SERVICE_UNIT, AGENT_FILE} <= {*inline_code(PAGE)}


# Health and metrics


def test_the_pages_answer_as_the_table_says(shared: Home) -> None:
    base = shared.ask("status")["http"]["url"].removesuffix("/mcp")
    token = TokenFile(shared.state / "tokens.json").create("metrics")

    for page, needs_token, answer in rows("Health and metrics"):
        plain = httpx2.get(base + code(page))
        known = httpx2.get(base + code(page), headers={"Authorization": f"Bearer {token}"})

        assert plain.status_code == (401 if needs_token == "yes" else 200)
        assert known.status_code == 200
        assert (known.text == "ok\n") is ("`ok`" in answer)
        assert httpx2.get(base + code(page), headers={"Host": "evil.example"}).status_code == 421
        assert httpx2.get(base + code(page), headers={"Origin": "http://evil.example"}).status_code == 403
        assert httpx2.get(base + code(page), headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


async def test_the_metrics_are_those_of_the_table_with_their_labels(shared: Home) -> None:
    async with shared.open_client(ERAS[1], shared.repository("metrics")) as client:
        made = await client.call_tool("set_working_directory", {"directory": str(shared.top / "metrics")})
        assert made.structured_content is not None
        text = shared.run("status", "--metrics").stdout
    families = {family.name: family for family in text_string_to_metric_families(text)}
    listed = {code(name): set(codes(labels)) for name, labels, _ in rows("Health and metrics", 2)}

    named = {f"{name}_total" if family.type == "counter" else name for name, family in families.items()}
    assert {name for name in named if not name.startswith(("process_", "python_"))} == listed.keys()
    for name, labels in listed.items():
        for sample in families[name.removesuffix("_total")].samples:
            assert sample.labels.keys() - {"le"} == labels, name


# HTTP

PORT = 7668
"""Stands for the port in the requests below."""


def request(line: str = "POST /mcp HTTP/1.1", body: bytes = b"", **headers: str) -> bytes:
    """Return a request that is right but for what is given."""
    said = {"Host": f"127.0.0.1:{PORT}", "Authorization": "Bearer TOKEN", "Content-Type": "application/json"}
    said |= {"Content-Length": str(len(body)), "Connection": "close"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    head = "\r\n".join([line, *(f"{name}: {value}" for name, value in said.items())])
    return f"{head}\r\n\r\n".encode() + body


REFUSED = {
    "the target is a path": request(f"POST http://127.0.0.1:{PORT}/mcp HTTP/1.1"),
    "the head has": request(X=("x" * MAX_HEAD_BYTES)),
    "it arrives within `header": b"POST /mcp HTTP/1.1\r\nHost:",
    "a header that decides": request(host="127.0.0.1"),
    "`Host`": request(Host="evil.example"),
    "`Origin`": request(Origin="http://evil.example"),
    "`Sec-Fetch-Site`": request(Sec_Fetch_Site="cross-site"),
    "the path": request("POST /other HTTP/1.1"),
    "the method": request("PUT /mcp HTTP/1.1"),
    "a body is": request(Content_Type="text/plain"),
    "it has no": request(Content_Encoding="gzip"),
    "it has at most": request(Content_Length=str(MAX_BODY_BYTES + 1)),
    "`Authorization`": request(Authorization="Bearer wrt_wrong"),
    "its user keeps": b"",  # as many as are needed
    "the body arrives": request(body=b"{", Content_Length="2"),
    "it is strict JSON": request(body=b'{"a": 1, "a": 2}'),
}
"""How each check begins, and a request that fails it."""


def test_http_refuses_what_the_table_says_in_its_words() -> None:
    limits = {"HEADER_SECONDS": "0.3", "BODY_SECONDS": "0.3", "REQUEST_BURST": "9", "REQUESTS_PER_SECOND": "0.01"}
    with open_home(WORKROOT_HTTP="1", **{f"WORKROOT_{name}": value for name, value in limits.items()}) as home:
        home.start()
        port = urlsplit(home.ask("status")["http"]["url"]).port
        tokens = TokenFile(home.state / "tokens.json")
        known = {user: tokens.create(user, user).encode() for user in ("ada", "bob")}

        def answer_to(data: bytes, user: str = "ada") -> bytes:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(data.replace(b":7668", b":%d" % port).replace(b"TOKEN", known[user]))
                with connection.makefile("rb") as lines:
                    status = lines.readline().split()[1]
                    assert b"jsonrpc" in lines.read() or status == b"202"
            return status

        said = [(row[0], row[1].encode()) for row in rows("HTTP")]
        assert [[start for start in REFUSED if what.startswith(start)] for what, _ in said] == [
            [one] for one in REFUSED
        ]
        for (what, status), data in zip(said, REFUSED.values(), strict=True):
            if data:
                assert answer_to(data) == status, what
            else:
                right = request(body=b'{"jsonrpc": "2.0", "method": "x"}')
                assert status in [answer_to(right, "bob") for _ in range(10)][-1:], what
    assert f"{MAX_HEAD_BYTES // 1024} KiB" in said[1][0]
    assert f"{MAX_BODY_BYTES // 1024 // 1024} MiB" in said[11][0]


# Exit codes, commands, links


def test_the_exit_codes_are_theirs_and_those_of_the_readme() -> None:
    here, there = rows("Exit codes"), rows("Command line", 2, document=README)

    assert [int(row[0]) for row in here] == list(ExitCode)
    for (number, meaning), (_, brief) in zip(here, there, strict=True):
        assert meaning.startswith(brief.split(";")[0]), number


def test_every_command_and_option_of_the_page_exists() -> None:
    text = (ROOT / PAGE).read_text("utf-8")
    for line in {*re.findall(r"workroot ([a-z][^`\n&]*)", "\n".join(inline_code(PAGE))), *blocks_of(text)}:
        words = line.split()
        command: click.Command | None = program.commands.get(words[0])
        assert command is not None, line
        if isinstance(command, click.Group) and len(words) > 1:
            command = command.commands.get(words[1])
            assert command is not None, line
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word.strip("[]") for word in words if word.strip("[]").startswith("-")} <= options, line


def blocks_of(text: str) -> list[str]:
    """Return the commands in the page's blocks, without the name of the program."""
    return [found for line in text.splitlines() for found in re.findall(r"(?:^|&& )\s*workroot ([a-z].*)$", line)]


def test_the_first_command_examines_and_removal_leaves_nothing(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "PATH": f"{Path(WORKROOT).parent}:{os.environ['PATH']}"}
    state = Path(rendezvous.state_directory(environment))

    def shell(script: str) -> None:
        subprocess.run(
            ["/bin/sh", "-e", "-c", script],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=60,
        )

    shell("workroot token create x")
    shell(find("sh", "Running the daemon", document=PAGE).text)
    assert state.is_dir()
    shell(find("sh", "Remove it", document=PAGE).text)
    assert not state.exists()


def test_the_readme_leads_here() -> None:
    assert PAGE in links()

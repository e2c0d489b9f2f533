"""What a real daemon says of itself: numbers that change with what its clients do, in both eras."""

from __future__ import annotations

import http.server
import json
import os
import queue
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families
from real_daemon import DEADLINE_SECONDS, ERAS, LEGACY, WORKROOT, Home, answer_of, error_of, open_home

from workroot import rendezvous
from workroot.cli.exit_codes import ExitCode
from workroot.identity import TokenFile


@pytest.fixture
def home() -> Iterator[Home]:
    with open_home() as home:
        yield home


def samples_of(text: str) -> dict[str, float]:
    """Return each sample by its name and label values, in the alphabetic order of the labels."""
    return {
        "/".join((sample.name, *sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def metrics(home: Home) -> dict[str, float]:
    ended = home.run("status", "--metrics")
    assert ended.returncode == ExitCode.OK, ended.stderr
    return samples_of(ended.stdout)


def era_of(mode: str) -> str:
    return "handshake" if mode == LEGACY else "modern"


# Over the socket


@pytest.mark.parametrize("mode", ERAS)
async def test_status_and_metrics_follow_what_clients_do(home: Home, mode: str) -> None:
    home.start()
    shop, user = home.repository("shop"), f"uid:{os.getuid()}"
    before = metrics(home)
    assert before["workroot_build_info/" + home.ask("status")["version"]] == 1
    assert before.get(f"mcp_sessions_active/{user}", 0) == 0

    async with home.open_client(mode, shop) as client:
        answer = await answer_of(client, "set_working_directory", directory=str(shop))
        await error_of(client, "get_working_directory", session_id="wr_unknown")
        status, during = home.ask("status"), metrics(home)
        assert status["clients"] == [{"name": "ada", "transport": "unix", "era": era_of(mode), "connections": 1}]
        assert (status["connections"], status["sessions"], status["projects"]) == (1, 1, 1)
        assert during[f"mcp_sessions_active/{user}"] == during[f"mcp_sessions_created_total/{user}"] == 1
        assert during["workroot_tool_calls_total/ok/set_working_directory"] == 1
        assert during["workroot_tool_calls_total/tool_error/get_working_directory"] == 1
        assert during["workroot_requests_total/tools/call/tool_error"] == 1
        assert during["workroot_tool_call_duration_seconds_count/set_working_directory"] == 1
        assert during[f"workroot_connections/{era_of(mode)}/unix"] == 1
        assert during["workroot_store_commits_total/kept"] > before["workroot_store_commits_total/kept"]
        await answer_of(client, "close_session", session_id=answer["session_id"])

    await home.wait_until_async(lambda: home.ask("status")["connections"] == 0, what="the client is gone")
    after = metrics(home)
    assert home.ask("status")["clients"] == []
    assert after[f"mcp_sessions_active/{user}"] == 0
    assert after[f"mcp_sessions_closed_total/{user}"] == 1
    assert after[f"mcp_sessions_expired_total/{user}"] == 0


async def test_sessions_that_nobody_uses_are_stale_and_then_expired() -> None:
    with open_home(WORKROOT_SESSION_IDLE_SECONDS="0.01") as home:
        home.start()
        shop, user = home.repository("shop"), f"uid:{os.getuid()}"
        async with home.open_client(ERAS[1], shop) as client:
            await answer_of(client, "set_working_directory", directory=str(shop))
        await home.wait_until_async(lambda: home.ask("status")["stale_sessions"] == 1, what="stale")

        home.ask("sweep")

        assert metrics(home)[f"mcp_sessions_expired_total/{user}"] == 1
        assert home.ask("status")["stale_sessions"] == 0
        assert home.ask("status")["ended_sessions"] == 1


def test_status_is_a_screen_for_people_and_whole_for_programs(home: Home) -> None:
    home.start()

    shown, whole = home.run("status").stdout, json.loads(home.run("status", "--json").stdout)

    assert len(shown.splitlines()) <= 24
    for fact in ("running", "version", "takes", "sessions", "clients", "projects", "watching", "store", "log"):
        assert (f"\n{fact} " in f"\n{shown}") == (fact != "clients"), fact
    assert whole["running"] is True
    assert whole["store"]["path"] == str(home.state / "workroot.db")
    assert (whole["store"]["journal_mode"], whole["store"]["problem"]) == ("wal", None)
    assert whole["watching"]["is_working"] is True
    assert whole["memory_bytes"] > 10_000_000
    assert whole["descriptors"]["used"] < whole["descriptors"]["limit"]
    assert whole["unready"] is None


def test_a_database_that_was_deleted_is_said_at_once(home: Home) -> None:
    home.start()

    (home.state / "workroot.db").unlink()

    assert home.ask("status")["unready"] == "store"
    assert "was deleted or replaced" in home.run("status").stdout
    assert metrics(home)["workroot_store_usable"] == 0


def test_what_went_wrong_of_late_is_in_the_status() -> None:
    with open_home() as home:
        home.state.mkdir(mode=0o700)
        (home.state / "config.toml").write_text("")
        home.start()
        (home.state / "config.toml").write_text("mistake = 1\n")
        os.kill(home.ask("status")["pid"], signal.SIGHUP)
        home.wait_until(lambda: bool(home.ask("status")["problems"]), what="a problem")

        (problem,) = home.ask("status")["problems"]

        assert (problem["level"], problem["count"]) == ("ERROR", 1)
        assert str(problem["message"]) in home.run("status").stdout
        assert metrics(home)["workroot_log_records_total/ERROR"] == 1


def test_without_a_daemon_metrics_are_nothing_and_exit_3(home: Home) -> None:
    ended = home.run("status", "--metrics")

    assert (ended.returncode, ended.stdout) == (ExitCode.NOT_RUNNING, "")
    assert "no daemon is running" in ended.stderr
    assert home.run("status", "--metrics", "--json").returncode == ExitCode.USAGE


def test_a_terminal_gets_lines_for_people_and_the_file_json(home: Home) -> None:
    ours, theirs = os.openpty()
    daemon = subprocess.Popen(
        [WORKROOT, "serve"], env=home.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs
    )
    home.started.append(daemon)
    os.close(theirs)
    shown = b""
    while b"serving, pid" not in shown:
        assert select.select([ours], [], [], DEADLINE_SECONDS)[0]
        shown += os.read(ours, 4096)
    os.close(ours)

    assert b" INFO    daemon: serving, pid " in shown
    assert b"{" not in shown
    assert all(json.loads(line)["time"].endswith("Z") for line in home.log.splitlines())


def test_clients_that_come_and_go_without_end_leave_a_short_log(home: Home) -> None:
    home.start()
    for _ in range(200):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(DEADLINE_SECONDS)
            connection.connect(home.socket_path)
            connection.sendall(rendezvous.hello_line(role="mcp", version="1"))
            assert connection.recv(4096)
    home.run("stop")

    messages = [json.loads(line)["message"] for line in home.log.splitlines()]
    assert len(messages) < 150
    folded = [message for message in messages if message.startswith("and ") and "connection" in message]
    written = [message for message in messages if message.startswith("connection opened")]
    assert sum(int(m.split()[1]) for m in folded if "opened" in m) + len(written) == 200


# Over HTTP


@contextmanager
def http_home() -> Iterator[tuple[Home, str]]:
    with open_home(WORKROOT_HTTP="true") as home:
        home.start()
        yield home, home.ask("status")["http"]["url"].removesuffix("/mcp")


def test_health_needs_no_token_and_metrics_do() -> None:
    with http_home() as (home, url):
        assert httpx2.get(f"{url}/healthz").text == "ok\n"
        assert httpx2.get(f"{url}/readyz").text == "ok\n"
        assert httpx2.get(f"{url}/metrics").status_code == 401
        assert httpx2.get(f"{url}/healthz", headers={"Origin": "http://evil.example"}).status_code == 403

        token = TokenFile(home.state / "tokens.json").create("prometheus", None)
        answer = httpx2.get(f"{url}/metrics", headers={"Authorization": f"Bearer {token}"})

        assert answer.headers["content-type"].startswith("text/plain; version=")
        assert samples_of(answer.text)["workroot_store_usable"] == 1
        assert samples_of(answer.text)["workroot_refusals_total/http_token"] == 1
        assert samples_of(answer.text)["workroot_refusals_total/http_origin"] == 1


def test_a_daemon_that_cannot_keep_anything_is_alive_and_not_ready() -> None:
    with http_home() as (home, url):
        (home.state / "workroot.db").unlink()

        ready = httpx2.get(f"{url}/readyz")

        assert (ready.status_code, ready.text) == (503, "store\n")
        assert httpx2.get(f"{url}/healthz").status_code == 200


@pytest.mark.parametrize("mode", ERAS)
async def test_clients_over_http_are_counted_too(mode: str) -> None:
    with http_home() as (home, _):
        async with home.open_http_client(mode) as client:
            await client.call_tool("get_working_directory", {})

            counted = metrics(home)

        assert counted["workroot_tool_calls_total/ok/get_working_directory"] == 1
        assert counted.get("workroot_connections/handshake/http", 0) == (1 if mode == LEGACY else 0)


# OpenTelemetry


class Collector:
    """Takes OTLP over HTTP, as a collector does, and keeps the spans."""

    def __init__(self, server: http.server.ThreadingHTTPServer, received: queue.Queue[bytes]) -> None:
        self.url, self._received = f"http://127.0.0.1:{server.server_port}", received

    def next_body(self) -> bytes:
        """Wait for the next export, and return it."""
        return self._received.get(timeout=DEADLINE_SECONDS)


@contextmanager
def collector() -> Iterator[Collector]:
    received: queue.Queue[bytes] = queue.Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            if self.path == "/v1/traces":
                received.put(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Collector(server, received)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("variable", ["WORKROOT_OTEL_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"])
async def test_spans_reach_a_collector_and_tell_nothing_of_contents(mode: str, variable: str) -> None:
    with (
        collector() as collecting,
        open_home(
            **{variable: collecting.url, "OTEL_BSP_SCHEDULE_DELAY": "50", "OTEL_EXPORTER_OTLP_COMPRESSION": ""}
        ) as home,
    ):
        home.start()
        shop = home.repository("shop")
        async with home.open_client(mode, shop) as client:
            session = (await answer_of(client, "set_working_directory", directory=str(shop)))["session_id"]
            await error_of(client, "get_working_directory", directory="/home/nobody/secret")
            await client.read_resource(f"workroot://sessions/{session}")
        home.run("stop")

        names: dict[str, dict[str, str]] = {}
        bodies = b""
        while "resources/read" not in names:
            bodies += (body := collecting.next_body())
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for span in (span for scope in resource.scope_spans for span in scope.spans):
                    names[span.name] = {each.key: each.value.string_value for each in span.attributes}

    assert names["tools/call set_working_directory"]["gen_ai.tool.name"] == "set_working_directory"
    assert names["tools/call get_working_directory"]["error.type"] == "tool_error"
    for content in (session, str(shop), "secret", str(Path(home.environment["HOME"]))):
        assert content.encode() not in bodies


def test_a_collector_that_is_not_there_keeps_nobody_from_starting_or_stopping() -> None:
    with open_home(WORKROOT_OTEL_ENDPOINT="http://127.0.0.1:1") as home:
        daemon = home.start()
        home.ask("sessions")

        home.ask("stop")

        assert daemon.wait(DEADLINE_SECONDS) == 0

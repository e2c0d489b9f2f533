from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
from importlib import metadata

import pytest

from workroot.observation.tracing import is_tracing_wished, open_tracing


@pytest.mark.parametrize(
    ("endpoint", "environment", "wished"),
    [
        (None, {}, False),
        ("http://127.0.0.1:4318", {}, True),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        (None, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        (None, {"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ("http://127.0.0.1:4318", {"OTEL_TRACES_EXPORTER": "none"}, False),
        ("http://127.0.0.1:4318", {"OTEL_SDK_DISABLED": "true"}, False),
        (None, {"OTEL_SERVICE_NAME": "mine"}, False),
    ],
)
def test_spans_are_sent_only_where_somebody_named_a_place_for_them(
    endpoint: str | None, environment: dict[str, str], wished: bool
) -> None:
    assert is_tracing_wished(endpoint, environment) is wished


def test_nothing_of_opentelemetry_is_begun_unasked() -> None:
    with open_tracing(None, {}) as is_tracing:
        assert not is_tracing


@pytest.mark.parametrize(
    ("endpoint", "environment", "cure"),
    [("http://127.0.0.1:4318", {}, "workroot[otel]"), (None, {"OTEL_TRACES_EXPORTER": "fancy"}, "fancy")],
)
def test_without_an_exporter_the_log_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    endpoint: str | None,
    environment: dict[str, str],
    cure: str,
) -> None:
    monkeypatch.setattr(metadata, "entry_points", lambda **_: ())

    with caplog.at_level(logging.WARNING), open_tracing(endpoint, environment) as is_tracing:
        assert not is_tracing

    assert cure in caplog.text


PROGRAM = """
import threading
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Status, StatusCode
from workroot.observation.tracing import open_tracing

class Kept(SpanExporter):
    spans = []
    def export(self, spans):
        self.spans.extend(spans)
        return SpanExportResult.SUCCESS
    def shutdown(self):
        {at_end}

with open_tracing(exporter=Kept()) as is_tracing:
    assert is_tracing
    attributes = {{"gen_ai.tool.name": "wr_7Hq2kQ9-vXzLw_3bNf5TgYcD", "directory": "/home/ada"}}
    with trace.get_tracer("x").start_as_current_span("tools/call " + "x" * 500, attributes=attributes) as span:
        span.record_exception(ValueError("/home/ada"))
        span.set_status(Status(StatusCode.ERROR, "/home/ada"))
for span in Kept.spans:
    print(span.to_json())
"""


def run(at_end: str) -> str:
    """Run in a process of its own: OpenTelemetry can be set up once in each."""
    program = textwrap.dedent(PROGRAM).format(at_end=at_end)
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=15)
    return done.stdout


def test_a_span_says_what_was_asked_and_nothing_of_what_was_in_it() -> None:
    said = run("pass")

    assert '"gen_ai.tool.name": "wr_7Hq2kQ9-..."' in said
    assert '"status_code": "ERROR"' in said
    assert "/home/ada" not in said
    assert "x" * 65 not in said


def test_a_collector_that_hangs_does_not_hold_up_the_end() -> None:
    run("threading.Event().wait(3600)")

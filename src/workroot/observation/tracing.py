"""Spans for OpenTelemetry, if its user has asked for them: the SDK makes one for every message, this sends them out.

What leaves the process is which method or tool was asked, in which protocol version, for how long and with which
kind of error: no path, no handle, no argument and no text of an error.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import contextmanager
from importlib import metadata
from typing import TYPE_CHECKING

from workroot import __version__
from workroot.redaction import without_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

__all__ = ["is_tracing_wished", "open_tracing"]

logger = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_EXPORTER = "OTEL_TRACES_EXPORTER"
_DISABLED = "OTEL_SDK_DISABLED"
_OTLP_HTTP = "otlp_proto_http"
_END_SECONDS = 1.0  # a collector that does not answer must not hold up the end of the daemon
_KEPT = frozenset(
    (
        "mcp.method.name",
        "mcp.protocol.version",
        "jsonrpc.request.id",
        "gen_ai.operation.name",
        "gen_ai.tool.name",
        "error.type",
        "rpc.response.status_code",
    )
)
_LONGEST_VALUE = 64  # characters


def is_tracing_wished(endpoint: str | None, environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether somebody named a place for spans: the setting `otel_endpoint`, or OpenTelemetry's own variables."""
    exporter = environment.get(_EXPORTER, "").strip().lower()
    if exporter == "none" or environment.get(_DISABLED, "").strip().lower() == "true":
        return False
    return endpoint is not None or bool(exporter) or any(environment.get(name) for name in _ENDPOINTS)


@contextmanager
def open_tracing(
    endpoint: str | None = None,
    environment: Mapping[str, str] = os.environ,
    *,
    exporter: SpanExporter | None = None,
) -> Iterator[bool]:
    """Send spans for as long as the context lasts, if that is wished and possible; yields whether.

    Why it is not possible is logged, and the daemon does without: nobody works worse for it.

    Args:
        endpoint: of an OTLP collector over HTTP, such as `http://127.0.0.1:4318`.
        environment: OpenTelemetry's variables in it count where *endpoint* is None; the exporter reads some itself.
        exporter: takes the spans instead, for tests.
    """
    if exporter is None:
        if not is_tracing_wished(endpoint, environment):
            yield False
            return
        exporter = _exporter(endpoint, environment)
    if exporter is None:
        yield False
        return
    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": "workroot", "service.version": __version__})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_with_little_said(exporter)))
    trace.set_tracer_provider(provider)  # can be set once in a process, which is what a daemon is
    logger.info("sending spans of MCP messages to OpenTelemetry")
    try:
        yield True
    finally:
        ending = threading.Thread(target=provider.shutdown, name="workroot-spans", daemon=True)
        ending.start()
        ending.join(_END_SECONDS)


def _exporter(endpoint: str | None, environment: Mapping[str, str]) -> SpanExporter | None:
    """Return the exporter that was asked for, or None with a word in the log on why there is none."""
    named = environment.get(_EXPORTER, "").strip().lower()
    if endpoint is not None or named in ("", "otlp"):
        named = _OTLP_HTTP
    try:
        (found,) = metadata.entry_points(group="opentelemetry_traces_exporter", name=named)
        make = found.load()
        made: SpanExporter = make(endpoint=f"{endpoint.rstrip('/')}/v1/traces") if endpoint is not None else make()
    except Exception as error:  # a boundary: exporters are anybody's packages
        cure = "; install the extra that brings it: workroot[otel]" if named == _OTLP_HTTP else ""
        logger.warning(
            "no spans are sent: there is no exporter %s that works (%s)%s", named, type(error).__name__, cure
        )
        return None
    return made


def _fit(text: str) -> str:
    return without_secrets(text)[:_LONGEST_VALUE]  # a client may call a tool what it likes


def _with_little_said(exporter: SpanExporter) -> SpanExporter:
    """Return an exporter that gets spans without what they tell of contents."""
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.trace import Status

    class LittleSaid(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            return exporter.export([shorn(span) for span in spans])

        def shutdown(self) -> None:
            exporter.shutdown()

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return exporter.force_flush(timeout_millis)

    def shorn(span: ReadableSpan) -> ReadableSpan:
        kept = {
            name: _fit(value) if isinstance(value, str) else value
            for name, value in (span.attributes or {}).items()
            if name in _KEPT
        }
        return ReadableSpan(
            name=_fit(span.name),
            context=span.context,
            parent=span.parent,
            resource=span.resource,
            attributes=kept,
            kind=span.kind,
            status=Status(span.status.status_code),  # its description is the text of an error
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )  # without events, which hold tracebacks

    return LittleSaid()

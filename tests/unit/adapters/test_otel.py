"""The tracing backend: what the environment asks for, what the SDK makes of our spans, and that off costs nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from kube_job_runner import settings
from kube_job_runner.adapters import otel
from kube_job_runner.bootstrap import traces
from kube_job_runner.bootstrap.components import BY_NAME, ROWS
from kube_job_runner.domain.record.trace import Span, TraceContext
from tests.support.otlp import Receiver

PARENT = TraceContext(trace_id="4bf92f3577b34da6a3ce929d0e0e4736", span_id="00f067aa0ba902b7", sampled=True)
NOW = datetime(2026, 1, 15, 9, 30, 0, 123456, tzinfo=UTC)
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture(autouse=True)
def _no_otel_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    made = Receiver()
    monkeypatch.setenv(ENDPOINT, made.url)
    yield made
    made.close()


def span(context: TraceContext, **fields: Any) -> Span:
    return Span(**{"name": "job", "context": context, "started_at": NOW, "ended_at": NOW, **fields})


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
        ({ENDPOINT: ""}, False),
        ({ENDPOINT: "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({ENDPOINT: "http://c:4318", "OTEL_SDK_DISABLED": "True"}, False),
        ({ENDPOINT: "http://c:4318", "OTEL_SDK_DISABLED": "1"}, True),  # by the specification only "true" disables
        ({ENDPOINT: "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_the_standard_variables_say_whether(environ: dict[str, str], wanted: bool) -> None:
    assert settings.tracing_wanted(environ) is wanted


def test_keys_of_a_receiver_are_secrets() -> None:
    environ = {"OTEL_EXPORTER_OTLP_HEADERS": "api-key=abcdef123,other=a%20b%20cd"}
    assert {"abcdef123", "a%20b%20cd", "a b cd"} <= settings.secrets(settings.Settings(), environ)


def test_off_it_is_not_even_imported() -> None:
    script = """
import asyncio, sys
from kube_job_runner import client
from kube_job_runner.bootstrap import traces
from kube_job_runner.bootstrap.components import ROWS
from kube_job_runner.cli import main
async def check():
    async with traces.tracing(ROWS) as tracer_of:
        assert [tracer_of(row.name) for row in ROWS] == [None] * 7
asyncio.run(check())
client.Client("http://127.0.0.1:1", "t")
print(sorted(name for name in sys.modules if name.startswith("opentelemetry")))
"""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.asyncio
async def test_components_that_make_no_spans_open_nothing(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "_trace_pipeline", lambda: pytest.fail("opened"))
    async with traces.tracing([BY_NAME["sweeper"], BY_NAME["pod-events-processor"]]) as tracer_of:
        assert tracer_of("sweeper") is None


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "this OTLP protocol is not supported"),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "-1"}, "an OTEL_* variable is invalid"),
    ],
)
async def test_what_cannot_be_had_is_said_and_jobs_run_without(
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, str],
    told: str,
) -> None:
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    async with traces.tracing(ROWS) as tracer_of:
        assert tracer_of("web-server") is None
    assert told in "".join(capsys.readouterr())


@pytest.mark.asyncio
async def test_without_the_extra_it_says_what_to_install(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "kube_job_runner.adapters.otel", None)
    async with traces.tracing(ROWS) as tracer_of:
        assert tracer_of("web-server") is None
    assert "kube-job-runner[otel]" in "".join(capsys.readouterr())


@pytest.mark.asyncio
async def test_spans_arrive_as_they_were_given(receiver: Receiver) -> None:
    async with traces.tracing([BY_NAME["web-server"]]) as tracer_of:
        tracer = tracer_of("web-server")
        assert tracer is not None
        child = tracer.begin(PARENT)
        tracer.record([span(child, parent=PARENT, kind="server", links=(PARENT,), error="Why", attributes={"a": 1})])
    [got] = receiver.spans
    assert (got.service, got.trace_id, got.span_id) == ("kjr-web-server", PARENT.trace_id, child.span_id)
    assert (got.parent_id, got.kind, got.status, got.message) == (PARENT.span_id, 2, 2, "Why")
    assert (got.attributes, got.links) == ({"a": 1}, ((PARENT.trace_id, PARENT.span_id),))
    assert got.start == 1_768_469_400_123_456_000


@pytest.mark.parametrize(
    "environ", [{"OTEL_SERVICE_NAME": "mine"}, {"OTEL_RESOURCE_ATTRIBUTES": "service.name=mine,deployment=prod"}]
)
def test_a_service_that_the_environment_names_keeps_its_name(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    tracing = otel.Tracing()
    tracing.tracer("sweeper").record([span(PARENT)])
    tracing.close()
    assert [got.service for got in receiver.spans] == ["mine"]


def test_a_span_goes_on_with_its_parent_and_a_new_one_asks_the_sampler(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    tracing = otel.Tracing()
    tracer = tracing.tracer("web-server")
    new, child = tracer.begin(None), tracer.begin(PARENT)
    tracer.record([span(new), span(child, parent=PARENT)])
    tracing.close()
    assert (new.sampled, child.sampled, child.trace_id) == (False, True, PARENT.trace_id)
    assert new.trace_id != tracer.begin(None).trace_id
    assert [got.span_id for got in receiver.spans] == [child.span_id]


def test_a_sampler_or_a_span_that_fails_fails_no_job(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tracing = otel.Tracing()
    tracer = tracing.tracer("web-server")

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(tracer._sampler, "should_sample", fail)
    assert tracer.begin(PARENT).sampled is False
    monkeypatch.setattr(tracer._processor, "on_end", fail)
    tracer.record([span(PARENT)])
    tracing.close()
    told = "".join(capsys.readouterr())
    assert "the trace sampler failed" in told
    assert "spans not recorded" in told


def test_a_receiver_that_is_silent_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "3")
        monkeypatch.setattr(otel, "CLOSE_SECONDS", 0.2)
        tracing = otel.Tracing()
        tracing.tracer("web-server").record([span(PARENT)])
        began = time.monotonic()
        tracing.close()
        assert time.monotonic() - began < 2

"""The caller's trace goes along with a submit, and with nothing else."""

from __future__ import annotations

import sys

import pytest
from opentelemetry import context, trace
from opentelemetry.sdk.trace import TracerProvider

from tests.unit.client.conftest import JOB_ID, Driver, Script, job

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize("wrong", ["", "4bf92f", TRACEPARENT + "\r\nx: y", TRACEPARENT.upper()])
def test_without_a_trace_no_header_is_sent(
    client: Driver, script: Script, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setenv("TRACEPARENT", wrong)
    script.add(job())
    client.call("submit", image="busybox")
    assert "traceparent" not in script.requests[0].headers


def test_the_variable_goes_with_every_submit_and_rerun(
    client: Driver, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEPARENT", TRACEPARENT)
    script.add(job(), {"results": [{"status": 201, "job": job()}], "warnings": []}, job(), job())
    client.call("submit", image="busybox")
    client.call("submit_many", [{"image": "busybox"}])
    client.call("rerun", JOB_ID)
    client.call("get", JOB_ID)
    assert [request.headers.get("traceparent") for request in script.requests] == [TRACEPARENT] * 3 + [None]


def test_a_current_span_goes_before_the_variable(
    client: Driver, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEPARENT", TRACEPARENT)
    script.add(job())
    span = TracerProvider(shutdown_on_exit=False).get_tracer("caller").start_span("work")
    token = context.attach(trace.set_span_in_context(span))
    try:
        client.call("submit", image="busybox")
    finally:
        context.detach(token)
    ids = span.get_span_context()
    assert script.requests[0].headers["traceparent"] == f"00-{ids.trace_id:032x}-{ids.span_id:016x}-01"


def test_a_program_without_opentelemetry_does_not_get_it(
    client: Driver, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "opentelemetry"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setenv("TRACEPARENT", TRACEPARENT)
    script.add(job())
    client.call("submit", image="busybox")
    assert script.requests[0].headers["traceparent"] == TRACEPARENT
    assert not [name for name in sys.modules if name.split(".")[0] == "opentelemetry"]

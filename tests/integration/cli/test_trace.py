"""One trace from submit to end: real components, real PostgreSQL, jobs as processes, and a real receiver of OTLP."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from kube_job_runner.client import connection
from tests.integration.cli.conftest import Server, wait_for
from tests.support.otlp import Received, Receiver

PHASES = {"queued", "created", "running", "finishing"}
PASSING = {"scheduled"}  # seen only while it lasts, which may be too short
WHOLE = {"submit", "job", "log.store", *PHASES}
SERVER_KIND, ERROR = 2, 2


class Traced:
    """A server that sends its traces to the receiver, and raw requests to it."""

    def __init__(self, server: Server, receiver: Receiver) -> None:
        self.server = server
        self.receiver = receiver
        found = connection.read_file(server.data / connection.FILE_NAME)
        assert found is not None
        self.http = httpx2.Client(base_url=found.url, headers={"Authorization": f"Bearer {found.token}"})

    def post(self, path: str, body: dict[str, Any], *, traceparent: str | None = None) -> Any:
        headers = {} if traceparent is None else {"traceparent": traceparent}
        answer = self.http.post(path, json=body, headers=headers)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    def submit(self, script: str, *, traceparent: str | None = None, **fields: Any) -> str:
        spec = {"image": "busybox", "command": ["sh", "-c", script], **fields}
        job_id: str = self.post("/v1/jobs", spec, traceparent=traceparent)["id"]
        return job_id

    def seen_by(self, job_id: str) -> str:
        """Return what the program of a job printed, once the job has ended."""
        with self.server.client() as client:
            client.wait(job_id, check=False)
        wait_for(lambda: "stored" in self.http.get(f"/v1/jobs/{job_id}/attempts").text)
        return self.http.get(f"/v1/jobs/{job_id}/logs").text.strip()


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    receiver = Receiver()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        patch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        server = Server(tmp_path_factory.mktemp("traced"))
    made = Traced(server, receiver)
    try:
        yield made
    finally:
        made.http.close()
        code = server.stop()
        receiver.close()
    assert code == 0, server.log.read_text()


def incoming(flags: str = "01") -> tuple[str, str, str]:
    trace_id, span_id = secrets.token_hex(16), secrets.token_hex(8)
    return trace_id, span_id, f"00-{trace_id}-{span_id}-{flags}"


def by_name(spans: list[Received]) -> dict[str, Received]:
    assert len({span.span_id for span in spans}) == len(spans)
    return {span.name: span for span in spans}


def test_the_callers_trace_goes_from_submit_to_the_end_and_into_the_container(traced: Traced) -> None:
    trace_id, caller, traceparent = incoming()
    job_id = traced.submit('echo "$TRACEPARENT"', traceparent=traceparent, env={"HIDDEN": "do-not-export"})
    printed = traced.seen_by(job_id)
    spans = by_name(traced.receiver.trace(trace_id, names=WHOLE))
    assert set(spans) - PASSING == WHOLE
    assert spans["submit"].parent_id == caller
    assert spans["job"].parent_id == spans["submit"].span_id
    assert {spans[name].parent_id for name in set(spans) - {"submit", "job"}} == {spans["job"].span_id}
    assert printed == f"00-{trace_id}-{spans['running'].span_id}-01"
    assert {name: span.service for name, span in spans.items()} == {
        **dict.fromkeys(spans, "kjr-messages-processor"),
        "submit": "kjr-web-server",
        "log.store": "kjr-log-collector",
    }
    assert spans["submit"].kind == SERVER_KIND
    assert {span.attributes["kjr.job.id"] for span in spans.values()} == {job_id}
    assert all(span.end >= span.start for span in spans.values())
    assert spans["queued"].end == spans["created"].start <= spans["running"].start
    assert spans["running"].end == spans["finishing"].start
    [attempt] = traced.http.get(f"/v1/jobs/{job_id}/attempts").json()["attempts"]
    assert (
        spans["running"].attributes
        | {
            "k8s.job.uid": attempt["cluster_uid"],
            "k8s.pod.name": attempt["pod_name"],
            "k8s.namespace.name": attempt["namespace"],
        }
        == spans["running"].attributes
    )
    assert not any(b"do-not-export" in body or b"echo" in body for body in traced.receiver.bodies)


def test_the_command_line_passes_its_trace_on(traced: Traced) -> None:
    trace_id, caller, traceparent = incoming()
    traced.server.environ["TRACEPARENT"] = traceparent
    try:
        done = traced.server("run", "--detach", "busybox", "--", "true")
    finally:
        del traced.server.environ["TRACEPARENT"]
    assert done.code == 0, done.err
    assert by_name(traced.receiver.trace(trace_id, names=WHOLE))["submit"].parent_id == caller


def test_a_rerun_begins_a_trace_with_a_link_to_the_first(traced: Traced) -> None:
    first = traced.submit('echo "$TRACEPARENT"', traceparent="00-not-valid-01")
    trace_id = traced.seen_by(first).split("-")[1]
    submit = by_name(traced.receiver.trace(trace_id, names=WHOLE))["submit"]
    assert submit.parent_id == ""  # what is not valid is as if it were not there
    second = traced.post(f"/v1/jobs/{first}:rerun", {})["id"]
    again_id = traced.seen_by(second).split("-")[1]
    again = by_name(traced.receiver.trace(again_id, names=WHOLE))["submit"]
    assert again_id != trace_id
    assert again.links == ((trace_id, submit.span_id),)
    assert again.attributes["kjr.job.rerun_of"] == first


def test_each_attempt_has_its_phases_and_the_failed_ones_say_why(traced: Traced) -> None:
    trace_id, _, traceparent = incoming()
    retry = {"attempts": 2, "backoff_seconds": 0}
    job_id = traced.submit("exit 3", traceparent=traceparent, retry=retry)
    with traced.server.client() as client:
        client.wait(job_id, check=False)
    spans = traced.receiver.trace(trace_id, names=WHOLE)
    phases = {(span.name, span.attempt): span for span in spans if span.name in PHASES}
    assert set(phases) == {(name, attempt) for name in PHASES for attempt in (1, 2)}
    assert len({span.span_id for span in spans}) == len(spans)
    assert {key for key, span in phases.items() if span.status == ERROR} == {("finishing", 1), ("finishing", 2)}
    [whole] = [span for span in spans if span.name == "job"]
    assert (whole.status, whole.attributes["process.exit.code"]) == (ERROR, 3)
    assert whole.message == whole.attributes["kjr.job.reason"]


def test_the_jobs_of_a_batch_are_spans_of_one_trace(traced: Traced) -> None:
    trace_id, caller, traceparent = incoming()
    spec = {"image": "busybox", "command": ["true"]}
    answer = traced.post("/v1/jobs:batch", {"jobs": [spec, {"image": ""}, spec]}, traceparent=traceparent)
    assert [one["status"] for one in answer["results"]] == [201, 422, 201]
    with traced.server.client() as client:
        for one in answer["results"][::2]:
            client.wait(one["job"]["id"])
    wait_for(lambda: sum(s.name == "job" for s in traced.receiver.spans if s.trace_id == trace_id) == 2)
    submits = [span for span in traced.receiver.trace(trace_id, names=WHOLE) if span.name == "submit"]
    assert [span.parent_id for span in submits] == [caller, caller]


def test_what_the_caller_does_not_sample_is_not_exported(traced: Traced) -> None:
    trace_id, _, traceparent = incoming("00")
    printed = traced.seen_by(traced.submit('echo "$TRACEPARENT"', traceparent=traceparent))
    assert (printed.split("-")[1], printed.split("-")[3]) == (trace_id, "00")
    later_id, _, later = incoming()
    traced.seen_by(traced.submit("true", traceparent=later))
    traced.receiver.trace(later_id, names=WHOLE)
    assert not [span for span in traced.receiver.spans if span.trace_id == trace_id]


def test_a_receiver_that_refuses_costs_no_job(traced: Traced) -> None:
    traced.receiver.status = 503
    try:
        job_id = traced.submit("echo done")
        assert traced.seen_by(job_id) == "done"
        wait_for(lambda: traced.receiver.refused > 0)
    finally:
        traced.receiver.status = 200
    assert traced.server.job(job_id).state == "succeeded"

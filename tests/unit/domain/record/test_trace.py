"""Trace contexts of W3C, and the spans that are made from the rows of a job."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_job_runner.domain.job import Attempt, Job, Marks, Verdict
from kube_job_runner.domain.record import trace
from kube_job_runner.domain.record.trace import TraceContext
from kube_job_runner.domain.states import State

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADER = f"00-{TRACE}-{SPAN}-01"
JOB_ID = UUID("0199d1f2-7c00-7a3b-8c4d-5e6f708192a3")
T0 = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def ended(**columns: Any) -> Job:
    given: dict[str, Any] = {
        "id": JOB_ID,
        "name": "hello",
        "state": State.FAILED,
        "reason": "OutOfMemory",
        "explanation": "secret words of a program",
        "exit_code": 137,
        "attempt": 1,
        "labels": {"team": "secret"},
        "created_at": at(0),
        "due_at": at(0),
        "finished_at": at(20),
        "traceparent": HEADER,
        **columns,
    }
    return Job(**given)


def attempt(number: int = 1, **columns: Any) -> Attempt:
    given: dict[str, Any] = {
        "job_id": JOB_ID,
        "number": number,
        "namespace": "work",
        "cluster_name": f"hello-{number}",
        "cluster_uid": f"uid-{number}",
        "created_at": at(1),
        "started_at": at(5),
        "pod_name": f"hello-{number}-abc",
        "node": "node-1",
        "verdict": Verdict(outcome=State.FAILED, reason="OutOfMemory", exit_code=137),
        "decided_at": at(20),
        "marks": Marks(scheduled_at=at(2)),
        **columns,
    }
    return Attempt(**given)


@pytest.mark.parametrize(
    ("text", "sampled"),
    [
        (HEADER, True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"00-{TRACE}-{SPAN}-fe", False),
        (f"cc-{TRACE}-{SPAN}-01", True),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", True),
    ],
)
def test_a_valid_context_is_read(text: str, sampled: bool) -> None:
    assert trace.parse(text) == TraceContext(trace_id=TRACE, span_id=SPAN, sampled=sampled)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\n",
        f"cc-{TRACE}-{SPAN}-01.more",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-0x",
        f"0x-{TRACE}-{SPAN}-01",
        f"00-{TRACE}{SPAN}-01",
        f" {HEADER}",
    ],
)
def test_what_is_not_valid_is_as_if_it_were_not_there(text: str) -> None:
    assert trace.parse(text) is None
    assert trace.of(ended(traceparent=text)) is None


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8), st.booleans())
def test_what_is_written_is_read_again(trace_id: bytes, span_id: bytes, sampled: bool) -> None:
    context = TraceContext(trace_id=trace_id.hex(), span_id=span_id.hex(), sampled=sampled)
    assert trace.parse(context.header) == (context if any(trace_id) and any(span_id) else None)


def test_the_spans_of_an_ended_job_are_its_timeline() -> None:
    spans = trace.of_ended(ended(), {1: attempt()})
    assert [(span.name, span.started_at, span.ended_at) for span in spans] == [
        ("job", at(0), at(20)),
        ("queued", at(0), at(1)),
        ("created", at(1), at(2)),
        ("scheduled", at(2), at(5)),
        ("running", at(5), at(20)),
    ]
    job, *phases = spans
    assert job.parent == TraceContext(trace_id=TRACE, span_id=SPAN, sampled=True)
    assert {phase.parent for phase in phases} == {job.context}
    assert [span.error for span in spans] == ["OutOfMemory", "", "", "", "OutOfMemory"]
    assert phases[-1].context == trace.of_container(ended(), 1)
    assert phases[-1].attributes == {
        "kjr.job.id": str(JOB_ID),
        "kjr.attempt": 1,
        "k8s.namespace.name": "work",
        "k8s.job.name": "hello-1",
        "k8s.job.uid": "uid-1",
        "k8s.pod.name": "hello-1-abc",
        "k8s.node.name": "node-1",
    }
    assert "secret" not in str(spans)


def test_made_again_they_are_the_same_and_no_two_have_one_id() -> None:
    rows = {
        1: attempt(decided_at=at(8), finished_at=at(7)),
        2: attempt(2, created_at=at(10), started_at=at(12), marks=Marks()),
    }
    spans = trace.of_ended(ended(attempt=2), rows)
    assert spans == trace.of_ended(ended(attempt=2), rows)
    assert len({span.context.span_id for span in spans}) == len(spans) == 8
    [queued_again] = [span for span in spans if span.name == "queued" and span.attributes["kjr.attempt"] == 2]
    assert (queued_again.started_at, queued_again.ended_at) == (at(8), at(10))


def test_a_job_that_never_had_an_attempt_ends_in_its_queue() -> None:
    [job, queued] = trace.of_ended(ended(attempt=0, reason="QueueTimeout", exit_code=None), {})
    assert (queued.name, queued.started_at, queued.ended_at, queued.error) == ("queued", at(0), at(20), "QueueTimeout")
    assert "process.exit.code" not in job.attributes


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.CANCELLED])
def test_only_a_failure_is_an_error(state: State) -> None:
    verdict = Verdict(outcome=state, reason="Completed")
    assert not any(span.error for span in trace.of_ended(ended(state=state), {1: attempt(verdict=verdict)}))


def test_clocks_that_disagree_give_no_span_that_ends_before_it_begins() -> None:
    spans = trace.of_ended(ended(finished_at=at(-3)), {1: attempt(decided_at=at(-3))})
    spans += trace.of_log(
        HEADER, (JOB_ID, 1), started_at=at(9), ended_at=at(8), namespace="work", pod_name="p", lost=False
    )
    spans.append(trace.of_submit(ended(), TraceContext(trace_id=TRACE, span_id=SPAN, sampled=True), parent=None,
                                   ended_at=at(-1), rerun=None))  # fmt: skip
    assert all(span.ended_at >= span.started_at for span in spans)


@pytest.mark.parametrize("traceparent", [None, f"00-{TRACE}-{SPAN}-00", "broken"])
def test_without_a_sampled_trace_there_are_no_spans(traceparent: str | None) -> None:
    assert trace.of_ended(ended(traceparent=traceparent), {1: attempt()}) == []
    about: Any = {"started_at": at(0), "ended_at": at(1), "namespace": "work", "pod_name": "", "lost": True}
    assert trace.of_log(traceparent, (JOB_ID, 1), **about) == []


def test_the_log_of_an_attempt_is_a_child_of_its_job() -> None:
    [span] = trace.of_log(
        HEADER, (JOB_ID, 2), started_at=at(0), ended_at=at(1), namespace="work", pod_name="", lost=True
    )
    assert span.parent == trace.of_ended(ended(), {})[0].context
    assert (span.error, "k8s.pod.name" in span.attributes) == ("LogLost", False)


def test_a_rerun_has_a_link_to_the_trace_of_the_first() -> None:
    first = trace.of(ended())
    again = msgspec.structs.replace(ended(), rerun_of=JOB_ID)
    context = TraceContext(trace_id="1" * 32, span_id="2" * 16, sampled=True)
    span = trace.of_submit(again, context, parent=None, ended_at=at(1), rerun=first)
    assert (span.links, span.attributes["kjr.job.rerun_of"]) == ((first,), str(JOB_ID))

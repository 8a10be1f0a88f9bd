"""The one sentence about a job: in every state it names the cause, the place and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from kube_job_runner.domain.job import Attempt, CancelRequest, Job
from kube_job_runner.domain.record import timeline
from kube_job_runner.domain.record.sentence import sentence
from kube_job_runner.domain.states import State
from tests.support.domain import T0, after, ended, make_attempt, make_job, pod_facts, waiting, with_facts


def said(job: Job, *attempts: Attempt, standing: str = "", seconds: float = 60) -> str:
    by_number = {attempt.number: attempt for attempt in attempts}
    phases = timeline.timeline(job, by_number, now=after(seconds), standing=standing)
    return sentence(job, by_number, phases)


def test_a_job_that_waits_says_for_what_and_until_when() -> None:
    until = "It fails unless it is created by 2026-01-02 00:00:00 UTC."
    assert said(make_job()) == f"Waiting in queue default: it is about to be created. {until}"
    assert said(make_job(), standing="2nd, the queue runs 5 of 5.") == (
        f"Waiting in queue default: 2nd, the queue runs 5 of 5. {until}"
    )
    retried = make_job(attempt=1, due_at=after(90), explanation="Evicted. Free retry 1 of 5 follows.")
    assert said(retried, make_attempt(decided_at=after(50))).startswith(
        "Waiting in queue default for attempt 2: waiting until 2026-01-01 00:01:30 UTC. Evicted. Free retry 1 of 5 follows."
    )
    assert said(make_job(cancelled=True)) == (
        "Waiting in queue default, with a cancel asked for by ann: it ends without being started."
    )


def test_a_job_that_starts_says_what_keeps_it() -> None:
    job = make_job(State.STARTING)
    until = "It fails unless it starts by 2026-01-01 00:15:00 UTC."
    assert said(job, make_attempt()) == (
        f"Not started yet (created): the cluster has not made a pod for it yet. {until}"
    )
    held = with_facts(make_attempt(), pod_facts(waiting("CreateContainerConfigError", "no secret")))
    text = said(job, held)
    assert text.startswith("Not started yet on node node-1 (")
    assert "no secret" in text
    assert text.endswith(until)


def test_a_job_that_runs_says_since_when_where_and_until_when() -> None:
    attempt = make_attempt(started_at=after(5), node="node-1")
    job = make_job(State.RUNNING)
    assert said(job, attempt) == (
        "Running since 2026-01-01 00:00:05 UTC on node node-1."
        " It is stopped if it has not ended by 2026-01-02 00:00:05 UTC."
    )
    cancelled = make_job(State.RUNNING, cancelled=True)
    assert said(cancelled, attempt).endswith("A cancel was asked for by ann and is being carried out.")
    over = with_facts(attempt, pod_facts(ended(0, start=5, end=9)))
    assert said(job, over) == "The program has ended on node node-1; its outcome is about to be recorded."


def test_a_job_that_stops() -> None:
    job = make_job(State.STOPPING, explanation="Cancelled by ann: enough")
    assert said(job, make_attempt(node="n1")) == (
        "Stopping on node n1: Cancelled by ann: enough. The end is recorded when nothing of it is left in the cluster."
    )


@pytest.mark.parametrize(
    ("state", "columns", "attempt", "expected"),
    [
        (
            State.SUCCEEDED,
            {"attempt": 2},
            {"number": 2, "node": "n1", "started_at": after(1), "finished_at": after(3.5)},
            "Succeeded in attempt 2 on node n1 after 2.5 s.",
        ),
        (State.SUCCEEDED, {"explanation": "A cancel came late."}, {}, "Succeeded. A cancel came late."),
        (
            State.CANCELLED,
            {"explanation": "Cancelled by ann."},
            {},
            "Cancelled by ann. Nothing of it is left in the cluster.",
        ),
        (
            State.FAILED,
            {"reason": "NodeLost", "explanation": "Node n1 was lost."},
            {"node": "n1"},
            "Failed: Node n1 was lost.",
        ),
        (State.FAILED, {"reason": "OutOfMemory"}, {"node": "n1"}, "Failed on node n1: OutOfMemory."),
        (
            State.FAILED,
            {"reason": "RunTimeout", "explanation": "Too long"},
            {},
            "Failed: Too long. Give it more time (timeouts.run_seconds) or less to do.",
        ),
    ],
)
def test_a_job_that_ended(state: State, columns: dict[str, Any], attempt: dict[str, Any], expected: str) -> None:
    assert said(make_job(state, **columns), make_attempt(**attempt)) == expected


def test_a_job_that_was_never_created() -> None:
    job = make_job(State.FAILED, attempt=0, reason="QueueTimeout", explanation="The job waited for 5 s.")
    assert said(job) == (
        "Failed: The job waited for 5 s. Make room for it, or give it more time (timeouts.queue_seconds)."
    )


def test_a_cancel_without_a_name() -> None:
    job = make_job()
    job = Job(
        **{name: getattr(job, name) for name in job.__struct_fields__ if name != "cancel"}, cancel=CancelRequest(at=T0)
    )
    assert said(job) == "Waiting in queue default, with a cancel asked for: it ends without being started."

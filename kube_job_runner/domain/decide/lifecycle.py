"""The lifecycle of a job: which transitions are legal, and what to do next. Nothing else decides either.

`decide` is pure and level-triggered: it looks at everything known about a job and answers with the next state, the rows to
write, the messages to send in the same commit, at most one effect on the cluster, and when to look again. It never trusts
the order of messages, so any permutation, duplication or loss-then-relist of observations ends in the same state.

    queued ──admitted, create──> starting ──> running ──> succeeded | failed | cancelled
      ^  └───────────────────────────┴───────────┴── stopping (an end is decided, the pod is not yet gone)
      └── another attempt is allowed, at `due_at`
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from kube_job_runner.domain.decide import cleanup, diagnosis, endings, starting
from kube_job_runner.domain.decide.decision import Create, Decision, Draft, Find, Rules
from kube_job_runner.domain.facts import JobFacts, PodFacts, Seen, merge
from kube_job_runner.domain.job import Attempt, Job, Verdict
from kube_job_runner.domain.messages import Observed
from kube_job_runner.domain.record import timeline
from kube_job_runner.domain.spec.model import Timeouts
from kube_job_runner.domain.states import State

_EVIDENCE_PENDING = "EvidencePending"  # the cluster job failed, the facts of its pod may still come


def queue_deadline(due_at: datetime, timeouts: Timeouts) -> datetime:
    """Return until when a job that is due then may wait to be created."""
    return due_at + timedelta(seconds=timeouts.queue_seconds)


def _queue_deadline(job: Job) -> datetime:
    return queue_deadline(max(job.created_at, job.due_at), job.policy.timeouts)


def observe(attempt: Attempt, seen: Seen) -> Attempt:
    """Return the attempt with one observation joined into its facts; facts that are not its own change nothing."""
    facts = merge(attempt.facts, seen, cluster_uid=attempt.cluster_uid)
    ours = isinstance(seen, PodFacts) and any(pod.uid == seen.uid for pod in facts.pods)
    marks = timeline.marked(attempt.marks, seen) if ours and isinstance(seen, PodFacts) else attempt.marks
    if facts == attempt.facts and marks == attempt.marks:
        return attempt
    pod = facts.pod
    return msgspec.structs.replace(
        attempt,
        facts=facts,
        marks=marks,
        node=pod.node if pod else attempt.node,
        pod_name=pod.name if pod else attempt.pod_name,
    )


def decide(
    job: Job, attempts: Mapping[int, Attempt], *, now: datetime, rules: Rules, known_absent: bool = False
) -> Decision:
    """Return what to do with a job, given all that is known.

    `known_absent` says that the cluster was just asked and holds no cluster job for the attempt that is next: with it, a
    queued job may end without a trace; without it, `decide` first asks for a `Find` if the job was admitted.
    """
    draft = Draft(job=job, attempts=attempts, now=now, rules=rules)
    if job.state is State.QUEUED:
        _decide_queued(draft, known_absent=known_absent)
    elif job.state in (State.STARTING, State.RUNNING):
        _decide_live(draft)
    elif job.state is State.STOPPING:
        _decide_stopping(draft)
    else:
        cleanup.note_anomalies(draft)
    cleanup.remove_finished(draft)
    return draft.decision()


def created(
    job: Job, attempts: Mapping[int, Attempt], attempt: Attempt, facts: JobFacts, *, now: datetime, rules: Rules
) -> Decision:
    """Return what to do once the cluster job of a queued job is known to exist (made now, adopted, or found)."""
    # The cluster's clock may be wrong: a create cannot lie before it was due or after now.
    made_at = max(job.due_at, min(facts.created_at or now, now))
    attempt = msgspec.structs.replace(attempt, cluster_uid=facts.uid, created_at=made_at)
    attempt = observe(attempt, facts)
    draft = Draft(job=job, attempts=attempts, now=now, rules=rules)
    draft.put(attempt)
    draft.update(attempt=attempt.number, admitted_at=job.admitted_at or now)
    draft.move(State.STARTING, attempt=attempt.number, reason="Created")
    return draft.chain(decide)


def stray(job: Job, message: Observed, *, now: datetime) -> Attempt | None:
    """Return an attempt for a cluster job that appeared for a job which had ended, or None when it is no such thing.

    It can be: a create that was in flight, by a processor that then died, while a cancel found nothing and was recorded.
    """
    if not job.terminal or message.job is None or message.job.gone or message.attempt != job.attempt + 1:
        return None
    return _stray_attempt(job, endings.next_attempt(job, {}), message.job, now=now)


def remove_stray(
    job: Job, attempts: Mapping[int, Attempt], attempt: Attempt, facts: JobFacts, *, now: datetime, rules: Rules
) -> Decision | None:
    """Return how to remove a cluster job that was made for a job which ended meanwhile; None when there is no need."""
    if not job.terminal or attempt.number in attempts:
        return None
    draft = Draft(job=job, attempts=attempts, now=now, rules=rules)
    draft.put(_stray_attempt(job, attempt, facts, now=now))
    cleanup.remove_finished(draft)
    return draft.decision()


def _stray_attempt(job: Job, attempt: Attempt, facts: JobFacts, *, now: datetime) -> Attempt:
    verdict = Verdict(outcome=job.state, reason=job.reason, explanation="Made while the job ended; removed at once.")
    made = msgspec.structs.replace(
        attempt, cluster_uid=facts.uid, created_at=facts.created_at or now, verdict=verdict, decided_at=now
    )
    return observe(made, facts)


def refused(job: Job, attempts: Mapping[int, Attempt], verdict: Verdict, *, now: datetime, rules: Rules) -> Decision:
    """Return what to do when the cluster refused the cluster job of a queued job for good."""
    draft = Draft(job=job, attempts=attempts, now=now, rules=rules)
    endings.end(draft, verdict)
    cleanup.remove_finished(draft)
    return draft.decision()


def postponed(
    job: Job,
    attempts: Mapping[int, Attempt],
    *,
    why: str,
    delay_seconds: float,
    outage: bool = False,
    now: datetime,
    rules: Rules,
) -> Decision:
    """Return what to do when a queued job could not be created now: wait half as long as it has waited, up to a minute.

    In an `outage` of the API server it waits 10 s at most, so that all goes on soon after it: a question that nobody
    answers costs little, while a quota that is full may stay so for hours.
    It keeps its admission: a create whose answer was lost may have made the cluster job, so its place stays taken.
    """
    waited_seconds = max(0.0, (now - max(job.due_at, job.created_at)).total_seconds())
    max_seconds = rules.create_retry_outage_seconds if outage else rules.create_retry_max_seconds
    wait_seconds = max(delay_seconds, min(waited_seconds / 2, max_seconds))
    draft = Draft(job=job, attempts=attempts, now=now, rules=rules)
    draft.update(explanation=f"Waiting to be created: {why}")
    draft.look_again(min(now + timedelta(seconds=wait_seconds), max(now, _queue_deadline(job))))
    return draft.decision()


def _decide_queued(draft: Draft, *, known_absent: bool) -> None:
    job, now = draft.job, draft.now
    deadline = _queue_deadline(job)
    if job.cancel is None and now < deadline:
        if now < job.due_at:
            draft.look_again(job.due_at)
        elif job.admitted_at is None:
            draft.look_again(deadline)  # the store admits it when the limits have room for it
        else:
            draft.effect = Create(
                endings.next_attempt(job, draft.attempts), endings.nodes_to_avoid(job, draft.attempts)
            )
            draft.look_again(deadline)
        return
    if not known_absent and job.admitted_at is not None:
        # A create may have reached the cluster and died before its commit: ended means that nothing is left, so ask.
        # Without an admission there is nothing to ask: only an admitted attempt is ever created, and only a new one waits.
        draft.effect = Find(endings.next_attempt(job, draft.attempts))
        draft.look_again(now + timedelta(seconds=draft.rules.recheck_seconds))
    elif job.cancel is not None:
        settled_at = job.cancel.at + timedelta(seconds=draft.rules.create_settle_seconds)
        if job.admitted_at is not None and now < settled_at:
            # Another processor's create may be on its way, and its container would run after the answer: look once more.
            draft.look_again(settled_at)
        else:
            endings.end(draft, endings.cancelled(job))
    else:
        waited = f"The job waited for {job.policy.timeouts.queue_seconds} s and was not created."
        endings.end(
            draft,
            Verdict(outcome=State.FAILED, reason="QueueTimeout", explanation=f"{waited} {job.explanation}".strip()),
        )


def _decide_live(draft: Draft) -> None:
    attempt = draft.current()
    if _finished(draft, attempt):
        return
    if draft.job.cancel is not None:
        if not _finishing(draft, attempt, decided_at=draft.job.cancel.at):
            endings.stop(draft, attempt, endings.cancelled(draft.job))
        return
    if diagnosis.has_started(attempt.facts):
        _decide_running(draft, attempt)
    else:
        starting.decide_starting(draft, attempt)


def _finished(draft: Draft, attempt: Attempt) -> bool:
    """Conclude an attempt whose cluster job ended; True when there is nothing more to decide now."""
    ending = diagnosis.ending(attempt.facts, draft.rules.table)
    if ending is None:
        return False
    if not ending.complete_evidence and _await_evidence(draft, attempt, ending):
        return True
    if ending.verdict.reason == "JobDeleted" and not cleanup.pods_ended(attempt):
        endings.stop(draft, attempt, ending.verdict)
        return True
    endings.end(draft, ending.verdict)
    return True


def _finishing(draft: Draft, attempt: Attempt, *, decided_at: datetime) -> bool:
    """Tell whether the program has ended by itself, and only the cluster has not said so of the Job: that end is waited for.

    To stop it now would destroy the record of what really happened. The wait is bounded, for a Job controller that is away.
    """
    if not diagnosis.finishing(attempt.facts):
        return False
    until = decided_at + timedelta(seconds=draft.rules.finishing_bound_seconds)
    if draft.now >= until:
        return False
    draft.look_again(until)
    return True


def _await_evidence(draft: Draft, attempt: Attempt, ending: diagnosis.Ending) -> bool:
    """Wait for the facts of the pod (its exit code, its name for the log); False when they have been waited for enough."""
    succeeded = ending.verdict.outcome is State.SUCCEEDED
    rules = draft.rules
    grace_seconds = rules.success_evidence_seconds if succeeded else rules.evidence_grace_seconds
    pending = attempt.unhealthy_reason == _EVIDENCE_PENDING and attempt.unhealthy_since is not None
    since = attempt.unhealthy_since if pending and attempt.unhealthy_since else draft.now
    until = since + timedelta(seconds=grace_seconds)
    if draft.now >= until:
        return False
    draft.put(msgspec.structs.replace(attempt, unhealthy_reason=_EVIDENCE_PENDING, unhealthy_since=since))
    draft.look_again(until)
    return True


def _decide_running(draft: Draft, attempt: Attempt) -> None:
    attempt = endings.with_start(draft, attempt)
    if draft.job.state is State.STARTING:
        draft.move(State.RUNNING, attempt=attempt.number, reason="Started")
    run_seconds = draft.job.policy.timeouts.run_seconds
    deadline = (attempt.started_at or draft.now) + timedelta(seconds=run_seconds)
    if draft.now < deadline:
        draft.look_again(deadline)
    elif not _finishing(draft, attempt, decided_at=deadline):
        explanation = f"The job ran longer than its run timeout of {run_seconds} s and was stopped."
        endings.stop(
            draft,
            attempt,
            Verdict(outcome=State.FAILED, reason="RunTimeout", explanation=explanation, cause="application"),
        )


def _decide_stopping(draft: Draft) -> None:
    attempt = draft.current()
    verdict = attempt.verdict
    assert verdict is not None  # a job is `stopping` only with a verdict
    job_facts = attempt.facts.job
    ending = diagnosis.ending(attempt.facts, draft.rules.table)
    overtaken = job_facts is not None and not job_facts.deleting and not job_facts.gone
    if ending is not None and overtaken and (ending.complete_evidence or ending.verdict.outcome is State.SUCCEEDED):
        # The cluster job finished before our delete reached it: what really happened wins over what was decided.
        endings.end(draft, ending.verdict)
        return
    if cleanup.nothing_left(attempt, draft.now, draft.rules, draft.job.policy.stop_grace_seconds):
        endings.end(draft, verdict)
    else:
        endings.keep_waiting(draft, attempt)

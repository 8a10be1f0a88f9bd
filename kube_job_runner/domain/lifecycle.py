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

from kube_job_runner.domain import cleanup, diagnosis, names, retries, timeline
from kube_job_runner.domain.draft import Create, Decision, Draft, Find, Rules
from kube_job_runner.domain.facts import JobFacts, PodFacts, Seen, merge
from kube_job_runner.domain.job import Attempt, Job, State, Verdict
from kube_job_runner.domain.messages import Observed
from kube_job_runner.domain.spec import Timeouts

TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.STARTING, State.STOPPING, State.FAILED, State.CANCELLED}),
    State.STARTING: frozenset(
        {State.RUNNING, State.STOPPING, State.QUEUED, State.SUCCEEDED, State.FAILED, State.CANCELLED}
    ),
    State.RUNNING: frozenset({State.STOPPING, State.QUEUED, State.SUCCEEDED, State.FAILED, State.CANCELLED}),
    State.STOPPING: frozenset({State.QUEUED, State.SUCCEEDED, State.FAILED, State.CANCELLED}),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}

_NODES_AVOIDED = 8
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
    return _stray_attempt(job, next_attempt(job, {}), message.job, now=now)


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
    _end(draft, verdict)
    cleanup.remove_finished(draft)
    return draft.decision()


def postponed(
    job: Job, attempts: Mapping[int, Attempt], *, why: str, delay_seconds: float, now: datetime, rules: Rules
) -> Decision:
    """Return what to do when a queued job could not be created now: wait half as long as it has waited, up to a minute.

    It keeps its admission: a create whose answer was lost may have made the cluster job, so its place stays taken.
    """
    waited_seconds = max(0.0, (now - max(job.due_at, job.created_at)).total_seconds())
    wait_seconds = max(delay_seconds, min(waited_seconds / 2, rules.create_retry_max_seconds))
    draft = Draft(job=job, attempts=attempts, now=now, rules=rules)
    draft.update(explanation=f"Waiting to be created: {why}")
    draft.look_again(min(now + timedelta(seconds=wait_seconds), max(now, _queue_deadline(job))))
    return draft.decision()


def next_attempt(job: Job, attempts: Mapping[int, Attempt]) -> Attempt:
    """Return the attempt that a queued job would be created as."""
    number = job.attempt + 1
    last = attempts.get(job.attempt)
    memory = ""
    if last is not None and last.verdict is not None:
        memory = _plan(job, attempts, last.verdict).memory or last.memory
    return Attempt(
        job_id=job.id,
        number=number,
        namespace=job.namespace,
        cluster_name=names.cluster_job_name(job.name, job.id, number),
        memory=memory,
    )


def nodes_to_avoid(job: Job, attempts: Mapping[int, Attempt]) -> tuple[str, ...]:
    """Return the nodes on which an attempt of the job failed for a reason of the infrastructure, the newest last."""
    if not job.policy.retry.avoid_failed_nodes:
        return ()
    failed = [
        attempt.node
        for _, attempt in sorted(attempts.items())
        if attempt.node and attempt.verdict is not None and attempt.verdict.cause == "infrastructure"
    ]
    return tuple(dict.fromkeys(failed))[-_NODES_AVOIDED:]


def _decide_queued(draft: Draft, *, known_absent: bool) -> None:
    job, now = draft.job, draft.now
    deadline = _queue_deadline(job)
    if job.cancel is None and now < deadline:
        if now < job.due_at:
            draft.look_again(job.due_at)
        elif job.admitted_at is None:
            draft.look_again(deadline)  # the store admits it when the limits have room for it
        else:
            draft.effect = Create(next_attempt(job, draft.attempts), nodes_to_avoid(job, draft.attempts))
            draft.look_again(deadline)
        return
    if not known_absent and job.admitted_at is not None:
        # A create may have reached the cluster and died before its commit: ended means that nothing is left, so ask.
        # Without an admission there is nothing to ask: only an admitted attempt is ever created, and only a new one waits.
        draft.effect = Find(next_attempt(job, draft.attempts))
        draft.look_again(now + timedelta(seconds=draft.rules.recheck_seconds))
    elif job.cancel is not None:
        settled_at = job.cancel.at + timedelta(seconds=draft.rules.create_settle_seconds)
        if job.admitted_at is not None and now < settled_at:
            # Another processor's create may be on its way, and its container would run after the answer: look once more.
            draft.look_again(settled_at)
        else:
            _end(draft, _cancelled(job))
    else:
        waited = f"The job waited for {job.policy.timeouts.queue_seconds} s and was not created."
        _end(
            draft,
            Verdict(outcome=State.FAILED, reason="QueueTimeout", explanation=f"{waited} {job.explanation}".strip()),
        )


def _decide_live(draft: Draft) -> None:
    attempt = draft.current()
    if _finished(draft, attempt):
        return
    if draft.job.cancel is not None:
        if not _finishing(draft, attempt, decided_at=draft.job.cancel.at):
            _stop(draft, attempt, _cancelled(draft.job))
        return
    if diagnosis.has_started(attempt.facts):
        _decide_running(draft, attempt)
    else:
        _decide_starting(draft, attempt)


def _finished(draft: Draft, attempt: Attempt) -> bool:
    """Conclude an attempt whose cluster job ended; True when there is nothing more to decide now."""
    ending = diagnosis.ending(attempt.facts, draft.rules.table)
    if ending is None:
        return False
    if not ending.complete_evidence and _await_evidence(draft, attempt, ending):
        return True
    if ending.verdict.reason == "JobDeleted" and not cleanup.pods_ended(attempt):
        _stop(draft, attempt, ending.verdict)
        return True
    _end(draft, ending.verdict)
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
    attempt = _with_start(draft, attempt)
    if draft.job.state is State.STARTING:
        draft.move(State.RUNNING, attempt=attempt.number, reason="Started")
    run_seconds = draft.job.policy.timeouts.run_seconds
    deadline = (attempt.started_at or draft.now) + timedelta(seconds=run_seconds)
    if draft.now < deadline:
        draft.look_again(deadline)
    elif not _finishing(draft, attempt, decided_at=deadline):
        explanation = f"The job ran longer than its run timeout of {run_seconds} s and was stopped."
        _stop(
            draft,
            attempt,
            Verdict(outcome=State.FAILED, reason="RunTimeout", explanation=explanation, cause="application"),
        )


def _with_start(draft: Draft, attempt: Attempt) -> Attempt:
    """Return the attempt with its start time, when it has started; the job's own is that of its first start."""
    if attempt.started_at is not None or not diagnosis.has_started(attempt.facts):
        return attempt
    seen = diagnosis.started_at(attempt.facts) or draft.now
    # The node's clock may be wrong: a start cannot lie before the create or after now.
    start = min(max(seen, attempt.created_at or seen), draft.now)
    attempt = msgspec.structs.replace(attempt, started_at=start, unhealthy_reason="", unhealthy_since=None)
    draft.put(attempt)
    draft.update(started_at=draft.job.started_at or start)
    return attempt


def _decide_starting(draft: Draft, attempt: Attempt) -> None:
    rules, now = draft.rules, draft.now
    found = diagnosis.obstacle(attempt.facts, now=now, table=rules.table)
    attempt = _note_health(draft, attempt, found)
    if found is not None:
        if found.until is not None:
            draft.look_again(found.until)
        if found.finding.verdict != "wait":
            since = attempt.unhealthy_since or now
            until = since + timedelta(seconds=rules.grace_seconds(found.finding.rule))
            if now >= until:
                _give_up(draft, attempt, diagnosis.verdict_of(found.finding))
                return
            draft.look_again(until)
    start_seconds = draft.job.policy.timeouts.start_seconds
    deadline = (attempt.created_at or now) + timedelta(seconds=start_seconds)
    if now >= deadline:
        _give_up(draft, attempt, _start_timeout(draft, attempt, found))
    else:
        draft.look_again(deadline)


def _start_timeout(draft: Draft, attempt: Attempt, found: diagnosis.Obstacle | None) -> Verdict:
    """Return the verdict of an attempt that used up its time to start: its known fault, where there is one."""
    start_seconds = draft.job.policy.timeouts.start_seconds
    waited_for = diagnosis.waiting_for(attempt.facts, now=draft.now, table=draft.rules.table)
    explanation = f"The job did not start within its start timeout of {start_seconds} s: {waited_for}"
    if found is not None and found.finding.verdict != "wait":
        return diagnosis.verdict_of(found.finding, explanation=explanation)
    rule = found.finding.rule.name if found is not None else ""
    return Verdict(outcome=State.FAILED, reason="StartTimeout", explanation=explanation, cause="permanent", rule=rule)


def _give_up(draft: Draft, attempt: Attempt, verdict: Verdict) -> None:
    """End an attempt that never started: at once when it was the last, else after its pod, which might still start, is gone."""
    if draft.job.cancel is None and _plan(draft.job, draft.attempts, verdict).retry:
        _stop(draft, attempt, verdict)
    else:
        _end(draft, verdict)


def _note_health(draft: Draft, attempt: Attempt, found: diagnosis.Obstacle | None) -> Attempt:
    """Keep when the failing signal now seen was first seen, and put what the attempt waits for into the job's row."""
    main = diagnosis.main_container(attempt.facts.pod)
    reason = found.finding.reason if found else ""
    if found is None and main is not None and diagnosis.blames_image(main.reason):
        # Kubelets before 1.31 drop the cause between two pulls; the cause seen before still holds.
        return attempt
    if reason != attempt.unhealthy_reason:
        attempt = msgspec.structs.replace(
            attempt, unhealthy_reason=reason, unhealthy_since=draft.now if reason else None
        )
        draft.put(attempt)
        draft.update(reason="", explanation=found.finding.explanation if found else "")
    return attempt


def _decide_stopping(draft: Draft) -> None:
    attempt = draft.current()
    verdict = attempt.verdict
    assert verdict is not None  # a job is `stopping` only with a verdict
    job_facts = attempt.facts.job
    ending = diagnosis.ending(attempt.facts, draft.rules.table)
    overtaken = job_facts is not None and not job_facts.deleting and not job_facts.gone
    if ending is not None and overtaken and (ending.complete_evidence or ending.verdict.outcome is State.SUCCEEDED):
        # The cluster job finished before our delete reached it: what really happened wins over what was decided.
        _end(draft, ending.verdict)
        return
    if cleanup.nothing_left(attempt, draft.now, draft.rules, draft.job.policy.stop_grace_seconds):
        _end(draft, verdict)
    else:
        _keep_waiting(draft, attempt)


def _keep_waiting(draft: Draft, attempt: Attempt) -> None:
    draft.look_again(draft.now + timedelta(seconds=draft.rules.recheck_seconds))
    if attempt.facts.job is not None and attempt.facts.job.gone:
        grace_seconds = draft.job.policy.stop_grace_seconds
        draft.look_again(cleanup.waited_enough_at(attempt, draft.now, draft.rules, grace_seconds))


def _cancelled(job: Job) -> Verdict:
    request = job.cancel
    assert request is not None
    who = f" by {request.by}" if request.by else ""
    why = f": {request.reason}" if request.reason else "."
    return Verdict(outcome=State.CANCELLED, reason="Cancelled", explanation=f"Cancelled{who}{why}")


def _stop(draft: Draft, attempt: Attempt, verdict: Verdict) -> None:
    attempt = _with_start(draft, attempt)
    attempt = msgspec.structs.replace(attempt, verdict=verdict, decided_at=draft.now)
    draft.put(attempt)
    draft.update(reason=verdict.reason, explanation=verdict.explanation)
    draft.move(State.STOPPING, attempt=attempt.number, reason=verdict.reason, explanation=verdict.explanation)
    _keep_waiting(draft, attempt)


def _end(draft: Draft, verdict: Verdict) -> None:
    """Record the verdict on the attempt, then either queue another attempt or end the job."""
    attempt = draft.attempts.get(draft.job.attempt)
    has_attempt = attempt is not None and draft.job.state is not State.QUEUED
    if attempt is not None and has_attempt:
        _conclude(draft, attempt, verdict)
    plan = _plan(draft.job, draft.attempts, verdict) if has_attempt else None
    if plan is not None and plan.retry and draft.job.cancel is None:
        _queue_again(draft, verdict, plan)
        return
    if plan is not None and plan.retry:
        verdict = _cancelled(draft.job)
    explanation = _last_words(draft.job, verdict, plan)
    draft.update(finished_at=draft.now, reason=verdict.reason, explanation=explanation, exit_code=verdict.exit_code)
    draft.move(
        verdict.outcome,
        attempt=draft.job.attempt,
        reason=verdict.reason,
        explanation=explanation,
        exit_code=verdict.exit_code,
    )


def _conclude(draft: Draft, attempt: Attempt, verdict: Verdict) -> None:
    now = draft.now
    attempt = _with_start(draft, attempt)
    ended = diagnosis.finished_at(attempt.facts)
    finished = min(max(ended, attempt.started_at or ended), now) if ended else now
    draft.put(msgspec.structs.replace(attempt, verdict=verdict, decided_at=now, finished_at=finished))


def _queue_again(draft: Draft, verdict: Verdict, plan: retries.Plan) -> None:
    due_at = draft.now + timedelta(seconds=plan.delay_seconds)
    explanation = f"{verdict.explanation} {_sentence(plan.why)}".strip()
    draft.update(due_at=due_at, admitted_at=None, reason=verdict.reason, explanation=explanation)
    draft.move(
        State.QUEUED,
        attempt=draft.job.attempt,
        reason=verdict.reason,
        explanation=explanation,
        exit_code=verdict.exit_code,
    )
    draft.look_again(due_at)


def _last_words(job: Job, verdict: Verdict, plan: retries.Plan | None) -> str:
    """Return the explanation of an end: what happened, and why there is no other attempt or why a cancel came too late."""
    words = [verdict.explanation] if verdict.explanation else []
    retried = plan is not None and verdict.outcome is State.FAILED and (job.attempt > 1 or plan.rule is not None)
    if plan is not None and (retried or plan.budget == "infrastructure"):
        words.append(f"There is no further attempt: {plan.why}.")
    if job.cancel is not None and verdict.outcome is not State.CANCELLED:
        who = f" by {job.cancel.by}" if job.cancel.by else ""
        words.append(f"A cancel was asked for{who} at {job.cancel.at:%Y-%m-%d %H:%M:%S} UTC; the job ended first.")
    return " ".join(words)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _plan(job: Job, attempts: Mapping[int, Attempt], verdict: Verdict) -> retries.Plan:
    """Return what follows when the newest attempt ends with this verdict."""
    history = [
        attempt.verdict
        for number, attempt in sorted(attempts.items())
        if number < job.attempt and attempt.verdict is not None
    ]
    last = attempts.get(job.attempt)
    memory = (last.memory if last is not None else "") or job.policy.memory
    return retries.plan([*history, verdict], policy=job.policy.retry, job_id=job.id, memory=memory)

"""An attempt that has not started: what it waits for, how long that may last, and when it is given up."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from kube_job_runner.domain.decide import diagnosis, endings
from kube_job_runner.domain.decide.decision import Draft
from kube_job_runner.domain.job import Attempt, Verdict
from kube_job_runner.domain.states import State


def decide_starting(draft: Draft, attempt: Attempt) -> None:
    """Say what to do with an attempt whose program has not begun: wait, or give up when its fault or its time says so."""
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
    if draft.job.cancel is None and endings.plan(draft.job, draft.attempts, verdict).retry:
        endings.stop(draft, attempt, verdict)
    else:
        endings.end(draft, verdict)


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

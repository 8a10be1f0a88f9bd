"""The explanation of a job whose cluster could not be asked. It holds only until something is decided again."""

from datetime import timedelta

from kube_job_runner.domain.decide import obstacles
from kube_job_runner.domain.decide.decision import DecisionBuilder
from kube_job_runner.domain.states import State

UNASKED = "The cluster cannot be asked now"
_RECHECK_SECONDS = 5.0


def settle(builder: DecisionBuilder) -> None:
    """Replace that explanation by what the attempt waits for, if anything, when all is known without a look.

    While nobody watches it stays: then nothing is asked for only because the clocks stand still.
    """
    job = builder.job
    live = job.state in (State.STARTING, State.RUNNING)
    if not live or not job.explanation.startswith(UNASKED) or builder.effect is not None:
        return
    if builder.watched.is_dark(job.namespace, builder.now):
        builder.look_again(builder.now + timedelta(seconds=_RECHECK_SECONDS))
    else:
        builder.update_job(explanation=_words(builder))


def _words(builder: DecisionBuilder) -> str:
    facts = builder.current_attempt().facts
    held = obstacles.hold(facts)
    if held is not None:
        return held.explanation
    if builder.job.state is not State.STARTING:
        return ""
    found = obstacles.obstacle(facts, now=builder.now, table=builder.rules.table)
    return found.finding.explanation if found is not None else ""

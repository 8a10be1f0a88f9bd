"""Built-in ends: how attempts and jobs end where no row of the failure table decides.

One row per end: its category (and with it the reason code), whose failure it is, what the record says, and what to do.
"""

from collections.abc import Mapping

import msgspec

from kube_job_runner.domain.failures import codes
from kube_job_runner.domain.job import Cause, Verdict
from kube_job_runner.domain.states import State


class End(msgspec.Struct, frozen=True, kw_only=True):
    """One row. `explanation` may have places such as {seconds}. `remedy` is the sentence that says what to do about a failure."""

    category: str
    outcome: State = State.FAILED
    cause: Cause = ""
    explanation: str = ""
    remedy: str = ""

    @property
    def reason(self) -> str:
        """The stable public reason code."""
        return codes.reason_code(self.category)

    def verdict(self, *, exit_code: int | None = None, signal: int | None = None, **places: object) -> Verdict:
        """Return the verdict of an attempt that ended so. `places` and the exit code fill the explanation."""
        return Verdict(
            outcome=self.outcome,
            reason=self.reason,
            explanation=self.explanation.format_map({"exit_code": exit_code, **places}).strip(),
            exit_code=exit_code,
            signal=signal,
            cause=self.cause,
        )


COMPLETED = End(category="completed", outcome=State.SUCCEEDED)
CANCELLED = End(category="cancelled", outcome=State.CANCELLED, explanation="Cancelled{by}{why}")
APPLICATION_EXIT = End(
    category="application_exit",
    cause="application",
    explanation="Container {container} exited with code {exit_code}.",
    remedy="The program itself reported the error: read the last lines of its log.",
)
RUN_TIMEOUT = End(
    category="run_timeout",
    cause="application",
    explanation="The job ran longer than its run timeout of {seconds} s and was stopped.",
    remedy="Give it more time (timeouts.run_seconds) or less to do.",
)
START_TIMEOUT = End(
    category="start_timeout",
    cause="permanent",
    explanation="The job did not start within its start timeout of {seconds} s: {waited_for}",
    remedy="Fix what it waited for, or give it more time (timeouts.start_seconds).",
)
QUEUE_TIMEOUT = End(
    category="queue_timeout",
    explanation="The job waited for {seconds} s and did not start. {last_try}",
    remedy="Make room for it, or give it more time (timeouts.queue_seconds).",
)
# The same end of a job that has run before: a further attempt, or one that was suspended.
QUEUE_TIMEOUT_AGAIN = msgspec.structs.replace(
    QUEUE_TIMEOUT, explanation="The job waited for {seconds} s and did not start again. {last_try}"
)
# Not the program's fault, and perhaps a person's will: the user's own attempts decide whether it runs again.
JOB_DELETED = End(
    category="job_deleted",
    cause="application",
    explanation="Somebody else deleted the cluster job while the job ran.",
    remedy="Find out who deletes Jobs in the namespace, and run the job again.",
)
POD_DELETED = End(
    category="pod_deleted",
    cause="infrastructure",
    explanation="Somebody deleted the pod of the job before its program had ended.",
    remedy="Find out who deletes pods in the namespace. To stop a job, use `kjr cancel`.",
)
# A program that has ended well is not run again for the sake of another container, so `diagnosis` makes that case permanent.
OTHER_CONTAINER_FAILED = End(
    category="other_container_failed",
    cause="infrastructure",
    explanation="{failed} It is not the job's own container. {program}",
    remedy="Find out what added the container to the pod, such as a webhook that injects sidecars, and read its log.",
)
# The first run may go on in the old cluster, so only a person may start another one.
CLUSTER_REPLACED = End(
    category="cluster_replaced",
    cause="permanent",
    explanation="The installation was moved to another cluster while the job was in the {place}. It may still run there.",
    remedy="Look in the old cluster whether it still runs there. Then run it again (kjr rerun).",
)
POD_LOST = End(
    category="pod_lost",
    cause="infrastructure",
    explanation="The pod of the job is gone and left no outcome ({message}).",
    remedy="The program is not to blame: run it again.",
)
DISRUPTED = End(
    category="disrupted",
    cause="infrastructure",
    explanation="The pod was moved off node {node} ({reason}: {message}).",
)

ENDS = (
    COMPLETED, CANCELLED, APPLICATION_EXIT, RUN_TIMEOUT, START_TIMEOUT, QUEUE_TIMEOUT, JOB_DELETED, POD_DELETED,
    OTHER_CONTAINER_FAILED, POD_LOST, DISRUPTED, CLUSTER_REPLACED,
)  # fmt: skip
BY_CATEGORY: Mapping[str, End] = {end.category: end for end in ENDS}
BY_REASON: Mapping[str, End] = {end.reason: end for end in ENDS}


def refused(reason: str, message: str) -> Verdict:
    """Return the verdict of a job whose cluster job was refused permanently, with the `reason` of the refusal."""
    return Verdict(
        outcome=State.FAILED,
        reason=reason,
        explanation=f"The cluster refused the job: {message}",
        cause="permanent",
    )

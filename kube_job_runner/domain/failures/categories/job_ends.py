"""Categories of the life of a job itself, and the category for unknown causes."""

from kube_job_runner.domain.failures.categories.category import Category

CATEGORIES = (
    Category(
        name="created",
        title="The cluster job was created",
        whose="platform",
        happened="A step in the life of a job, not a fault: its cluster job exists.",
        remedy=("Nothing to do.",),
        verdict=None,
    ),
    Category(
        name="started",
        title="The command was started",
        whose="platform",
        happened="A step in the life of a job, not a fault: its main container runs, or has run.",
        remedy=("Nothing to do.",),
        verdict=None,
    ),
    Category(
        name="evidence_pending",
        title="The cluster job ended; the facts of its pod are still missing",
        whose="platform",
        happened=(
            "The cluster job has ended, and the exit code of its pod has not been seen yet. "
            "kube-job-runner waits a short time for it."
        ),
        remedy=("Nothing to do.",),
        verdict=None,
        settings=("KJR_EVIDENCE_GRACE_SECONDS",),
    ),
    Category(
        name="cancelled",
        title="The job was cancelled",
        whose="user",
        happened="Somebody asked for it, and nothing of the job is left running.",
        remedy=("Nothing to do. The record says who asked, when and why.",),
        verdict=None,
    ),
    Category(
        name="run_timeout",
        title="The job ran longer than its run timeout",
        whose="user",
        happened="The command was still running at the end of its run timeout and was stopped.",
        remedy=("Raise `timeouts.run_seconds`, or let the job do less.",),
        verdict=None,
    ),
    Category(
        name="start_timeout",
        title="The job did not start in time",
        whose="cluster",
        happened=(
            "The cluster job existed for the whole start timeout, and its command never ran. The explanation says "
            "what it waited for."
        ),
        remedy=("Fix what it waited for, or raise `timeouts.start_seconds`.",),
        verdict=None,
    ),
    Category(
        name="queue_timeout",
        title="The job waited too long to be created",
        whose="platform",
        happened="For the whole queue timeout no slot was free, or the cluster did not accept the job.",
        remedy=(
            "Raise `timeouts.queue_seconds` or KJR_MAX_IN_FLIGHT.",
            "The explanation says how the last try failed.",
        ),
        verdict=None,
        settings=("KJR_MAX_IN_FLIGHT",),
    ),
    Category(
        name="job_deleted",
        title="Somebody else deleted the cluster job",
        whose="cluster",
        happened="The cluster job was deleted while it ran, and not by kube-job-runner.",
        remedy=("Find out who deletes Jobs in the namespace. To stop a job, use `kjr cancel ID`.",),
        verdict=None,
    ),
    Category(
        name="custom",
        title="A rule of this installation",
        whose="platform",
        happened="A rule in the file of KJR_FAILURE_RULES matched. The rule names no category.",
        remedy=("Read the explanation: it comes from that rule.",),
        verdict=None,
        settings=("KJR_FAILURE_RULES",),
    ),
    Category(
        name="unknown",
        title="The cause is not known",
        whose="cluster",
        happened=(
            "Nothing that was seen shows the cause, or no rule knows the text. "
            "This is never fatal by itself: the job waits, up to its start timeout."
        ),
        remedy=(
            "Read the message and the Kubernetes Events of the pod.",
            "A custom rule can name it; try the rule with `kjr classify`.",
        ),
        verdict="wait",
        settings=("KJR_FAILURE_RULES", "KJR_REGISTRY_GRACE_SECONDS"),
    ),
)

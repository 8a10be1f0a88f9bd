"""Categories that the life of a job leads to by itself, and the one for what nobody knows."""

from kube_job_runner.domain.failures.categories.category import Category

CATEGORIES = (
    Category(
        name="created",
        title="The cluster job was made",
        whose="platform",
        happened="A step of a job's life, not a fault: its Job exists in the cluster.",
        remedy=("Nothing is to be done.",),
        verdict=None,
    ),
    Category(
        name="started",
        title="The command was started",
        whose="platform",
        happened="A step of a job's life, not a fault: its main container runs, or has run.",
        remedy=("Nothing is to be done.",),
        verdict=None,
    ),
    Category(
        name="evidence_pending",
        title="The cluster job ended; the facts of its pod are still awaited",
        whose="platform",
        happened="The Job is over, and its pod's exit code has not been seen yet. For a short time it is waited for.",
        remedy=("Nothing is to be done.",),
        verdict=None,
        settings=("KJR_EVIDENCE_GRACE_SECONDS",),
    ),
    Category(
        name="cancelled",
        title="The job was cancelled",
        whose="user",
        happened="Somebody asked for it, and nothing of the job is left running.",
        remedy=("Nothing is to be done; the record says who asked, when and why.",),
        verdict=None,
    ),
    Category(
        name="run_timeout",
        title="The job ran longer than its run timeout",
        whose="user",
        happened="The command was still running when its time was over, and was stopped.",
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
        remedy=("Mend what it waited for, or raise `timeouts.start_seconds`.",),
        verdict=None,
    ),
    Category(
        name="queue_timeout",
        title="The job waited too long to be created",
        whose="platform",
        happened="For the whole queue timeout there was no room, or the cluster did not take the job.",
        remedy=("Raise `timeouts.queue_seconds` or KJR_MAX_IN_FLIGHT.", "The explanation says what the last try met."),
        verdict=None,
        settings=("KJR_MAX_IN_FLIGHT",),
    ),
    Category(
        name="job_deleted",
        title="Somebody else deleted the cluster job",
        whose="cluster",
        happened="The Job left the cluster while it ran, and not by our doing.",
        remedy=("Find who deletes Jobs in the namespace; cancel with `kjr cancel ID` instead.",),
        verdict=None,
    ),
    Category(
        name="custom",
        title="A rule of this installation",
        whose="platform",
        happened="A rule in the file of KJR_FAILURE_RULES matched, and names no category of its own.",
        remedy=("The explanation is that rule's.",),
        verdict=None,
        settings=("KJR_FAILURE_RULES",),
    ),
    Category(
        name="unknown",
        title="The cause is not known",
        whose="cluster",
        happened=(
            "Nothing that was seen tells the cause, or the text is one that no rule knows. That is never fatal by "
            "itself: the job waits for its start timeout."
        ),
        remedy=(
            "Read the message and the Kubernetes Events of the pod.",
            "A rule of your own can name it; `kjr classify` tries it.",
        ),
        verdict="wait",
        settings=("KJR_FAILURE_RULES", "KJR_REGISTRY_GRACE_SECONDS"),
    ),
)

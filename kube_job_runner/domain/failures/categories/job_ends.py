"""Categories of the life of a job itself, and the category for unknown causes."""

import functools

from kube_job_runner.domain.failures.categories.category import category

_user = functools.partial(category, "user")
_platform = functools.partial(category, "platform")
_cluster = functools.partial(category, "cluster")

CATEGORIES = (
    _platform(
        "created",
        "The cluster job was created",
        "A step in the life of a job, not a fault: its cluster job exists.",
        "Nothing to do.",
    ),
    _platform(
        "started",
        "The command was started",
        "A step in the life of a job, not a fault: its main container runs, or has run.",
        "Nothing to do.",
    ),
    _platform(
        "evidence_pending",
        "The cluster job ended; the facts of its pod are still missing",
        "The cluster job has ended, and the exit code of its pod has not been seen yet. "
        "kube-job-runner waits a short time for it.",
        "Nothing to do.",
        settings="KJR_EVIDENCE_GRACE_SECONDS",
    ),
    _platform(
        "program_ended",
        "The program ended; its cluster job has not ended yet",
        "The main container has ended by itself, and the cluster has not recorded the end of the Job yet. That takes seconds, "
        "or for ever when another container keeps the pod. kube-job-runner waits a minute, and the stop grace for such a "
        "container. Then it stops what is left, and the end of the program is the end of the job.",
        "Nothing to do. If a container keeps the pod each time, make it a native sidecar "
        "(an init container with `restartPolicy: Always`).",
    ),
    _user(
        "cancelled",
        "The job was cancelled",
        "Somebody asked for it, and nothing of the job is left running.",
        "Nothing to do. The record says who asked, when and why.",
    ),
    _user(
        "run_timeout",
        "The job ran longer than its run timeout",
        "The command was still running at the end of its run timeout and was stopped.",
        "Raise `timeouts.run_seconds`, or let the job do less.",
    ),
    _cluster(
        "start_timeout",
        "The job did not start in time",
        "The cluster job existed for the whole start timeout, and its command never ran. Time without room in the cluster "
        "does not count. "
        "The explanation says what it waited for.",
        "Fix what it waited for, or raise `timeouts.start_seconds`.",
    ),
    _platform(
        "queue_timeout",
        "The job waited too long for its turn or for room",
        "For the whole queue timeout no slot was free, the cluster did not accept the job or had no room for it, or its "
        "Kubernetes Job was suspended.",
        "The explanation says what it waited for.",
        "Raise `timeouts.queue_seconds` or KJR_MAX_IN_FLIGHT, or have the quota of the namespace or the cluster made larger.",
        settings="KJR_MAX_IN_FLIGHT",
    ),
    _cluster(
        "job_deleted",
        "Somebody else deleted the cluster job",
        "The cluster job was deleted while it ran, and not by kube-job-runner.",
        "Find out who deletes Jobs in the namespace. To stop a job, use `kjr cancel ID`.",
    ),
    _cluster(
        "pod_deleted",
        "Somebody deleted the pod of the job",
        "The pod was deleted while the job ran, and neither kube-job-runner nor a drain, an eviction or a preemption did it. "
        "The program was stopped by that.",
        "Find out who deletes pods in the namespace. To stop a job, use `kjr cancel ID`.",
        "Make the job safe to run twice: a new attempt follows, and is free.",
    ),
    _cluster(
        "other_container_failed",
        "A container that is not the job's own failed",
        "Something added a container to the pod, such as a webhook that injects sidecars, and that container failed. "
        "The exit code of the job stays that of its own program: 0 if it ended well, none if it never ran. "
        "A program that never ran gets a new attempt, which is free. A program that ended well is not run again.",
        "Read the log of that container: `kjr logs ID` shows it with its name.",
        "Find out what adds it. A native sidecar (an init container with `restartPolicy: Always`) does not fail the job.",
    ),
    _platform(
        "cluster_replaced",
        "The installation was moved to another cluster",
        "The job was in the old cluster when an operator moved the database to another one with `kjr rebind`.",
        "Look in the old cluster: the job may still run there.",
        "Run it again with `kjr rerun ID`. It does not run again by itself.",
    ),
    _platform(
        "custom",
        "A rule of this installation",
        "A rule in the file of KJR_FAILURE_RULES matched. The rule names no category.",
        "Read the explanation: it comes from that rule.",
        settings="KJR_FAILURE_RULES",
    ),
    _cluster(
        "unknown",
        "The cause is not known",
        "Nothing that was seen shows the cause, or no rule knows the text. "
        "This is never fatal by itself: the job waits, up to its start timeout.",
        "Read the message and the Kubernetes Events of the pod.",
        "A custom rule can name it; try the rule with `kjr classify`.",
        verdict="wait",
        settings="KJR_FAILURE_RULES KJR_REGISTRY_GRACE_SECONDS",
    ),
)

"""Categories of the job itself: its command, its configuration, its limits."""

from kube_job_runner.domain.failures.categories.category import Category

CATEGORIES = (
    Category(
        name="completed",
        title="The job succeeded",
        whose="user",
        happened="The command ended with exit code 0.",
        remedy=("Nothing to do.",),
        verdict=None,
    ),
    Category(
        name="application_exit",
        title="The command ended with an error",
        whose="user",
        happened=(
            "The program ran and ended with an exit code other than 0. A shell uses 126 for a command that may not "
            "be executed and 127 for one that it cannot find."
        ),
        remedy=("Read the log of the job: `kjr logs ID`.", "A retry policy can give it more attempts."),
        verdict="application",
    ),
    Category(
        name="killed_by_signal",
        title="The command was killed by a signal",
        whose="user",
        happened=(
            "The exit code is 128 plus the number of a signal: 137 (SIGKILL), 139 (SIGSEGV), 143 (SIGTERM). "
            "The record of the container does not say who sent the signal. 137 alone does not prove a lack of memory."
        ),
        remedy=(
            "SIGSEGV, SIGABRT, SIGBUS: a bug in the program. Read its log.",
            (
                "SIGKILL: a process of the job may have used too much memory, or the pod was stopped by force. "
                "Compare its memory with the limit."
            ),
            "SIGTERM: the pod was asked to stop. Look for a cancel, a deadline or a drained node at that time.",
        ),
        verdict="application",
    ),
    Category(
        name="out_of_memory",
        title="The job used more memory than its limit",
        whose="user",
        happened=(
            "The kernel killed the container, or one of its processes, at its memory limit (`OOMKilled`). "
            "The exit code may be 137, another, or even 0 when only a child process was killed."
        ),
        remedy=("Raise `resources.memory`.", "Or let the program use less: smaller batches, fewer workers."),
        verdict="application",
    ),
    Category(
        name="ephemeral_storage_exceeded",
        title="The job wrote more than its storage limit",
        whose="user",
        happened=(
            "The container, the pod or one of its empty-dir volumes exceeded its limit of local storage, and the "
            "node evicted the pod."
        ),
        remedy=(
            "Raise `resources.ephemeral_storage` or the size limit of the volume.",
            "Or write less, or to another volume.",
        ),
        verdict="application",
    ),
    Category(
        name="command_not_found",
        title="The command does not exist in the image",
        whose="user",
        happened="The runtime found no such program in the image. For a script, its interpreter may be missing.",
        remedy=(
            "Check the spelling and the path of `command`. `kjr run IMAGE -- ls /path` shows which files exist.",
            "The first word is the program: a whole command line needs a shell, as in `sh -c '...'`.",
            "A script with Windows line endings asks for an interpreter that does not exist.",
        ),
        verdict="fail_now",
    ),
    Category(
        name="command_not_executable",
        title="The command may not be executed",
        whose="user",
        happened=(
            "The program is there, but is not executable for the user that the container runs as, or is a directory."
        ),
        remedy=("`chmod +x` the file when the image is built, and check the user of the image.",),
        verdict="fail_now",
    ),
    Category(
        name="wrong_architecture",
        title="The program is built for another CPU type",
        whose="user",
        happened=(
            "The kernel of the node cannot run the program's format: it is for another CPU type, or a script "
            "without `#!` in its first line."
        ),
        remedy=(
            "Use an image for the CPU type of the nodes, or choose nodes that fit.",
            "Begin scripts with `#!/bin/sh`.",
        ),
        verdict="fail_now",
    ),
    Category(
        name="config_missing",
        title="Something that the job refers to does not exist",
        whose="user",
        happened=(
            "A Secret, a ConfigMap, a key in one, a service account or a namespace that the job names is not in the "
            "cluster."
        ),
        remedy=(
            "Create it in the namespace of the job, or correct the name.",
            "It may arrive late: there is a grace for that.",
        ),
        verdict="fail_after_grace",
        settings=("KJR_CONFIG_GRACE_SECONDS",),
    ),
    Category(
        name="config_invalid",
        title="The container cannot be created with these settings",
        whose="user",
        happened=(
            "A setting of the container contradicts the image or the runtime: a missing working directory, a "
            "mount onto the wrong kind of path, no command, arguments that are too long, limits below the "
            "minimum of the runtime."
        ),
        remedy=("The message names the setting. Correct it in the job.",),
        verdict="fail_now",
        settings=("KJR_RUNTIME_GRACE_SECONDS",),
    ),
    Category(
        name="security_policy",
        title="The container's security settings do not allow it to start",
        whose="user",
        happened=(
            "The container would run as root where that is forbidden, or its AppArmor, seccomp or sysctl settings "
            "cannot be applied on the node."
        ),
        remedy=(
            "Give the image a numeric user other than 0 (`USER 1000`), or set one.",
            "Load the profile onto the nodes, or use one that they have.",
        ),
        verdict="fail_now",
        settings=("KJR_CONFIG_GRACE_SECONDS",),
    ),
    Category(
        name="start_failed",
        title="The container could not be started",
        whose="user",
        happened="The runtime refused to start the command, with a text that no rule knows.",
        remedy=("Read the message of the runtime.", "If it says more than this page, a custom rule can name it."),
        verdict="fail_now",
        settings=("KJR_FAILURE_RULES",),
    ),
    Category(
        name="deadline_exceeded",
        title="The deadline in the cluster ended the job",
        whose="user",
        happened=(
            "The Job or its pod was active for longer than its `activeDeadlineSeconds`. "
            "kube-job-runner sets it a little above the job's timeouts. "
            "So this happens mostly while kube-job-runner is down and cannot stop the job itself."
        ),
        remedy=("Raise the run timeout of the job, or let it do less.",),
        verdict="application",
    ),
    Category(
        name="request_invalid",
        title="The cluster does not accept the job as it is written",
        whose="user",
        happened="The API server found a field invalid, unknown or too large.",
        remedy=("The message names the field. Correct it.",),
        verdict="fail_now",
    ),
    Category(
        name="volume_missing",
        title="A volume that the job mounts does not exist",
        whose="user",
        happened="The claim, its storage class, the disk behind it or a directory of the node is not there.",
        remedy=("Create the claim in the namespace of the job, or correct its name.",),
        verdict="fail_after_grace",
        settings=("KJR_VOLUME_GRACE_SECONDS",),
    ),
)

"""Categories of the job itself: its command, its configuration, its limits."""

import functools

from kube_job_runner.domain.failures.categories.category import category

_user = functools.partial(category, "user")

CATEGORIES = (
    _user("completed", "The job succeeded", "The command ended with exit code 0.", "Nothing to do."),
    _user(
        "application_exit",
        "The command ended with an error",
        "The program ran and ended with an exit code other than 0. "
        "A shell uses 126 for a command that may not be executed and 127 for one that it cannot find.",
        "Read the log of the job: `kjr logs ID`.",
        "A retry policy can give it more attempts.",
        verdict="application",
    ),
    _user(
        "killed_by_signal",
        "The command was killed by a signal",
        "The exit code is 128 plus the number of a signal: 137 (SIGKILL), 139 (SIGSEGV), 143 (SIGTERM). "
        "The record of the container does not say who sent the signal. 137 alone does not prove a lack of memory.",
        "SIGSEGV, SIGABRT, SIGBUS: a bug in the program. Read its log.",
        (
            "SIGKILL: a process of the job may have used too much memory, or the pod was stopped by force. "
            "Compare its memory with the limit."
        ),
        "SIGTERM: the pod was asked to stop. Look for a cancel, a deadline or a drained node at that time.",
        verdict="application",
    ),
    _user(
        "out_of_memory",
        "The job used more memory than its limit",
        "The kernel killed the container, or one of its processes, at its memory limit (`OOMKilled`). "
        "The exit code may be 137, another, or even 0 when only a child process was killed.",
        "Raise `resources.memory`.",
        "Or let the program use less: smaller batches, fewer workers.",
        verdict="application",
    ),
    _user(
        "ephemeral_storage_exceeded",
        "The job wrote more than its storage limit",
        "The container, the pod or one of its empty-dir volumes exceeded its limit of local storage, and the node "
        "evicted the pod.",
        "Raise `resources.ephemeral_storage` or the size limit of the volume.",
        "Or write less, or to another volume.",
        verdict="application",
    ),
    _user(
        "command_not_found",
        "The command does not exist in the image",
        "The runtime found no such program in the image. For a script, its interpreter may be missing.",
        "Check the spelling and the path of `command`. `kjr run IMAGE -- ls /path` shows which files exist.",
        "The first word is the program: a whole command line needs a shell, as in `sh -c '...'`.",
        "A script with Windows line endings asks for an interpreter that does not exist.",
        verdict="fail_now",
    ),
    _user(
        "command_not_executable",
        "The command may not be executed",
        "The program is there, but is not executable for the user that the container runs as, or is a directory.",
        "`chmod +x` the file when the image is built, and check the user of the image.",
        verdict="fail_now",
    ),
    _user(
        "wrong_architecture",
        "The program is built for another CPU type",
        "The kernel of the node cannot run the program's format: it is for another CPU type, or a script without `#!` "
        "in its first line.",
        "Use an image for the CPU type of the nodes, or choose nodes that fit.",
        "Begin scripts with `#!/bin/sh`.",
        verdict="fail_now",
    ),
    _user(
        "config_missing",
        "Something that the job refers to does not exist",
        "A Secret, a ConfigMap, a key in one, a service account or a namespace that the job names is not in the cluster.",
        "Create it in the namespace of the job, or correct the name.",
        "It may arrive late: there is a grace for that.",
        verdict="fail_after_grace",
        settings="KJR_CONFIG_GRACE_SECONDS",
    ),
    _user(
        "config_invalid",
        "The container cannot be created with these settings",
        "A setting of the container contradicts the image or the runtime: a missing working directory, a mount onto "
        "the wrong kind of path, no command, arguments that are too long, limits below the minimum of the runtime.",
        "The message names the setting. Correct it in the job.",
        verdict="fail_now",
        settings="KJR_RUNTIME_GRACE_SECONDS",
    ),
    _user(
        "security_policy",
        "The container's security settings do not allow it to start",
        "The container would run as root where that is forbidden, or its AppArmor, seccomp or sysctl settings cannot "
        "be applied on the node.",
        "Give the image a numeric user other than 0 (`USER 1000`), or set one.",
        "Load the profile onto the nodes, or use one that they have.",
        verdict="fail_now",
        settings="KJR_CONFIG_GRACE_SECONDS",
    ),
    _user(
        "start_failed",
        "The container could not be started",
        "The runtime refused to start the command, with a text that no rule knows.",
        "Read the message of the runtime.",
        "If it says more than this page, a custom rule can name it.",
        verdict="fail_now",
        settings="KJR_FAILURE_RULES",
    ),
    _user(
        "deadline_exceeded",
        "The deadline in the cluster ended the job",
        "The Job or its pod was active for longer than its `activeDeadlineSeconds`. kube-job-runner sets it a little above the "
        "job's timeouts. So this happens mostly while kube-job-runner is down and cannot stop the job itself.",
        "Raise the run timeout of the job, or let it do less.",
        verdict="application",
    ),
    _user(
        "request_invalid",
        "The cluster does not accept the job as it is written",
        "The API server found a field invalid, unknown or too large.",
        "The message names the field. Correct it.",
        verdict="fail_now",
    ),
    _user(
        "volume_missing",
        "A volume that the job mounts does not exist",
        "The claim, its storage class, the disk behind it or a directory of the node is not there.",
        "Create the claim in the namespace of the job, or correct its name.",
        verdict="fail_after_grace",
        settings="KJR_VOLUME_GRACE_SECONDS",
    ),
)

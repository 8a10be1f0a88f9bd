"""The failure table: its rows are sound, and the text of a signal decides its meaning."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from kube_job_runner.domain import failures
from kube_job_runner.domain.failures import categories

PULLS = [
    (
        "rpc error: code = NotFound desc = failed to pull and unpack image: failed to resolve reference: not found",
        "ImageNotFound",
    ),
    ("manifest for nginx:l4t3st not found: manifest unknown: manifest unknown", "ImageNotFound"),
    ("reading manifest 3.4 in registry.example.com/team/app: manifest unknown", "ImageNotFound"),
    ("unknown: repository name not known to registry: name unknown", "ImageNotFound"),
    ("pulling from host r.example.com failed with status code [manifests 1]: 401 Unauthorized", "ImageUnauthorized"),
    (
        "pull access denied for team/nginxs, repository does not exist or may require 'docker login': denied",
        "ImageUnauthorized",
    ),
    ("no basic auth credentials", "ImageUnauthorized"),
    ("unexpected status from HEAD request: 403 Forbidden", "ImageUnauthorized"),
    ("toomanyrequests: You have reached your pull rate limit", "RegistryRateLimited"),
    (
        "pulling from host r.example.com failed with status code [manifests 1]: 503 Service Unavailable",
        "RegistryUnavailable",
    ),
    ("failed to do request: Head: dial tcp: lookup r.invalid on 127.0.0.53:53: no such host", "RegistryUnavailable"),
    ("dial tcp 127.0.0.1:80: connect: connection refused", "RegistryUnavailable"),
    ("net/http: TLS handshake timeout", "RegistryUnavailable"),
    ("no match for platform in manifest sha256:0: not found", "ImagePlatform"),
    ("write /var/lib/x: no space left on device", "NodeDiskFull"),
]


@pytest.mark.parametrize(("message", "reason"), PULLS)
@pytest.mark.parametrize("signal", ["ErrImagePull", "ImagePullBackOff"])
def test_a_pull_is_judged_by_its_message(signal: str, message: str, reason: str) -> None:
    found = failures.classify("container.waiting", signal, message)
    assert found is not None
    assert found.reason == reason


@pytest.mark.parametrize(
    "image",
    ["r.example.com/unauthorized-404/not-found:429", "denied.example.com/timeout:503", "r.example.com/no-such-host:1"],
)
def test_the_name_of_an_image_or_a_url_is_no_cause(image: str) -> None:
    message = (
        f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": unexpected status from HEAD '
        f"request to https://{image}/manifests/toomanyrequests: 503 Service Unavailable"
    )
    found = failures.classify("container.waiting", "ErrImagePull", message)
    assert found is not None
    assert found.category == "registry_unavailable"


def test_the_first_try_tells_more_than_the_last_one_without_credentials() -> None:
    message = (
        "[Error response from daemon: Get https://r.example.com/v2/: net/http: TLS handshake timeout, Error response from "
        "daemon: Get https://r.example.com/v2/app/manifests/1: unauthorized: authentication required]"
    )
    found = failures.classify("container.waiting", "ErrImagePull", message)
    assert found is not None
    assert (found.category, found.verdict) == ("registry_unavailable", "retry_free")


def test_mirrors_that_failed_are_not_the_cause() -> None:
    message = (
        "initializing source docker://quay.io/team/app:9: (Mirrors also failed: [mirror.example.com/team/app:9: pinging "
        "container registry mirror.example.com: dial tcp 10.0.0.1:443: connect: connection refused]): quay.io/team/app:9: "
        "reading manifest 9 in quay.io/team/app: manifest unknown"
    )
    found = failures.classify("container.waiting", "ErrImagePull", message)
    assert found is not None
    assert found.category == "image_not_found"


def test_a_missing_secret_is_not_a_cache_that_is_late() -> None:
    missing = failures.classify("container.waiting", "CreateContainerConfigError", 'secret "nope" not found')
    late = failures.classify(
        "container.waiting", "CreateContainerConfigError", "failed to sync secret cache: timed out waiting"
    )
    assert missing is not None
    assert (missing.category, missing.verdict) == ("config_missing", "fail_after_grace")
    assert late is not None
    assert (late.category, late.verdict) == ("runtime_error", "retry_free")


@pytest.mark.parametrize(
    ("where", "reason", "message", "exit_code"),
    [
        ("container.waiting", "BrandNew", "?", None),
        ("container.waiting", "ContainerCreating", "", None),
        ("container.waiting", "PodInitializing", "", None),
        ("container.terminated", "Completed", "", 0),
        ("pod.condition", "SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates", None),
        ("pod.condition", "ContainersNotReady", "containers with unready status: [main]", None),
        ("job.condition", "JobSuspended", "Job suspended", None),
        ("job.condition", "Whatever", "", None),
        ("event", "Pulled", 'Successfully pulled image "x"', None),
        ("event", "Failed", "something else", None),
        ("pod.status", "", "", None),
        ("api", "", "", None),
    ],
)
def test_what_is_normal_or_unknown_has_no_meaning(
    where: failures.Where, reason: str, message: str, exit_code: int | None
) -> None:
    assert failures.classify(where, reason, message, exit_code=exit_code) is None


def test_an_exit_of_137_alone_is_never_out_of_memory() -> None:
    found = failures.classify("container.terminated", "Error", "", exit_code=137, container="main")
    assert found is not None
    assert (found.category, found.verdict) == ("killed_by_signal", "application")
    assert "SIGKILL" in found.explanation
    assert "memory" not in found.explanation


def test_out_of_memory_is_believed_whatever_the_exit_code() -> None:
    found = failures.classify("container.terminated", "OOMKilled", "", exit_code=0)
    assert found is not None
    assert found.category == "out_of_memory"


def test_what_the_program_says_of_its_own_children_is_not_how_it_was_started() -> None:
    message = 'Traceback: OSError: [Errno 8] Exec format error: "./tool"'
    found = failures.classify("container.terminated", "Error", message, exit_code=1)
    assert found is not None
    assert found.category == "application_exit"
    assert message in found.explanation


@pytest.mark.parametrize("rule", failures.RULES, ids=[rule.name for rule in failures.RULES])
def test_every_rule_explains_itself_and_cites_its_source(rule: failures.Rule) -> None:
    assert rule.source
    assert rule.reasons or rule.pattern or rule.exit_codes
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule.name)
    assert rule.category in categories.BY_NAME
    if rule.verdict == "fail_after_grace":
        assert rule.grace
    if rule.where == "container.waiting":
        assert bool(rule.grace) == (rule.verdict in ("fail_after_grace", "retry_free"))
    text = failures.finding(rule, "what the cluster said.", container="main", node="node-1", exit_code=9).explanation
    assert "{" not in text
    assert ".." not in text
    assert text.endswith((".", ")"))


def test_the_names_of_rules_are_unique() -> None:
    counted = Counter(rule.name for rule in failures.RULES)
    assert [name for name, times in counted.items() if times > 1] == []


def test_a_long_message_is_shortened() -> None:
    found = failures.classify("container.waiting", "InvalidImageName", "x" * 5000)
    assert found is not None
    assert len(found.explanation) < 800


def test_only_the_beginning_of_a_message_is_matched() -> None:
    assert failures.classify("container.waiting", "ErrImagePull", "x" * 9000 + "manifest unknown") is None


def test_the_worst_verdict_has_the_highest_severity() -> None:
    order: list[failures.Action] = ["wait", "retry_free", "application", "fail_after_grace", "fail_now"]
    assert sorted(failures.VERDICTS, key=failures.severity) == order


def test_an_empty_table_knows_nothing() -> None:
    assert failures.Table(()).classify("container.waiting", "InvalidImageName", "x") is None


@pytest.mark.parametrize(
    ("reason", "message", "rule"),
    [
        ("BackOff", "Back-off restarting failed container main in pod job-1_team(9f)", "crash-loop"),
        ("BackOff", 'Back-off pulling image "r.example.com/app:1"', "pull-cause-untold"),
        ("BackOff", 'Back-off pulling image "r.example.com/app:1": ErrImagePull: not found', "pull-not-found"),
        ("Failed", "Error: ImagePullBackOff", "pull-cause-untold"),
        ("Failed", "Error: SignatureValidationFailed", "image-signature"),
        ("Failed", 'Error: secret "db" not found', "config-missing"),
        ("InspectFailed", "Failed to inspect image: rpc error: code = Unavailable", "image-store-broken"),
        ("InspectFailed", "Failed to inspect image: write: no space left on device", "image-store-full"),
        (
            "FailedCreate",
            "(combined from similar events): Error creating: etcdserver: leader changed",
            "api-unavailable",
        ),
        ("FailedScheduling", "0/1 nodes are available: 1 Insufficient cpu.", "no-room"),
        ("Evicted", "The node was low on resource: memory.", "node-pressure"),
        ("FailedPostStartHook", "PostStartHook failed", "start-hook"),
    ],
)
def test_an_event_is_judged_by_the_rows_of_the_place_it_speaks_of(reason: str, message: str, rule: str) -> None:
    found = failures.classify("event", reason, message)
    assert found is not None
    assert found.rule.name == rule
    assert found.grace == found.rule.grace


def test_a_runtime_s_own_error_under_another_reason_is_a_start_error() -> None:
    message = 'OCI runtime create failed: runc create failed: exec: "x": executable file not found in $PATH: unknown'
    found = failures.classify("container.terminated", "Error", message, exit_code=127)
    assert found is not None
    assert found.rule.name == "start-command-not-found"


@pytest.mark.parametrize(
    ("where", "signal", "rule"),
    [
        ("container.waiting", "CreateContainerConfigError", "mount-source-missing"),
        ("container.waiting", "CreateContainerError", "command-not-found"),
        ("container.terminated", "StartError", "start-command-not-found"),
    ],
)
def test_what_is_missing_is_a_mount_until_the_container_is_made(where: failures.Where, signal: str, rule: str) -> None:
    found = failures.classify(where, signal, "stat /data/in: no such file or directory")
    assert found is not None
    assert found.rule.name == rule


@pytest.mark.parametrize(
    ("message", "category"),
    [
        ("error unpacking image: failed to extract layer sha256:0: unexpected EOF", "runtime_error"),
        ("error unpacking image: failed to extract layer sha256:0: no space left on device", "node_disk_full"),
        (
            "failed to stat /var/lib/x/snapshots/7/fs: stat /var/lib/x/snapshots/7/fs: no such file or directory",
            "runtime_error",
        ),
        ("write /var/lib/x/snapshots/7/fs/usr/bin/a: no space left on device", "node_disk_full"),
        ("failed to stat /srv/in: stat /srv/in: no such file or directory", "volume_missing"),
    ],
)
def test_a_lost_snapshot_is_neither_a_full_disk_nor_a_missing_mount(message: str, category: str) -> None:
    found = failures.classify("container.waiting", "CreateContainerError", message)
    assert found is not None
    assert found.category == category


def test_braces_in_a_message_stay_as_they_are() -> None:
    found = failures.classify("container.waiting", "InvalidImageName", 'bad "${PREFIX}/{0}"')
    assert found is not None
    assert "${PREFIX}/{0}" in found.explanation


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (1, "exec java -cp . -jar app.jar\nFileNotFoundException: /etc/app/app.yaml (No such file or directory)"),
        (64, "exec su-exec app python -m etl\nPermissionError: [Errno 13] Permission denied: '/data/out.csv'"),
        (125, 'failed to start container "web": Error response from daemon: port is already allocated'),
        (1, "OCI runtime exec failed: exec failed: executable file not found in $PATH"),
        (1, 'exec: "git": executable file not found in $PATH'),
        (1, "exec /app/run: exec format error\nand the program went on"),
    ],
)
def test_the_last_words_of_a_program_are_not_how_it_was_started(code: int, message: str) -> None:
    found = failures.classify("container.terminated", "Error", message, exit_code=code)
    assert found is not None
    assert found.category == "application_exit"


def test_what_the_kubelet_says_of_the_termination_message_is_not_what_the_program_said() -> None:
    for words in (
        "Error on reading termination message from logs: no such file",
        "Error on reading termination log /x: y",
    ):
        found = failures.classify("container.terminated", "Error", words, exit_code=3)
        assert found is not None
        assert found.explanation == "Container main exited with code 3."


@pytest.mark.parametrize(
    ("message", "category"),
    [
        ("0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found", "volume_unavailable"),
        (
            'waiting for ephemeral volume controller to create the persistentvolumeclaim "x". not found',
            "volume_unavailable",
        ),
        (
            'waiting for dynamic resource controller to create the resourceclaim "gpu". not found',
            "unschedulable_capacity",
        ),
        ('persistentvolumeclaim "data" not found. not found', "volume_missing"),
        ("0/3 nodes are available: 3 Insufficient cpu. preemption: storageclass x not found", "unschedulable_capacity"),
        ("0/3 nodes are available: 3 Insufficient cpu. preemption: no nodepool matched", "unschedulable_capacity"),
        ("0/3 nodes are available: 3 Insufficient cpu. preemption: non-existent pv", "unschedulable_capacity"),
    ],
)
@pytest.mark.parametrize(("where", "reason"), [("pod.condition", "Unschedulable"), ("event", "FailedScheduling")])
def test_what_the_scheduler_says_of_preemption_is_no_evidence(
    where: failures.Where, reason: str, message: str, category: str
) -> None:
    found = failures.classify(where, reason, message)
    assert found is not None
    assert found.category == category

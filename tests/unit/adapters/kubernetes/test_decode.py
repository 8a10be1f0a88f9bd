"""From what the API server sends to facts."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_job_runner.adapters.kubernetes.decode import JOBS, PODS
from kube_job_runner.adapters.kubernetes.object_facts import UNKNOWN_ID
from kube_job_runner.domain.facts import JobFacts, PodFacts
from tests.support import watch_fixtures
from tests.support.kubernetes import labels, pod


def test_the_facts_of_every_recorded_line_are_as_they_were() -> None:
    wanted = watch_fixtures.GOLDEN.read_bytes().splitlines()
    for got, want in zip(watch_fixtures.golden(), wanted, strict=True):
        assert json.loads(got) == json.loads(want)


@pytest.mark.parametrize("case", watch_fixtures.CASES)
def test_recorded_pods_agree_with_a_plain_reading_of_the_json(case: str) -> None:
    for raw, line in zip(watch_fixtures.raw_lines(case, "pods"), watch_fixtures.lines(case, "pods"), strict=True):
        plain = json.loads(raw)
        item, status = plain["object"], plain["object"].get("status", {})
        assert line.type == plain["type"]
        assert line.resource_version == item["metadata"]["resourceVersion"]
        if plain["type"] == "BOOKMARK":
            assert line.item is None
            continue
        assert line.item is not None
        facts: PodFacts = line.item.facts
        assert facts.uid == item["metadata"]["uid"]
        assert facts.job_uid == item["metadata"]["ownerReferences"][0]["uid"]
        assert (facts.phase, facts.reason) == (status["phase"], status.get("reason", ""))
        assert facts.node == item["spec"].get("nodeName", "")
        assert facts.gone == (plain["type"] == "DELETED")
        assert facts.deleting == ("deletionTimestamp" in item["metadata"])
        assert facts.deletion_grace_seconds == item["metadata"].get("deletionGracePeriodSeconds")
        if facts.deleting:
            assert facts.deletion_due_at == datetime.fromisoformat(item["metadata"]["deletionTimestamp"])
        assert [c.type for c in facts.conditions] == [c["type"] for c in status.get("conditions", [])]
        for container, plain_container in zip(facts.containers, status.get("containerStatuses", []), strict=True):
            ((state, details),) = plain_container["state"].items()
            assert (container.name, container.state, container.init) == (plain_container["name"], state, False)
            assert container.reason == details.get("reason", "")
            assert container.message == details.get("message", "")
            assert container.exit_code == details.get("exitCode")
            started = details.get("startedAt")
            assert container.started_at == (datetime.fromisoformat(started) if started else None)


@pytest.mark.parametrize("case", watch_fixtures.CASES)
def test_recorded_jobs_agree_with_a_plain_reading_of_the_json(case: str) -> None:
    for raw, line in zip(watch_fixtures.raw_lines(case, "jobs"), watch_fixtures.lines(case, "jobs"), strict=True):
        plain = json.loads(raw)
        item, status = plain["object"], plain["object"].get("status", {})
        if plain["type"] == "BOOKMARK":
            assert line.item is None
            continue
        assert line.item is not None
        facts: JobFacts = line.item.facts
        assert facts.uid == item["metadata"]["uid"]
        assert facts.resource_version == int(item["metadata"]["resourceVersion"])
        started = status.get("startTime")
        assert facts.started_at == (datetime.fromisoformat(started) if started else None)
        assert [(c.type, c.status, c.reason, c.message) for c in facts.conditions] == [
            (c["type"], c["status"], c.get("reason", ""), c.get("message", "")) for c in status.get("conditions", [])
        ]
        assert facts.gone == (plain["type"] == "DELETED")


# What a person reads in each recording: (Job condition, pod phase, container state, reason, exit code) at its end.
ENDINGS = {
    "real-echo": ("Complete", "Succeeded", "terminated", "Completed", 0),
    "real-exit3": ("Failed", "Failed", "terminated", "Error", 3),
    "real-oom": ("Failed", "Failed", "terminated", "OOMKilled", 137),
    "real-deadline": ("Failed", "Failed", "terminated", "Error", 7),
    "real-bad-command": ("Failed", "Failed", "terminated", "StartError", 128),
    "real-bad-image-name": (None, "Pending", "waiting", "InvalidImageName", None),
    "real-image-not-found": (None, "Pending", "waiting", "ImagePullBackOff", None),
    "real-image-unauthorized": (None, "Pending", "waiting", "ImagePullBackOff", None),
    "real-never-pull": (None, "Pending", "waiting", "ErrImageNeverPull", None),
    "real-missing-secret": (None, "Pending", "waiting", "CreateContainerConfigError", None),
    "real-run-as-non-root": (None, "Pending", "waiting", "CreateContainerConfigError", None),
    "real-sigterm-trap": (None, "Failed", "terminated", "Error", 7),
    "real-delete-pending-pull": (None, "Failed", "terminated", "ContainerStatusUnknown", 137),
    "kwok-ok": ("Complete", "Succeeded", "terminated", "Completed", 0),
    "kwok-exit3": ("Failed", "Failed", "terminated", "Error", 3),
    "kwok-pod-failure-policy": ("Failed", "Failed", "terminated", "Error", 42),
    "kwok-imagepull": (None, "Pending", "waiting", "ImagePullBackOff", None),
    "kwok-configerror": (None, "Pending", "waiting", "CreateContainerConfigError", None),
}


@pytest.mark.parametrize("case", ENDINGS)
def test_recordings_end_as_a_person_reads_them(case: str) -> None:
    condition, phase, state, reason, exit_code = ENDINGS[case]
    jobs, last = watch_fixtures.job_facts(case), watch_fixtures.pod_facts(case)[-1]
    ended = {
        c.type for facts in jobs for c in facts.conditions if c.status == "True" and c.type in ("Complete", "Failed")
    }
    assert ended == ({condition} if condition else set())
    main = last.container("main")
    assert main is not None
    assert (last.phase, main.state, main.reason, main.exit_code) == (phase, state, reason, exit_code)


def test_a_deadline_leaves_the_exit_code_only_in_the_stream() -> None:
    pods = watch_fixtures.pod_facts("real-deadline")
    assert pods[-1].gone
    assert [c.exit_code for c in pods[-1].containers] == [7]


def test_a_quota_on_pods_gives_a_job_without_pod_and_condition() -> None:
    assert watch_fixtures.pod_facts("kwok-quota-pods") == []
    assert not any(facts.conditions for facts in watch_fixtures.job_facts("kwok-quota-pods"))


def test_disruptions_are_conditions() -> None:
    reasons = {
        c.reason
        for f in watch_fixtures.pod_facts("kwok-node-taint")
        for c in f.conditions
        if c.type == "DisruptionTarget"
    }
    assert reasons == {"DeletionByTaintManager"}


# --- Robustness ---


def _line(item: Any, type_: str = "MODIFIED") -> bytes:
    return json.dumps({"type": type_, "object": item}).encode()


def _pod(status: Any, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"uid": "u", "resourceVersion": "7", "labels": labels(), **metadata}, "status": status}


@pytest.mark.parametrize(
    "status",
    [
        None,
        {},
        {"phase": None, "conditions": None, "containerStatuses": None, "initContainerStatuses": None},
        {"conditions": [{}], "containerStatuses": [{}]},
        {"conditions": [{"type": None, "lastTransitionTime": None}], "containerStatuses": [{"state": None}]},
        {"containerStatuses": [{"name": "main", "state": {}}]},
        {"containerStatuses": [{"name": "main", "state": {"waiting": {}}}]},
        {"containerStatuses": [{"name": "main", "state": {"terminated": {"exitCode": None, "startedAt": None}}}]},
        {"brandNew": {"deep": [1, 2, {"x": None}]}},
    ],
)
def test_missing_and_null_fields_are_defaults(status: Any) -> None:
    line = PODS.line(_line(_pod(status)))
    assert line.item is not None
    assert line.item.facts.uid == "u"


@pytest.mark.parametrize(
    "status",
    [
        {"phase": 5},
        "text",
        [],
        {"containerStatuses": {}},
        {"conditions": [{"lastTransitionTime": "yesterday"}]},
        {"containerStatuses": [{"state": {"terminated": {"exitCode": "3"}}}]},
        {"containerStatuses": [{"state": {"terminated": {"exitCode": 3, "startedAt": 5}}}]},
    ],
)
def test_a_status_of_unknown_shape_still_tells_that_the_pod_is_there(status: Any) -> None:
    line = PODS.line(_line(_pod(status), "DELETED"))
    assert line.item is not None
    assert line.item.facts == PodFacts(uid="u", resource_version=7, gone=True)
    assert line.item.attempt == 1


def test_a_page_with_one_unreadable_object_holds_the_others() -> None:
    items = [
        _pod({"phase": "Running"}),
        _pod({"phase": []}, uid="v"),
        {"metadata": {}},
        5,
        _pod({"phase": "Failed"}, uid="w"),
    ]
    page = PODS.page(json.dumps({"metadata": {"resourceVersion": "9", "continue": "t"}, "items": items}).encode())
    assert [(item.facts.uid, item.facts.phase) for item in page.items] == [("u", "Running"), ("v", ""), ("w", "Failed")]
    assert (page.resource_version, page.token, page.unreadable) == ("9", "t", 2)


def test_an_empty_page_may_have_null_items() -> None:
    page = JOBS.page(b'{"metadata":{"resourceVersion":"9"},"items":null}')
    assert (page.items, page.token) == ([], "")


@pytest.mark.parametrize(
    ("changed", "job_known"),
    [
        ({}, True),
        ({"kube-job-runner.io/job-id": "x"}, False),
        ({"kube-job-runner.io/job-id": ""}, False),
        ({"kube-job-runner.io/attempt": "one"}, True),
    ],
)
def test_labels_say_whose_it_is_and_forged_ones_say_nobody(changed: dict[str, str], job_known: bool) -> None:
    item = PODS.object(json.dumps(_pod({}, labels={**labels(), **changed})).encode())
    assert (item.job_id != UNKNOWN_ID) == job_known
    assert item.attempt == (0 if "kube-job-runner.io/attempt" in changed else 1)


def test_an_object_without_labels_is_nobodys() -> None:
    item = PODS.object(b'{"metadata":{"uid":"u"}}')
    assert (item.job_id, item.attempt, item.labels, item.annotations) == (UNKNOWN_ID, 0, {}, {})


@pytest.mark.parametrize(
    ("owners", "job_uid"),
    [
        ([{"kind": "Job", "uid": "j", "controller": True}], "j"),
        ([{"kind": "Job", "uid": "j"}], ""),
        ([{"kind": "ReplicaSet", "uid": "r", "controller": True}], ""),
        ([{"kind": "X", "uid": "x"}, {"kind": "Job", "uid": "j", "controller": True}], "j"),
        (None, ""),
    ],
)
def test_s33_only_a_controlling_job_owns_a_pod(owners: Any, job_uid: str) -> None:
    assert PODS.object(json.dumps(_pod({}, ownerReferences=owners)).encode()).facts.job_uid == job_uid


@pytest.mark.parametrize("init_containers", [None, [], [{}], [{"name": "mesh", "restartPolicy": None}]])
def test_an_init_container_is_no_sidecar_unless_its_spec_says_so(init_containers: Any) -> None:
    status = {"initContainerStatuses": [{"name": "mesh", "state": {"running": {}}}]}
    whole = _pod(status)
    whole["spec"] = {"initContainers": init_containers}
    (container,) = PODS.object(json.dumps(whole).encode()).facts.containers
    assert (container.init, container.sidecar) == (True, False)


def test_a_native_sidecar_is_marked() -> None:
    status: dict[str, Any] = {
        "initContainerStatuses": [{"name": name, "state": {"running": {}}} for name in ("setup", "mesh")]
    }
    whole = _pod(status)
    whole["spec"] = {
        "initContainers": [{"name": "mesh", "restartPolicy": "Always", "image": "m"}, {"name": "setup", "image": "s"}]
    }
    containers = PODS.object(json.dumps(whole).encode()).facts.containers
    assert [(c.name, c.init, c.sidecar) for c in containers] == [("setup", True, False), ("mesh", True, True)]


def test_f29_injected_containers_come_along_and_init_containers_are_marked() -> None:
    status = {
        "initContainerStatuses": [{"name": "setup", "state": {"terminated": {"exitCode": 1}}}],
        "containerStatuses": [
            {"name": "main", "state": {"waiting": {"reason": "PodInitializing"}}, "restartCount": 2},
            {"name": "proxy", "state": {"running": {"startedAt": "2026-11-24T22:37:14Z"}}},
        ],
    }
    facts = PODS.object(json.dumps(_pod(status)).encode()).facts
    assert [(c.name, c.init, c.state) for c in facts.containers] == [
        ("setup", True, "terminated"),
        ("main", False, "waiting"),
        ("proxy", False, "running"),
    ]
    assert facts.containers[1].restarts == 2
    assert facts.containers[2].started_at == datetime(2026, 11, 24, 22, 37, 14, tzinfo=UTC)


@pytest.mark.parametrize(
    ("raw", "type_", "version"),
    [
        (
            b'{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"5"},"spec":{"containers":null}}}',
            "BOOKMARK",
            "5",
        ),
        (b'{"type":"NEW","object":{"metadata":{"resourceVersion":"6"}}}', "NEW", "6"),
        (b'{"type":"ADDED"}', "ADDED", ""),
        (b"{}", "", ""),
    ],
)
def test_lines_without_an_object_of_ours(raw: bytes, type_: str, version: str) -> None:
    line = PODS.line(raw)
    assert (line.type, line.resource_version, line.item) == (type_, version, None)


def test_an_error_line_carries_its_status() -> None:
    status = {
        "kind": "Status",
        "metadata": {},
        "status": "Failure",
        "message": "too old",
        "reason": "Expired",
        "code": 410,
    }
    line = JOBS.line(_line(status, "ERROR"))
    assert line.status is not None
    assert (line.status.code, line.status.reason) == (410, "Expired")


@pytest.mark.parametrize("raw", [b"", b"{", b'{"type":"ADDED","object":{"metadata":{"uid":"u"', b"\xff", b"<html>"])
def test_what_is_not_json_is_a_decode_error_and_not_a_validation_error(raw: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)) as caught:
        PODS.line(raw)
    assert not isinstance(caught.value, msgspec.ValidationError)


@pytest.mark.parametrize("raw", [b"null", b"[]", b"5", b'{"type":"ADDED","object":{"metadata":{}}}', b'{"type":7}'])
def test_what_is_json_and_no_line_is_a_validation_error(raw: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        PODS.line(raw)


def test_a_resource_version_that_is_no_number_is_zero_and_kept_as_it_is_for_resuming() -> None:
    line = PODS.line(_line({**pod(), "metadata": {"uid": "u", "resourceVersion": "opaque"}}))
    assert line.resource_version == "opaque"
    assert line.item is not None
    assert line.item.facts.resource_version == 0


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "object",
                    "metadata",
                    "uid",
                    "status",
                    "conditions",
                    "containerStatuses",
                    "state",
                    "phase",
                    "x",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(_json)
def test_any_json_is_read_or_refused_in_one_way(value: Any) -> None:
    raw = json.dumps(value).encode()
    for read in (PODS.line, JOBS.line, PODS.page, JOBS.page, PODS.object, JOBS.object):
        try:
            read(raw)
        except msgspec.ValidationError:
            continue

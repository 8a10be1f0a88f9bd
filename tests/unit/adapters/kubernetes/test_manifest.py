"""The Kubernetes Job that is made of a spec: exactly as reviewed, and never more than the allow-list."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_job_runner.adapters.kubernetes import manifest
from kube_job_runner.domain import names
from kube_job_runner.domain.spec.field_types import EmptyDir, Secret, Toleration, Volume
from kube_job_runner.domain.spec.model import JobSpec, Resources, Timeouts
from kube_job_runner.ports import ClusterJob
from tests.support.kubernetes import JOB_ID

FULL = JobSpec(
    image="registry.example/team/app:1.2",
    command=("sh", "-c"),
    args=("echo $(date) $$ $HOME",),
    env={"PRICE": "5$", "NAME": "$(OTHER)"},
    secrets=(Secret(env="PASSWORD", name="db", key="password"),),
    working_dir="/work",
    resources=Resources(cpu="500m", memory="1Gi", ephemeral_storage="2Gi", gpu=1),
    timeouts=Timeouts(start_seconds=60, run_seconds=120),
    stop_grace_seconds=5,
    labels={"team": "data", "kueue.x-k8s.io/queue-name": "q"},
    annotations={"note": "hello"},
    service_account="runner",
    node_selector={"disk": "ssd"},
    tolerations=(
        Toleration(key="gpu", operator="Exists", effect="NoSchedule"),
        Toleration(key="spot", value="yes", effect="NoExecute", toleration_seconds=30),
    ),
    volumes=(
        Volume(name="scratch", mount_path="/scratch", empty_dir=EmptyDir(size_limit="1Gi", memory=True)),
        Volume(name="data", mount_path="/data", read_only=True, sub_path="in", persistent_volume_claim="data"),
        Volume(name="conf", mount_path="/conf", config_map="conf"),
        Volume(name="keys", mount_path="/keys", secret="keys", read_only=True),
        Volume(name="plain", mount_path="/plain", empty_dir=EmptyDir()),
    ),
)


def _job(spec: JobSpec, **fields: Any) -> ClusterJob:
    given: dict[str, Any] = {
        "job_id": JOB_ID,
        "attempt": 2,
        "namespace": "jobs",
        "cluster_name": "app-x-2",
        "queue": "batch",
        "spec": spec,
        "spec_hash": "0123456789abcdef",
        **fields,
    }
    return ClusterJob(**given)


def _rendered(spec: JobSpec, **fields: Any) -> dict[str, Any]:
    rendered: dict[str, Any] = json.loads(manifest.render(_job(spec, **fields), instance="main"))
    return rendered


@pytest.mark.parametrize(
    ("given", "elsewhere"),
    [(FULL, {"name", "queue", "priority", "namespace", "retry"}), (FULL.resources, set())],
    ids=["JobSpec", "Resources"],
)
def test_the_reviewed_manifest_has_each_field(given: JobSpec | Resources, elsewhere: set[str]) -> None:
    least = JobSpec(image="busybox") if isinstance(given, JobSpec) else Resources()
    assert {name for name in given.__struct_fields__ if getattr(given, name) == getattr(least, name)} == elsewhere


@pytest.mark.parametrize(("name", "spec"), [("full", FULL), ("least", JobSpec(image="busybox"))])
def test_the_manifest_is_as_reviewed(name: str, spec: JobSpec) -> None:
    golden = Path(__file__).parent / f"manifest.{name}.json"
    assert _rendered(spec) == json.loads(golden.read_text())


def test_cpu_is_a_request_alone_and_memory_is_both() -> None:
    container = _rendered(FULL)["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"] == {
        "requests": {"memory": "1Gi", "ephemeral-storage": "2Gi", "cpu": "500m"},
        "limits": {"memory": "1Gi", "ephemeral-storage": "2Gi", "nvidia.com/gpu": "1"},
    }


def test_an_attempt_may_have_more_memory_than_its_spec_and_that_is_other_work() -> None:
    grown = _rendered(FULL, memory="2Gi")
    resources = grown["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert (resources["requests"]["memory"], resources["limits"]["memory"]) == ("2Gi", "2Gi")
    hashes = {rendered["metadata"]["annotations"][names.SPEC_HASH_ANNOTATION] for rendered in (grown, _rendered(FULL))}
    assert len(hashes) == 2
    without = JobSpec(image="x")
    container = _rendered(without, memory="64Mi")["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"] == {"requests": {"memory": "64Mi"}, "limits": {"memory": "64Mi"}}


def test_nodes_are_avoided_by_preference_with_one_requirement_each() -> None:
    pod = _rendered(FULL, avoid_nodes=("node-1", "node-2"))["spec"]["template"]["spec"]
    (term,) = pod["affinity"]["nodeAffinity"].pop("preferredDuringSchedulingIgnoredDuringExecution")
    assert pod["affinity"] == {"nodeAffinity": {}}, "only a preference: a cluster of one node still runs the job"
    assert term["weight"] == 100
    assert term["preference"] == {
        "matchFields": [
            {"key": "metadata.name", "operator": "NotIn", "values": ["node-1"]},
            {"key": "metadata.name", "operator": "NotIn", "values": ["node-2"]},
        ]
    }
    assert "affinity" not in _rendered(FULL)["spec"]["template"]["spec"]


def test_the_installation_is_a_label_of_the_job_and_of_its_pod() -> None:
    spec = JobSpec(image="x", labels={names.INSTALLATION_LABEL: "forged"})
    rendered = json.loads(manifest.render(_job(spec), instance="main", installation="id-1"))
    for metadata in (rendered["metadata"], rendered["spec"]["template"]["metadata"]):
        assert metadata["labels"][names.INSTALLATION_LABEL] == "id-1"


def test_the_backstop_lies_beyond_every_deadline_of_ours() -> None:
    assert _rendered(FULL)["spec"]["activeDeadlineSeconds"] == 86_400 + 60 + 120 + 5 + 600


def test_our_labels_win_over_the_users() -> None:
    spec = JobSpec(image="x", labels={names.JOB_ID_LABEL: "forged", names.MANAGED_BY_LABEL: "me", "mine": "1"})
    for metadata in (_rendered(spec)["metadata"], _rendered(spec)["spec"]["template"]["metadata"]):
        assert metadata["labels"][names.JOB_ID_LABEL] == str(JOB_ID)
        assert metadata["labels"][names.MANAGED_BY_LABEL] == "kube-job-runner"
        assert metadata["labels"]["mine"] == "1"


def test_the_spec_hash_cannot_be_forged_by_an_annotation() -> None:
    spec = JobSpec(image="x", annotations={names.SPEC_HASH_ANNOTATION: "forged"})
    assert _rendered(spec)["metadata"]["annotations"][names.SPEC_HASH_ANNOTATION] == "0123456789abcdef"


@pytest.mark.parametrize(("account", "mounted"), [(None, False), ("runner", True)])
def test_s06_the_token_is_mounted_only_for_a_named_account(account: str | None, mounted: bool) -> None:
    pod = _rendered(JobSpec(image="x", service_account=account))["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is mounted
    assert pod.get("serviceAccountName") == account


# --- The allow-list ---

_JOB_KEYS = {
    *("parallelism", "completions", "backoffLimit", "podReplacementPolicy"),
    *("activeDeadlineSeconds", "ttlSecondsAfterFinished", "template"),
}
_POD_KEYS = {
    "restartPolicy", "terminationGracePeriodSeconds", "enableServiceLinks", "automountServiceAccountToken", "containers",
    "serviceAccountName", "nodeSelector", "tolerations", "volumes",
}  # fmt: skip
_CONTAINER_KEYS = {
    "name",
    "image",
    "securityContext",
    "command",
    "args",
    "env",
    "workingDir",
    "resources",
    "volumeMounts",
    "terminationMessagePolicy",
}
_VOLUME_KEYS = {"name", "persistentVolumeClaim", "configMap", "secret", "emptyDir"}
_MOUNT_KEYS = {"name", "mountPath", "readOnly", "subPath"}

_text = st.text(max_size=12)
_label = st.dictionaries(st.sampled_from(["a", "b/c", "hostNetwork"]), _text, max_size=2)
_volume = st.builds(
    Volume,
    name=_text,
    mount_path=_text,
    read_only=st.booleans(),
    sub_path=_text,
    empty_dir=st.none() | st.builds(EmptyDir, size_limit=st.none() | _text, memory=st.booleans()),
    persistent_volume_claim=st.none() | _text,
    config_map=st.none() | _text,
    secret=st.none() | _text,
)
_spec = st.builds(
    JobSpec,
    image=_text,
    command=st.lists(_text, max_size=2).map(tuple),
    args=st.lists(_text, max_size=2).map(tuple),
    env=st.dictionaries(_text, _text, max_size=2),
    secrets=st.lists(st.builds(Secret, env=_text, name=_text, key=_text), max_size=2).map(tuple),
    working_dir=st.none() | _text,
    resources=st.builds(Resources, cpu=st.none() | _text, memory=st.none() | _text, gpu=st.integers(0, 3)),
    labels=_label,
    annotations=_label,
    service_account=st.none() | _text,
    node_selector=_label,
    tolerations=st.lists(st.builds(Toleration, key=_text, value=_text), max_size=2).map(tuple),
    volumes=st.lists(_volume, max_size=3).map(tuple),
)


@given(_spec)
def test_s05_s07_nothing_beyond_the_allow_list_ever_appears(spec: JobSpec) -> None:
    """No spec, even one that no validation has seen, yields hostPath, hostNetwork, privileged, or any other field."""
    job = _rendered(spec)
    assert job.keys() == {"apiVersion", "kind", "metadata", "spec"}
    assert job["metadata"].keys() == {"name", "namespace", "labels", "annotations"}
    assert job["spec"].keys() == _JOB_KEYS
    template = job["spec"]["template"]
    assert template.keys() == {"metadata", "spec"}
    assert template["metadata"].keys() <= {"labels", "annotations"}
    pod = template["spec"]
    assert pod.keys() <= _POD_KEYS
    (container,) = pod["containers"]
    assert container.keys() <= _CONTAINER_KEYS
    assert container["name"] == "main"
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    for volume in pod.get("volumes", ()):
        assert volume.keys() <= _VOLUME_KEYS
        assert len(volume) == 2
    for mount in container.get("volumeMounts", ()):
        assert mount.keys() <= _MOUNT_KEYS
    for variable in container.get("env", ()):
        assert variable.keys() in ({"name", "value"}, {"name", "valueFrom"})


# --- `$` ---


def expand(text: bytes) -> bytes:
    """What Kubernetes makes of a command, an argument or a value: its algorithm, byte for byte.

    Source: third_party/forked/golang/expansion/expand.go, with a mapping that finds every name.
    """
    out, position = b"", 0
    while position < len(text):
        rest = text[position:]
        if not rest.startswith(b"$") or len(rest) == 1:
            out, position = out + rest[:1], position + 1
        elif rest[1:2] == b"$":
            out, position = out + b"$", position + 2
        elif rest[1:2] == b"(" and b")" in rest:
            out, position = out + b"<expanded>", position + rest.index(b")") + 1
        else:
            out, position = out + rest[:2], position + 2
    return out


@pytest.mark.parametrize(
    "text",
    ["", "plain", "$", "$$", "$$$", "$(HOME)", "$$(HOME)", "$(HOME", "$)", "a$", "$é", "echo $HOME ${X} $(date) $$"],
)
def test_text_with_dollars_arrives_unchanged(text: str) -> None:
    assert expand(manifest.literal(text).encode()) == text.encode()


def test_without_the_escape_it_would_not() -> None:
    assert expand(b"$(HOME) $$") == b"<expanded> $"


@given(st.text(alphabet=st.sampled_from("$()Aé{} "), max_size=30))
def test_any_text_arrives_unchanged(text: str) -> None:
    assert expand(manifest.literal(text).encode()) == text.encode()


def test_all_three_places_are_escaped_and_no_other() -> None:
    container = _rendered(FULL)["spec"]["template"]["spec"]["containers"][0]
    assert container["args"] == ["echo $$(date) $$$$ $$HOME"]
    assert {v["name"]: v.get("value") for v in container["env"]} == {
        "PRICE": "5$$",
        "NAME": "$$(OTHER)",
        "PASSWORD": None,
    }
    assert (
        _rendered(JobSpec(image="x", working_dir="/a$b"))["spec"]["template"]["spec"]["containers"][0]["workingDir"]
        == "/a$b"
    )


def test_the_trace_reaches_the_container_unless_the_spec_has_one_of_its_own() -> None:
    ours = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    def env(**fields: Any) -> list[dict[str, Any]]:
        container = _rendered(JobSpec(image="a", **fields), traceparent=ours)["spec"]["template"]["spec"]["containers"][
            0
        ]
        found: list[dict[str, Any]] = container["env"]
        return found

    assert env() == [{"name": "TRACEPARENT", "value": ours}]
    assert env(env={"A": "1"}) == [{"name": "TRACEPARENT", "value": ours}, {"name": "A", "value": "1"}]
    assert env(env={"TRACEPARENT": "mine"}) == [{"name": "TRACEPARENT", "value": "mine"}]
    [secret] = env(secrets=(Secret(env="TRACEPARENT", name="s", key="k"),))
    assert "valueFrom" in secret


def test_the_trace_is_no_part_of_the_work() -> None:
    spec = JobSpec(image="a")
    assert _job(spec, traceparent="x").work_hash == _job(spec).work_hash

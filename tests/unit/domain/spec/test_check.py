"""Rules of a job spec that span fields: every fault is reported at once."""

from __future__ import annotations

import pytest

from kube_job_runner.domain.limits import SpecLimits
from kube_job_runner.domain.spec import check
from kube_job_runner.domain.spec.changes import pointer
from kube_job_runner.domain.spec.field_types import EmptyDir, Secret, Toleration, Volume
from kube_job_runner.domain.spec.model import JobSpec, Resources, Retry, RetryRule

LIMITS = SpecLimits(namespaces=("default", "ml"))


def pointers(**fields: object) -> list[str]:
    spec = JobSpec(**({"image": "busybox:1"} | fields))  # type: ignore[arg-type]
    return [problem.pointer for problem in check.check(spec, LIMITS)]


def test_a_plain_spec_has_no_fault() -> None:
    assert pointers(command=("sh", "-c", "true"), env={"A": "b"}, labels={"team": "x"}, namespace="ml") == []


def test_all_faults_are_reported_at_once() -> None:
    found = pointers(
        image="BAD image",
        namespace="kube-system",
        args=("ok", "a\0b"),
        labels={"app.kubernetes.io/name": "x"},
        env={"TOKEN": "1"},
        secrets=(Secret(env="TOKEN", name="s", key="k"),),
        volumes=(Volume(name="v", mount_path="/d"),),
    )
    assert found == [
        "/image",
        "/namespace",
        "/args/1",
        "/labels/app.kubernetes.io~1name",
        "/secrets/0/env",
        "/volumes/0",
    ]


def test_quantities_that_nobody_can_mean() -> None:
    grown = RetryRule(action="grow_memory", reasons=("OutOfMemory",), max_memory="512m")
    found = pointers(
        resources=Resources(cpu="500Mi", memory="512m", ephemeral_storage="0"),
        volumes=(Volume(name="v", mount_path="/d", empty_dir=EmptyDir(size_limit="100m")),),
        retry=Retry(attempts=2, rules=(grown,)),
    )
    assert found == [
        "/resources/cpu",
        "/resources/memory",
        "/resources/ephemeral_storage",
        "/volumes/0/empty_dir/size_limit",
        "/retry/rules/0/max_memory",
    ]


@pytest.mark.parametrize(
    ("key", "reserved"),
    [
        ("team", False),
        ("example.com/team", False),
        ("kjr.test/run", False),
        ("kueue.x-k8s.io/queue-name", False),
        ("kubernetes.io/x", True),
        ("app.kubernetes.io/x", True),
        ("k8s.io/x", True),
        ("x-k8s.io/y", False),
        ("kube-job-runner.io/job-id", True),
        ("a.kube-job-runner.io/x", True),
        ("notkubernetes.io/x", False),
    ],
)
def test_the_domains_of_kubernetes_and_ours_are_reserved(key: str, reserved: bool) -> None:
    assert check.reserved_label(key) is reserved


def test_limits_of_linux_and_of_the_whole_spec() -> None:
    assert pointers(args=("x" * 131_071,)) == []
    assert pointers(args=("ü" * 65_536,)) == ["/args/0"]
    assert pointers(env={"A": "ü" * 65_535}) == ["/env/A"]
    assert pointers(args=("x" * 131_000,) * 3) == [""]


def test_volumes() -> None:
    empty = EmptyDir()
    good = Volume(name="a", mount_path="/a", empty_dir=empty)
    assert pointers(volumes=(good,)) == []
    assert pointers(volumes=(good, good)) == ["/volumes/1/name", "/volumes/1/mount_path"]
    both = Volume(name="a", mount_path="/a", empty_dir=empty, secret="s")
    assert pointers(volumes=(both,)) == ["/volumes/0"]
    for path in ("/abs", "a/../b", ".."):
        assert pointers(volumes=(Volume(name="a", mount_path="/a", secret="s", sub_path=path),)) == [
            "/volumes/0/sub_path"
        ]


def test_tolerations() -> None:
    assert pointers(tolerations=(Toleration(operator="Exists"),)) == []
    assert pointers(tolerations=(Toleration(),)) == ["/tolerations/0/operator"]
    assert pointers(tolerations=(Toleration(key="k", operator="Exists", value="v"),)) == ["/tolerations/0/value"]
    assert pointers(tolerations=(Toleration(key="k", toleration_seconds=3),)) == ["/tolerations/0/toleration_seconds"]


@pytest.mark.parametrize(
    "label",
    [
        *("job-name", "controller-uid", "batch.kubernetes.io/job-name", "batch.kubernetes.io/controller-uid"),
        *("kube-job-runner.io/job-id", "app.kubernetes.io/managed-by", "kube-job-runner.io/instance"),
    ],
)
def test_labels_that_belong_to_kubernetes_or_to_us_are_refused(label: str) -> None:
    """The API server would refuse the Job, or we would not see it."""
    assert pointers(labels={label: "mine"}) == [pointer("labels", label)]


def test_annotations_of_these_names_are_harmless() -> None:
    assert pointers(annotations={"job-name": "mine"}) == []

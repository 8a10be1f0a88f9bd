"""The job spec: what is accepted, and every fault of what is not, at once."""

from __future__ import annotations

import msgspec
import pytest

from kube_job_runner.domain.spec import check, image
from kube_job_runner.domain.spec.model import EmptyDir, JobSpec, Secret, Toleration, Volume

LIMITS = check.SpecLimits(namespaces=frozenset({"default", "ml"}))


def pointers(**fields: object) -> list[str]:
    spec = JobSpec(**({"image": "busybox:1"} | fields))  # type: ignore[arg-type]
    return [problem.pointer for problem in check.check(spec, LIMITS)]


@pytest.mark.parametrize(
    "reference",
    [
        "busybox",
        "busybox:1",
        "library/busybox",
        "registry.example.com/a/b:tag",
        "localhost:5000/a",
        "[::1]:5000/a:1",
        "a@sha256:" + "0" * 64,
        "r.io/a:1@sha256:" + "f" * 64,
        "a/b__c/d-e.f",
        "EXAMPLE.com/a",
        "a--b",
    ],
)
def test_image_references_of_the_distribution_grammar_are_accepted(reference: str) -> None:
    assert image.fault(reference) is None


@pytest.mark.parametrize(
    "reference",
    [
        "",
        " busybox",
        "busy box",
        "https://r.io/a",
        "UPPER/x",
        "a/UPPER",
        "a:",
        "a@",
        "a:b:c/d:e:f",
        "-a",
        "a-",
        "a/",
        "/a",
        "a//b",
        "a:-tag",
        "a:" + "t" * 129,
        "a@sha256:abc",
        "0" * 64,
        "r.io/" + "a" * 256,
        "a\n",
        "a\tb",
        "ü",
        "a?b",
    ],
)
def test_what_is_not_an_image_reference_is_refused(reference: str) -> None:
    assert image.fault(reference)


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
    "body",
    [
        '{"image":"a","name":"x\\n"}',
        '{"image":"a","name":"X"}',
        '{"image":"a","priority":101}',
        '{"image":""}',
        "{}",
        '{"image":"a","env":{"1A":"x"}}',
        '{"image":"a","labels":{"a/b/c":"x"}}',
        '{"image":"a","labels":{"a":"-"}}',
        '{"image":"a","resources":{"cpu":"1 core"}}',
        '{"image":"a","resources":{"memory":"-1Gi"}}',
        '{"image":"a","privileged":true}',
        '{"image":"a","timeouts":{"run_seconds":0}}',
        '{"image":"a","retry":{"attempts":21}}',
        '{"image":"a","volumes":[{"name":"v","mount_path":"relative"}]}',
        '{"image":"a","volumes":[{"name":"v","mount_path":"/d","host_path":"/"}]}',
    ],
)
def test_what_the_types_refuse(body: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=JobSpec)

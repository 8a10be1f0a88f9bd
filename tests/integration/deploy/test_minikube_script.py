"""`make deploy-local` and `make undeploy-local`: their calls to tools, the cluster they touch, and their errors."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.dockerfile import ROOT
from tests.support.shims import Shims

PROGRAMS = ("minikube", "kubectl", "helm", "docker")


@pytest.fixture
def tools(tmp_path: Path) -> Shims:
    """A minikube that runs, and the tools that go with it."""
    made = Shims(tmp_path, *PROGRAMS)
    made.answer("minikube --profile minikube docker-env", "echo 'export DOCKER_HOST=tcp://192.0.2.1:2376'")
    made.answer("docker image inspect", "echo sha256:0123456789abcdef0123456789abcdef")
    return made


def make(tools: Shims, target: str, **variables: str) -> tuple[int, str, str]:
    """Run a target of the Makefile."""
    done = tools.run("make", "--no-print-directory", "-C", ROOT, target, **variables)
    return done.returncode, done.stdout, done.stderr


def test_deploy_builds_in_the_clusters_engine_and_installs_that_very_build(tools: Shims) -> None:
    code, out, err = make(tools, "deploy-local", SHIM_ENV="DOCKER_HOST")
    assert code == 0, err
    steps = [call for call in tools.calls if not call.startswith(" ")]
    assert steps[1:3] == [
        "kubectl --context minikube apply -k deploy/minikube",
        "minikube --profile minikube docker-env --shell sh",
    ]
    builds = [call for call in tools.calls if call.startswith("docker build ")]
    assert [build.split()[-1] for build in builds] == [".", "examples/sample-job"]
    for build in builds:
        after = tools.calls[tools.calls.index(build) + 1]
        assert after == "  with DOCKER_HOST=tcp://192.0.2.1:2376", "it is built where the cluster finds it"
    tag = "local-0123456789ab"
    assert f"docker tag kube-job-runner:local kube-job-runner:{tag}" in steps
    helm = steps[-1]
    assert helm.startswith(
        "helm --kube-context minikube upgrade --install kube-job-runner deploy/helm/kube-job-runner "
    )
    assert f"--values deploy/minikube/values.yaml --set-string image.tag={tag} --wait" in helm
    assert "export KJR_SERVER=" in out


def test_undeploy_removes_what_deploy_made(tools: Shims) -> None:
    code, _, err = make(tools, "undeploy-local")
    assert code == 0, err
    assert tools.calls[1:] == [
        "helm --kube-context minikube uninstall kube-job-runner --namespace kube-job-runner --ignore-not-found --wait",
        "kubectl --context minikube delete -k deploy/minikube --ignore-not-found --wait",
    ]


@pytest.mark.parametrize("target", ["deploy-local", "undeploy-local"])
def test_no_other_cluster_than_the_profiles_is_touched(tools: Shims, target: str) -> None:
    tools.answer("minikube --profile mine docker-env", "echo 'export DOCKER_HOST=tcp://192.0.2.1:2376'")
    assert make(tools, target, MINIKUBE_PROFILE="mine")[0] == 0
    for call in tools.calls:
        program, *words = call.split()
        flag = {"kubectl": "--context", "helm": "--kube-context", "minikube": "--profile"}.get(program)
        assert flag is None or words[:2] == [flag, "mine"]


@pytest.mark.parametrize("target", ["deploy-local", "undeploy-local"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_tool_that_is_missing_is_named_before_anything_happens(tools: Shims, target: str, program: str) -> None:
    (tools.folder / "bin" / program).unlink()
    code, _, err = make(tools, target)
    if (target, program) == ("undeploy-local", "docker"):
        assert code == 0, "nothing is built"
        return
    assert code != 0
    assert f"{program} is not installed" in err
    assert "https://" in err
    assert not [call for call in tools.calls if call.startswith(("kubectl", "helm"))]


def test_a_cluster_that_does_not_run_is_said_with_the_command_that_starts_it(tools: Shims) -> None:
    tools.answer("minikube --profile minikube status", "exit 7")
    code, _, err = make(tools, "deploy-local")
    assert code != 0
    assert "minikube --profile minikube start" in err


@pytest.mark.parametrize(
    "call", ["kubectl --context minikube apply", "minikube --profile minikube docker-env", "docker build", "docker tag"]
)
def test_a_step_that_fails_ends_it(tools: Shims, call: str) -> None:
    tools.answer(call, "exit 1")
    code, out, _ = make(tools, "deploy-local")
    assert code != 0
    assert "runs in minikube" not in out
    assert not [step for step in tools.calls if step.startswith("helm")]


def test_its_paths_are_there() -> None:
    script = (ROOT / "deploy" / "minikube" / "local.sh").read_text()
    for path in ("deploy/minikube", "examples/sample-job", "deploy/docker/build.sh", "deploy/minikube/values.yaml"):
        assert path in script
        assert (ROOT / path).exists()
    assert shutil.which("sh")

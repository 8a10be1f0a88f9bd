"""`make docker` and `make docker-publish`: the calls to an engine, and the errors where there is none."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import kube_job_runner
from tests.support import dockerfile
from tests.support.dockerfile import ROOT
from tests.support.shims import Shims

DIGEST = "sha256:" + "ab" * 32
IMAGE = "registry.example.com/team/kube-job-runner"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A clean checkout that holds what the script reads."""
    made = tmp_path / "checkout"
    (made / "deploy" / "docker").mkdir(parents=True)
    (made / "kube_job_runner").mkdir()
    for name in ("Dockerfile", "deploy/docker/build.sh", "kube_job_runner/__init__.py", "Makefile"):
        shutil.copy2(ROOT / name, made / name)
    git = ["git", "-C", str(made), "-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "all"], check=True)
    return made


@pytest.fixture
def engine(tmp_path: Path) -> Shims:
    """An engine that does all it is asked for."""
    (tmp_path / "shims").mkdir()
    made = Shims(tmp_path / "shims", "docker")
    made.answer("docker buildx imagetools", f"echo {DIGEST}")
    return made


def arguments(call: str) -> dict[str, str]:
    """The build arguments of a call."""
    return dict(pair.split("=", 1) for pair in re.findall(r"--build-arg (\S+)", call))


def test_docker_builds_for_this_machine_with_labels_of_the_commit(engine: Shims, checkout: Path) -> None:
    done = engine.run("make", "-C", checkout, "docker", "IMAGE=a/b", "TAG=c", SHIM_ENV="DOCKER_BUILDKIT")
    assert done.returncode == 0, done.stderr
    build = engine.calls[-2]
    assert build.startswith("docker build ")
    assert build.endswith("--tag a/b:c .")
    assert engine.calls[-1] == "  with DOCKER_BUILDKIT=1"
    given = arguments(build)
    head = subprocess.run(["git", "-C", checkout, "rev-parse", "HEAD"], capture_output=True, text=True)
    assert given["REVISION"] == head.stdout.strip()
    assert given["VERSION"] == kube_job_runner.__version__
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\S+", given["CREATED"])
    read = dockerfile.read(ROOT / "Dockerfile")
    declared = {rest.partition("=")[0] for rest in read.stages[-1].of("ARG")} | set(read.arguments)
    assert set(given) <= declared, "an argument that the Dockerfile does not know changes nothing"


def test_a_build_of_uncommitted_changes_says_so_in_its_label(engine: Shims, checkout: Path) -> None:
    (checkout / "new").write_text("")
    assert engine.run(checkout / "deploy/docker/build.sh", "local", "a", "b").returncode == 0
    assert arguments(engine.calls[-1])["REVISION"].endswith("-dirty")


def test_publish_pins_the_base_and_adds_sbom_and_provenance(engine: Shims, checkout: Path) -> None:
    done = engine.run("make", "-C", checkout, "docker-publish", f"IMAGE={IMAGE}", "TAG=1", "PLATFORMS=linux/arm64")
    assert done.returncode == 0, done.stderr
    build = engine.calls[-1]
    assert build.startswith("docker buildx build --platform linux/arm64 --sbom=true --provenance=mode=max --push ")
    assert build.endswith(f"--tag {IMAGE}:1 .")
    given = arguments(build)
    base = dockerfile.read(ROOT / "Dockerfile").arguments["BASE_IMAGE"]
    assert (given["BASE_IMAGE"], given["BASE_DIGEST"]) == (f"{base}@{DIGEST}", DIGEST)


def test_a_base_that_is_pinned_already_is_left_as_it_is(engine: Shims, checkout: Path) -> None:
    pinned = f"mirror.example.com/python:3.13@{DIGEST}"
    done = engine.run(checkout / "deploy/docker/build.sh", "publish", IMAGE, "1", "linux/amd64", BASE_IMAGE=pinned)
    assert done.returncode == 0, done.stderr
    assert arguments(engine.calls[-1])["BASE_IMAGE"] == pinned
    assert not [call for call in engine.calls if "imagetools" in call]


def test_publish_takes_both_platforms_unless_told_otherwise(engine: Shims, checkout: Path) -> None:
    assert engine.run("make", "-C", checkout, "docker-publish", f"IMAGE={IMAGE}").returncode == 0
    assert "--platform linux/amd64,linux/arm64 " in engine.calls[-1]
    assert f"{IMAGE}:{kube_job_runner.__version__} " in engine.calls[-1]


@pytest.mark.parametrize(
    ("image", "change", "answer", "words"),
    [
        ("kube-job-runner", "", "", "IMAGE=kube-job-runner names no registry"),
        (IMAGE, "new", "", "the checkout has changes that no commit holds"),
        (IMAGE, "", "docker buildx version", "docker has no buildx"),
        (IMAGE, "", "docker buildx imagetools", ""),
        (IMAGE, "", "docker buildx build", ""),
    ],
)
def test_what_cannot_be_published_ends_with_an_error(
    engine: Shims, checkout: Path, image: str, change: str, answer: str, words: str
) -> None:
    if change:
        (checkout / change).write_text("")
    if answer:
        engine.answer(answer, "exit 1")
    done = engine.run("make", "-C", checkout, "docker-publish", f"IMAGE={image}")
    assert done.returncode != 0
    assert words in done.stderr
    assert "kjr: published" not in done.stdout
    assert not [call for call in engine.calls if "--push" in call] or answer == "docker buildx build"


def test_without_an_engine_it_says_what_to_do(engine: Shims, checkout: Path, tmp_path: Path) -> None:
    engine.answer("docker version", "echo 'is the daemon running?' >&2; exit 1")
    done = engine.run("make", "-C", checkout, "docker")
    assert done.returncode != 0
    assert "docker is installed, and no engine answers it" in done.stderr
    assert "is the daemon running?" in done.stderr
    assert engine.calls == ["docker version"]
    done = engine.run("make", "-C", checkout, "docker", DOCKER="podman")
    assert done.returncode != 0
    assert "podman is not installed" in done.stderr

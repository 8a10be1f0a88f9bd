"""What the Dockerfiles and the build context must fulfil beyond a successful build."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import dockerfile
from tests.support.dockerfile import ROOT

READ = dockerfile.read(ROOT / "Dockerfile")
FINAL = READ.stages[-1]
BUILD = READ.stage("build")
FILES = [ROOT / "Dockerfile", ROOT / "examples" / "sample-job" / "Dockerfile"]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_hadolint_has_nothing_to_say(file: Path) -> None:
    done = subprocess.run([BIN / "hadolint", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_it_runs_as_a_numeric_user_who_is_not_root(file: Path) -> None:
    """runAsNonRoot cannot tell what a name means, and refuses it."""
    user = dockerfile.read(file).stages[-1].of("USER")[-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_its_entry_point_is_no_shell_which_would_keep_signals_from_the_program(file: Path) -> None:
    final = dockerfile.read(file).stages[-1]
    [entry] = [instruction for instruction in final.instructions if instruction.word == "ENTRYPOINT"]
    assert len(entry.json) == 1
    assert "sh" not in entry.json


def test_nothing_runs_or_is_copied_as_root_after_the_user_is_set() -> None:
    words = [instruction.word for instruction in FINAL.instructions]
    assert not {"RUN", "COPY", "ADD"} & set(words[words.index("USER") :])


def test_bases_are_pinned_by_arguments_that_a_release_replaces_by_digests() -> None:
    assert [stage.base for stage in READ.stages] == ["${UV_IMAGE}", "${BASE_IMAGE}", "${BASE_IMAGE}"]
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+-slim-[a-z]+", READ.arguments["BASE_IMAGE"])
    makefile = (ROOT / "Makefile").read_text()
    pinned = re.search(r"^UV_VERSION := (.+)$", makefile, re.MULTILINE)
    assert pinned is not None
    assert READ.arguments["UV_IMAGE"] == f"ghcr.io/astral-sh/uv:{pinned[1]}", "the Makefile and the image build alike"


def test_no_argument_or_variable_is_a_place_for_a_secret() -> None:
    names = {rest.partition("=")[0] for stage in READ.stages for rest in stage.of("ARG")} | set(READ.arguments)
    variables = set(FINAL.environment()) | set(BUILD.environment())
    assert not [name for name in names | variables if re.search(r"TOKEN|PASS|SECRET|KEY|CREDENTIAL|URL", name)]


def test_its_labels_say_what_it_is_and_of_which_commit() -> None:
    [labels] = FINAL.of("LABEL")
    names = set(re.findall(r"org\.opencontainers\.image\.([a-z.]+)=", labels))
    expected = {
        "title",
        "description",
        "licenses",
        "version",
        "revision",
        "created",
        "source",
        "base.name",
        "base.digest",
    }
    assert names == expected
    declared = {rest.partition("=")[0] for rest in FINAL.of("ARG")}
    assert set(re.findall(r"\$\{(\w+)\}", labels)) <= declared, "an undeclared argument would be empty without a word"


def test_the_final_stage_takes_the_environment_and_nothing_else_of_the_build() -> None:
    assert FINAL.of("COPY") == ["--from=build /opt/kjr /opt/kjr"]
    environment = FINAL.environment()
    assert environment["PATH"].startswith("/opt/kjr/bin:")
    assert environment["KJR_HOST"] == "0.0.0.0"
    exposed = " ".join(FINAL.of("EXPOSE")).split()
    assert exposed == [environment["KJR_PORT"], environment["KJR_METRICS_PORT"]]


def test_its_variables_are_settings_that_there_are() -> None:
    from kube_job_runner.settings import load, unknown_variables

    environment = {name: value for name, value in FINAL.environment().items() if name.startswith("KJR_")}
    assert unknown_variables(environment) == []
    assert load(environ=environment).process.metrics_port == int(environment["KJR_METRICS_PORT"])


HIDDEN = """
.git/config .venv/bin/python .env .kjr/up/connection.json tests/conftest.py requirements/dev.txt docs/testbed.md id_rsa
kube_job_runner/__pycache__/a.pyc kube_job_runner/cli/__pycache__/main.cpython-311.pyc deploy/minikube/postgresql.yaml
kubeconfig dist/a.whl uv.lock
"""
NEEDED = """
kube_job_runner/__init__.py kube_job_runner/adapters/postgres/migrations/0001_initial.sql pyproject.toml README.md
deploy/docker/install.sh requirements/runtime.txt requirements/build.txt LICENSE
"""


@pytest.mark.parametrize("path", HIDDEN.split())
def test_what_must_not_go_to_the_builder_does_not(path: str) -> None:
    assert dockerfile.ignored(path, dockerfile.rules())


@pytest.mark.parametrize("path", NEEDED.split())
def test_what_the_build_needs_goes_to_it(path: str) -> None:
    assert (ROOT / path).exists()
    assert not dockerfile.ignored(path, dockerfile.rules())


@pytest.mark.parametrize("platform", ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"])
def test_every_requirement_has_a_wheel_for_the_images_python(platform: str, tmp_path: Path) -> None:
    """A slim base has no compiler: what has no wheel there would break the build of that platform."""
    python = re.search(r"python:(3\.\d+)-", READ.arguments["BASE_IMAGE"])
    assert python is not None
    uv = Path(sys.executable).parent / "uv"
    command = [str(uv) if uv.exists() else "uv", "pip", "install", "--dry-run", "--no-deps", "--require-hashes"]
    command += ["--python-version", python[1], "--python-platform", platform, "--only-binary", ":all:"]
    command += ["--target", str(tmp_path), "-r", str(ROOT / "requirements" / "runtime.txt")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    assert "+ asyncpg==" in done.stderr

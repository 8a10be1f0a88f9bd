"""The sample job: its program follows its arguments, and the product accepts and runs its specs."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kube_job_runner.cli import specfile
from tests.integration.cli.conftest import Server
from tests.support import dockerfile
from tests.support.dockerfile import ROOT

FOLDER = ROOT / "examples" / "sample-job"
PROGRAM = FOLDER / "sample-job"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=30)


def test_it_prints_its_steps_and_ends_as_it_is_told() -> None:
    done = run("--steps", "2", "--sleep", "0", "--exit", "3")
    assert done.returncode == 3
    assert done.stdout.splitlines()[1:] == ["sample-job: step 1 of 2", "sample-job: step 2 of 2"]
    assert "failed, because --exit says so" in done.stderr
    assert run("--steps", "0").returncode == 0


def test_it_holds_as_much_memory_as_it_is_told() -> None:
    assert "holds 2097152 bytes" in run("--steps", "0", "--memory", "2").stdout


@pytest.mark.parametrize("arguments", [["--steps"], ["--steps", "many"], ["--exit", "-1"], ["--what", "1"]])
def test_a_wrong_argument_is_named(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert arguments[0] in done.stderr
    assert "usage:" in done.stderr


def test_it_ends_at_once_when_it_is_told_to_stop() -> None:
    with subprocess.Popen([PROGRAM, "--sleep", "60"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as job:
        assert job.stdout is not None
        assert job.stderr is not None
        while "step 1" not in job.stdout.readline():
            pass
        job.send_signal(signal.SIGTERM)
        assert job.wait(timeout=10) == 143
        assert "stopped by a signal after step 1" in job.stderr.read()


def test_the_specs_run_the_program_of_the_image() -> None:
    specs = [spec for name in ("job.yaml", "failing.yaml") for spec in specfile.load(str(FOLDER / name))]
    assert {spec["image"] for spec in specs} == {"sample-job:local"}
    final = dockerfile.read(FOLDER / "Dockerfile").stages[-1]
    [copied] = final.of("COPY")
    assert copied.split()[1:] == ["sample-job", "/usr/local/bin/sample-job"]
    programs = {spec["command"][0] for spec in specs}
    assert programs == {"sample-job", "no-such-program"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`kjr up`, whose jobs find the program as those of the image do: on their PATH."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{FOLDER}{os.pathsep}{os.environ['PATH']}")
        made = Server(tmp_path_factory.mktemp("sample"))
    yield made
    made.stop()


def test_the_jobs_end_as_the_tutorial_says(server: Server) -> None:
    def submit(name: str, *more: str) -> Any:
        return server("submit", "-f", str(FOLDER / name), *more, "--wait", "-o", "json")

    good = submit("job.yaml", "--set", 'command[4]="0"')
    assert (good.code, good.json["state"]) == (0, "succeeded")
    assert "step 3 of 3" in server("logs", good.json["id"]).out
    bad = submit("failing.yaml")
    assert bad.code == 1
    reasons = {job["name"]: (job["reason"], job["attempt"]) for job in bad.json}
    assert reasons == {
        "sample-exits": ("ApplicationExit", 2),
        "sample-slow": ("RunTimeout", 1),
        "sample-missing": ("CommandNotFound", 1),
    }


def test_the_tutorial_shows_the_file_as_it_is() -> None:
    page = (ROOT / "docs" / "tutorial" / "first-job.md").read_text()
    shown = page.partition("```yaml\n")[2].partition("```")[0]
    assert (FOLDER / "job.yaml").read_text().endswith(shown)
    assert shown.startswith("apiVersion")


def test_nothing_but_the_program_goes_to_the_builder() -> None:
    rules = (FOLDER / ".dockerignore").read_text().split()
    assert not dockerfile.ignored("sample-job", rules)
    assert dockerfile.ignored("job.yaml", rules)
    assert Path(PROGRAM).stat().st_mode & 0o111

"""The content of the image at work: every component runs from a read-only tree, as an unprivileged user.

There is no container engine: the Dockerfile's steps fill a folder, and the kernel isolates the programs as an engine would.
"""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.integration.image.conftest import Surroundings
from tests.support.bareimage import USER, BareImage
from tests.support.product import COMPONENTS, free_port, wait_until


class Running:
    """A component of the image as a process, and the ports it listens on."""

    def __init__(self, image: BareImage, name: str, log: Path, variables: dict[str, str]) -> None:
        self.name = name
        self.log = log
        self.ports = {"KJR_PORT": str(free_port()), "KJR_METRICS_PORT": str(free_port())}
        self.url = f"http://127.0.0.1:{self.ports['KJR_PORT' if name == 'web-server' else 'KJR_METRICS_PORT']}"
        with log.open("wb") as output:
            self.process = image.start("kjr", "serve", name, output=output, variables=variables | self.ports)

    def get(self, path: str) -> tuple[int, str]:
        """Ask for a path until there is an answer."""

        def answer() -> httpx2.Response | None:
            assert self.process.poll() is None, f"{self.name} ended:\n{self.log.read_text()[-3000:]}"
            try:
                return httpx2.get(self.url + path)
            except httpx2.TransportError:
                return None

        found = wait_until(answer, what=f"{self.name} answers {path}", timeout_seconds=60)
        return found.status_code, found.text

    def ready(self) -> bool:
        """Whether it is ready."""
        return self.get("/readyz")[0] == 200


@pytest.fixture
def components(image: BareImage, surroundings: Surroundings) -> Iterator[dict[str, Running]]:
    """All components at once, each a process of its own, on a schema that `kjr migrate` of the image has made."""
    variables = {
        "KJR_DATABASE_URL": surroundings.database_url,
        "KJR_KUBECONFIG": f"{image.config}/kubeconfig",
        "KJR_HOST": "127.0.0.1",
        "KJR_AUTH": "none",
    }
    migrated = image.run("kjr", "migrate", variables=variables)
    assert migrated.returncode == 0, migrated.stderr
    assert "0001_initial" in migrated.stdout.splitlines(), "the migrations are in the image, and were applied"
    with tempfile.TemporaryDirectory() as logs:
        started = {name: Running(image, name, Path(logs) / name, variables) for name in COMPONENTS}
        try:
            yield started
        finally:
            for running in started.values():
                if running.process.poll() is None:
                    running.process.kill()
                running.process.wait(timeout=30)


def test_every_component_runs_from_the_image(
    image: BareImage, components: dict[str, Running], surroundings: Surroundings
) -> None:
    before = image.snapshot()
    for running in components.values():
        assert running.get("/livez")[0] == 200
        wait_until(running.ready, what=f"{running.name} is ready", timeout_seconds=60)
    job = httpx2.post(components["web-server"].url + "/v1/jobs", json={"image": "example.com/a:1", "command": ["a"]})
    assert job.status_code == 201, job.text
    wait_until(lambda: surroundings.cluster.of("create"), what="the job reaches the cluster")
    assert surroundings.cluster.of("create")[0].json["spec"]["template"]["spec"]["containers"][0]["command"] == ["a"]

    for name, running in components.items():
        asked = image.run("kjr", "health", name, variables=running.ports)
        assert (asked.returncode, asked.stderr) == (0, ""), f"{name}: {asked}"
        assert "[+]database ok" in asked.stdout or name == "web-server"
    for running in components.values():
        running.process.send_signal(signal.SIGTERM)
    for name, running in components.items():
        assert running.process.wait(timeout=30) == 0, f"{name}:\n{running.log.read_text()[-3000:]}"
        lines = [json.loads(line) for line in running.log.read_text().splitlines()]
        assert not [line for line in lines if line["level"] in ("error", "critical")], f"{name} logs JSON, and no error"
    assert image.snapshot() == before, "nothing was written"


def test_kjr_up_of_the_image_needs_its_state_folder_and_nothing_else(image: BareImage) -> None:
    before = image.snapshot()
    port = str(free_port())
    variables = {"KJR_PORT": port, "KJR_HOST": "127.0.0.1"}
    with tempfile.TemporaryFile() as output:
        server = image.start("kjr", "up", output=output, state=True, variables=variables)
        try:
            wait_until(
                lambda: _answers(f"http://127.0.0.1:{port}/readyz"), what="the server is ready", timeout_seconds=60
            )
            assert image.run("kjr", "health", variables=variables).returncode == 0
            job = ("run", "--quiet", "busybox", "--", "sh", "-c", "id -u; exit 3")
            done = image.run("kjr", *job, state=True, variables=variables)
        finally:
            server.send_signal(signal.SIGTERM)
            code = server.wait(timeout=30)
    assert done.returncode == 3, done.stderr
    assert code == 0
    if image.confined:
        assert done.stdout == f"{USER}\n"
    assert image.snapshot() == before


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url).status_code == 200
    except httpx2.TransportError:
        return False


def test_nothing_of_the_image_can_be_written(image: BareImage) -> None:
    for place in (image.prefix, "/", "/nonexistent", "/etc") if image.confined else ():
        tried = image.run("python", "-c", f"open({place + '/x'!r}, 'w')")
        assert tried.returncode == 1, place
        assert "Read-only file system" in tried.stderr or "No such file" in tried.stderr
    modes = [path.stat().st_mode for path in image.tree.rglob("*") if not path.is_symlink()]
    assert not [mode for mode in modes if mode & 0o222]


def test_the_image_holds_the_runtime_requirements_and_nothing_else(image: BareImage) -> None:
    listed = image.run(
        "python", "-c", "import importlib.metadata as m; print(*sorted(d.name.lower() for d in m.distributions()))"
    )
    names = set(listed.stdout.split())
    assert {"kube-job-runner", "obstore", "asyncpg"} <= names
    assert names & {"pytest", "mypy", "hatchling", "moto", "pip", "ruff"} == set()
    imported = image.run("python", "-c", "import kube_job_runner.adapters.object_store, obstore.store")
    assert imported.returncode == 0, imported.stderr


def test_all_of_it_is_compiled_so_that_a_start_writes_nothing_and_is_quick(image: BareImage) -> None:
    sources = list(image.tree.rglob("kube_job_runner/**/*.py"))
    compiled = {path.name.partition(".")[0] for path in image.tree.rglob("kube_job_runner/**/*.pyc")}
    assert len(sources) > 100
    assert {path.stem for path in sources} <= compiled
    scripts = subprocess.run(["head", "-n1", str(image.tree / "bin" / "kjr")], capture_output=True, text=True)
    assert scripts.stdout.strip() == f"#!{image.prefix}/bin/python"

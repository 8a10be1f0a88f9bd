"""The whole product as users run it: each component is a process with its own identity in Kubernetes.

Tests start it against a real PostgreSQL and a cluster, talk to it over HTTP, and may kill any part of it at any time.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2

from kube_job_runner.bootstrap.components import ROWS
from tests.support.postgres import component_urls, in_other_loop

COMPONENTS = tuple(row.name for row in ROWS if not row.relays)
"""The components of an installation with its queue in PostgreSQL."""
RELAY = "outbox-relay"
WATCHING = tuple(name for name in COMPONENTS if name != "web-server")
TERMINAL = {"succeeded", "failed", "cancelled"}
_MAIN = "from kube_job_runner.cli.main import main; main()"
_MAIN_AHEAD = """
import datetime
from kube_job_runner.bootstrap.builders import SystemClock
real = SystemClock.now
SystemClock.now = lambda self: real(self) + datetime.timedelta(seconds={seconds})
"""


def wait_until(check: Callable[[], Any], *, what: str, timeout_seconds: float = 60, pause_seconds: float = 0.05) -> Any:
    """Return the first true answer of `check`; fail the test when there is none in time."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        answer = check()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {timeout_seconds} s: {what}"
        time.sleep(pause_seconds)


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Product:
    """The components as processes, each with its own database user, which has the rights of its role and no more.

    `database_url` is the owner's. `kubeconfigs` holds a kubeconfig for each component.
    """

    def __init__(
        self,
        *,
        database_url: str,
        namespace: str,
        kubeconfigs: Mapping[str, Path] | None = None,
        instance: str = "tests",
        **environment: Any,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kjr-product-"))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.namespace = namespace
        self.instance = instance
        self.database_url = database_url
        self._database_urls = in_other_loop(component_urls(database_url))
        with_relay = str(environment.get("queue", "postgres")) != "postgres"
        self.components = (*COMPONENTS, RELAY) if with_relay else COMPONENTS
        self._kubeconfigs = dict(kubeconfigs or {})
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("KJR_") or key == "KJR_CACHE_DIR"},
            "KJR_DATA_DIR": str(self.folder),
            "KJR_INSTANCE": instance,
            "KJR_NAMESPACES": namespace,
            "KJR_PORT": str(self.port),
            "KJR_AUTH": "none",
            "KJR_LOG_FORMAT": "json",
            **{f"KJR_{name.upper()}": str(value) for name, value in environment.items()},
        }
        self.http = httpx2.Client(base_url=self.url, timeout=90, limits=httpx2.Limits(max_connections=64))

    def __enter__(self) -> Product:
        try:
            self.start_all()
        except BaseException:
            self.stop_all()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop_all()
        self.http.close()

    def start_all(self) -> None:
        """Start every component and wait until requests are served."""
        for name in self.components:
            self.start(name)
        self.wait_ready()

    def start(self, name: str, *, replica: str = "", clock_ahead_seconds: float = 0, **environment: Any) -> None:
        """Start a component (or another replica of it); its output goes to a file in the product's folder."""
        clock = _MAIN_AHEAD.format(seconds=clock_ahead_seconds) if clock_ahead_seconds else ""
        extra = {f"KJR_{key.upper()}": str(value) for key, value in environment.items()}
        extra.setdefault("KJR_DATABASE_URL", self._database_urls[name])
        kubeconfig = self._kubeconfigs.get(name)
        if kubeconfig is not None:
            extra["KJR_KUBECONFIG"] = str(kubeconfig)
        with self.log_file(name + replica).open("ab") as output:
            self._processes[name + replica] = subprocess.Popen(
                [sys.executable, "-c", clock + _MAIN, "serve", name],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**self._environment, **extra},
                start_new_session=True,
            )

    def log_file(self, name: str) -> Path:
        """Return where a component's output goes."""
        return self.folder / f"{name}.log"

    def wait_ready(self, *, timeout_seconds: float = 60) -> None:
        """Wait until the web server is ready."""

        def ready() -> bool:
            process = self._processes["web-server"]
            assert process.poll() is None, f"web-server ended:\n{self.log_file('web-server').read_text()[-3000:]}"
            try:
                return self.http.get("/readyz").status_code == 200
            except httpx2.TransportError:
                return False

        wait_until(ready, what="the web server is ready", timeout_seconds=timeout_seconds)

    def probe(self, name: str, path: str) -> str:
        """Return what the probe server of a component answers, started with `KJR_METRICS_PORT=0`; "" when it does not."""
        found = re.findall(r'"port": (\d+), "event": "probes are served"', self.log_file(name).read_text())
        try:
            return httpx2.get(f"http://127.0.0.1:{found[-1]}{path}", timeout=10).text if found else ""
        except httpx2.TransportError:
            return ""

    def metric(self, name: str, metric: str) -> float:
        """Return the sum of a metric of a component, whatever its labels."""
        lines = self.probe(name, "/metrics").splitlines()
        return sum(float(line.split()[-1]) for line in lines if re.match(rf"{metric}[{{ ]", line))

    def pid(self, name: str) -> int:
        """Return the process id of a component."""
        return self._processes[name].pid

    def alive(self, name: str) -> bool:
        """Return whether a component's process runs."""
        return self._processes[name].poll() is None

    def send_signal(self, name: str, number: int) -> None:
        """Send a signal to a component, SIGSTOP for example."""
        self._processes[name].send_signal(number)

    def kill(self, name: str, *, number: int = signal.SIGKILL, timeout_seconds: float = 60) -> int:
        """Send a signal that ends a component, wait for its end, and return its exit code."""
        process = self._processes[name]
        if process.poll() is None:
            process.send_signal(number)
        return process.wait(timeout=timeout_seconds)

    def stop_all(self) -> dict[str, int]:
        """Stop what runs, gently first; return the exit codes."""
        for process in self._processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.send_signal(signal.SIGTERM)
        codes = {}
        for name, process in self._processes.items():
            try:
                codes[name] = process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                codes[name] = process.wait(timeout=30)
        return codes

    # --- Talking to it -------------------------------------------------------------------------------------------------

    def submit(
        self,
        *,
        key: str | None = None,
        traceparent: str | None = None,
        annotations: Mapping[str, str] | None = None,
        **spec: Any,
    ) -> str:
        """Submit a job and return its id. The simulated nodes follow its `kjr.test/` annotations."""
        body = {"image": "registry.example.com/tool:1", "command": ["run"], "namespace": self.namespace} | spec
        if annotations:
            body["annotations"] = {f"kjr.test/{name}": value for name, value in annotations.items()}
        headers = {name: value for name, value in (("Idempotency-Key", key), ("traceparent", traceparent)) if value}
        answer = self.http.post("/v1/jobs", json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        """Return a job as the API shows it."""
        answer = self.http.get(f"/v1/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def cancel(self, job_id: str, reason: str = "test") -> httpx2.Response:
        """Cancel a job."""
        return self.http.post(f"/v1/jobs/{job_id}:cancel", json={"reason": reason})

    def wait_for(self, job_id: str, *states: str, timeout_seconds: float = 60) -> dict[str, Any]:
        """Wait, by long poll, until a job is in one of these states (by default: has ended), and return it."""
        wanted = set(states) or TERMINAL
        deadline = time.monotonic() + timeout_seconds
        job = self.job(job_id)
        while job["state"] not in wanted:
            left = deadline - time.monotonic()
            assert left > 0, f"job {job_id} is not {sorted(wanted)} after {timeout_seconds} s but {job}"
            assert job["state"] not in TERMINAL, f"job {job_id} ended otherwise: {job}"
            wait_seconds = max(1, min(20, int(left)))
            query = {"wait": f"{wait_seconds}s", "since": job["version"]}
            job = dict(self.http.get(f"/v1/jobs/{job_id}", params=query).json())
        return job

    def transitions(self, job_id: str) -> list[dict[str, Any]]:
        """Return the transitions of a job, oldest first."""
        return list(self.http.get(f"/v1/jobs/{job_id}/transitions").json()["transitions"])

    def attempts(self, job_id: str) -> list[dict[str, Any]]:
        """Return the attempts of a job, oldest first."""
        return list(self.http.get(f"/v1/jobs/{job_id}/attempts").json()["attempts"])

"""The cost of a submit: durable answers per second of one web server, with the client and PostgreSQL on the same machine."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop

from bench import load, table
from kube_job_runner import settings
from kube_job_runner.adapters import postgres
from kube_job_runner.bootstrap import commands
from tests.support.product import free_port, wait_until

CONNECTIONS = 64
SPEC = {
    "image": "registry.example.com/team/etl:1.4.2",
    "name": "etl-nightly",
    "command": ["python", "-m", "etl", "--day", "2026-01-01"],
    "env": {"STAGE": "prod", "REGION": "eu-1"},
    "resources": {"cpu": "500m", "memory": "1Gi"},
    "labels": {"team": "data"},
    "retry": {"attempts": 3},
}


@contextmanager
def web_server(folder: Path) -> Iterator[tuple[int, str, int]]:
    """Run PostgreSQL (fsync on) and one web server; yield its port, a token, and its process id."""
    server = postgres.embedded.start(folder)
    process = None
    try:
        token = commands.create_token(_migrated(server.url, folder), "bench")
        port = free_port()
        environment = os.environ | {
            "KJR_DATABASE_URL": server.url,
            "KJR_DATA_DIR": str(folder),
            "KJR_PORT": str(port),
            "KJR_LOG_LEVEL": "warning",
            "KJR_KUBECONFIG": str(_unused_kubeconfig(folder)),
        }
        main = "from kube_job_runner.cli.main import main; main()"
        process = subprocess.Popen([sys.executable, "-c", main, "serve", "web-server"], env=environment)
        wait_until(lambda: _ready(port), what="the web server is ready")
        yield port, token, process.pid
    finally:
        if process is not None:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)
        server.stop()


def _migrated(url: str, folder: Path) -> settings.Settings:
    configured = settings.load({"database_url": url, "data_dir": folder}, {})
    commands.migrate(configured)
    return configured


def _unused_kubeconfig(folder: Path) -> Path:
    """Return a kubeconfig of a cluster that is never called: the web server only reads logs from it."""
    file = folder / "kubeconfig.json"
    cluster = {"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    user = {"name": "u", "user": {"token": "t"}}
    config = {"clusters": [cluster], "contexts": [context], "users": [user], "current-context": "c"}
    file.write_text(json.dumps(config))
    return file


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _singles(count: int, token: str, *, keys: str | None) -> Iterator[bytes]:
    body = json.dumps(SPEC).encode()
    plain = load.post("/v1/jobs", body, token=token)
    for number in range(count):
        yield plain if keys is None else load.post("/v1/jobs", body, token=token, key=f"{keys}-{number}")


def _batches(jobs: int, size: int, token: str) -> Iterator[bytes]:
    request = load.post("/v1/jobs:batch", json.dumps({"jobs": [SPEC] * size}).encode(), token=token)
    for _ in range(jobs // size):
        yield request


def main(*, jobs: int = 30_000, batch_jobs: int = 200_000) -> None:
    """Measure and print."""
    folder = Path(tempfile.mkdtemp(prefix="kjr-bench-"))
    rows = []
    try:
        with web_server(folder) as (port, token, pid), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:

            def measure(title: str, size: int, connections: int, requests: Iterator[bytes]) -> None:
                cpu_before = _cpu_seconds(pid)
                result = runner.run(load.run(port, connections=connections, requests=lambda: requests))
                cpu = (_cpu_seconds(pid) - cpu_before) / (result.requests * size) * 1e6
                assert set(result.statuses) <= {200, 201}, result.statuses
                rate = f"{result.per_second * size:,.0f}"
                rows.append(
                    [title, str(connections), rate, f"{result.p50_ms:.1f}", f"{result.p99_ms:.1f}", f"{cpu:.0f}"]
                )

            measure("(warm-up)", 1, CONNECTIONS, _singles(3_000, token, keys=None))
            measure("one job per request", 1, CONNECTIONS, _singles(jobs, token, keys=None))
            measure("one job per request, idempotency key", 1, CONNECTIONS, _singles(jobs, token, keys="k"))
            measure("arrays of 100", 100, 8, _batches(batch_jobs, 100, token))
            measure("arrays of 1,000", 1000, 4, _batches(batch_jobs, 1000, token))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    header = ["submit", "connections", "jobs/s", "p50 ms", "p99 ms", "web server CPU us/job"]
    table.show("Submit, durable (fsync on)", header, rows[1:])

"""docs/tutorial/operate.md, followed literally: its commands, in its order, in pods of our image on a real kubelet.

The test provides what a reader has: a database under the name of the page, the tools, and a node with the images in place of a
registry. Only the waiting is skipped: Prometheus's own engine evaluates the alerts over the real answers of the pods to
scrapes, extended over the minutes that a reader waits.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed import cluster, images, prometheus, realnode
from testbed.pytest_plugin import unavailable
from tests.chart.conftest import helm_program
from tests.support import clusternet, podimage
from tests.support.postgres import Server, execute, in_other_loop, with_database

__all__ = ["helm_program"]
pytestmark = [pytest.mark.cluster, pytest.mark.realnode, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial" / "operate.md"
NAMESPACE = "kube-job-runner"
_SH = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
_STEP_LIMIT_SECONDS = 240
_log = logging.getLogger(__name__)
_KUBELET = {
    "registerWithTaints": [],
    "clusterDNS": [clusternet.NAME_SERVER],
    "clusterDomain": "cluster.local",
}


def commands(page: Path, heading: str) -> list[str]:
    """Return the blocks of commands of a section."""
    _, found, rest = page.read_text().partition(f"\n## {heading}\n")
    assert found, f"{page.name} has no section {heading}"
    return _SH.findall(re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0])


class Reader:
    """A shell for the whole page; a command that fails ends it, and its output is in the error."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self._folder = folder
        self._output = folder / "output"
        with self._output.open("wb") as output:
            self._shell = subprocess.Popen(
                ["bash", "-eu", "-o", "pipefail"],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def types(self, text: str) -> str:
        """Type a block; return what it prints."""
        block, done = self._folder / "block", self._folder / "done"
        block.write_text(text)
        done.unlink(missing_ok=True)
        before = self._output.stat().st_size
        assert self._shell.stdin is not None
        self._shell.stdin.write(f"source {block} </dev/null\n: >{done}\n".encode())
        self._shell.stdin.flush()
        deadline = time.monotonic() + _STEP_LIMIT_SECONDS
        while not done.exists():
            ended = self._shell.poll() is not None
            late = time.monotonic() > deadline
            failed = ended or late
            assert not failed, f"{text}\n--- failed:\n{self._since(before)}"
            time.sleep(0.05)
        return self._since(before)

    def _since(self, offset: int) -> str:
        return self._output.read_bytes()[offset:].decode(errors="replace")

    def leaves(self) -> None:
        """End the shell and what it left in the background."""
        subprocess.run(["kill", "-KILL", "--", f"-{self._shell.pid}"], capture_output=True, check=False)
        if self._shell.stdin is not None:
            self._shell.stdin.close()
        self._shell.wait()


@pytest.fixture(scope="module")
def kube(kube_programs: None, pg_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[cluster.Cluster]:
    """A cluster whose only node is real, with our image, a network for Services, and a database that pods reach."""
    folder = tmp_path_factory.mktemp("images")
    url = urllib.parse.urlsplit(pg_server.url)
    (socket_folder,) = urllib.parse.parse_qs(url.query)["host"]
    in_other_loop(execute(pg_server.url, "CREATE DATABASE kjr"))
    version = yaml.safe_load((helm_chart() / "Chart.yaml").read_text())["appVersion"]
    podimage.write(folder / "ours.tar", f"ghcr.io/kube-job-runner/kube-job-runner:{version}")
    images.write_busybox(folder / "busybox.tar", "docker.io/library/busybox:1.36")
    with cluster.start(nodes=0, workloads=True) as made:
        try:
            node = realnode.start(made, wait_seconds=240, kubelet_settings=_KUBELET, reaches=clusternet.NETWORK)
        except realnode.RealNodeUnavailable as error:
            unavailable(f"no real node on this machine: {error}")
        with node:
            for archive in sorted(folder.glob("*.tar")):
                node.import_image(archive)
                archive.unlink()
            outside = {5432: f"{socket_folder}/.s.PGSQL.5432"}
            with clusternet.ClusterNet(made, outside, names={"db.example.com": clusternet.OUTSIDE}):
                yield made
    pg_server.drop_database(with_database(pg_server.url, "kjr"))


def helm_chart() -> Path:
    """Return the folder of the chart."""
    return ROOT / "deploy" / "helm" / "kube-job-runner"


@pytest.fixture(scope="module")
def reader(kube: cluster.Cluster, helm_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    folder = tmp_path_factory.mktemp("reader")
    tools = [Path(sys.executable).parent, helm_program.parent, kube.launcher.layout.bin_dir]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("KJR_", "HELM_", "KUBE"))}
    environment |= {"PATH": os.pathsep.join([*map(str, tools), os.environ["PATH"]])}
    environment |= {"KUBECONFIG": str(kube.kubeconfig()), "HOME": str(folder), "NO_PROXY": "127.0.0.1"}
    made = Reader(environment, folder)
    yield made
    made.leaves()


_NOT_YET = (  # what the dashboard shows of things that did not happen: failures, and jobs that wait
    "kjr_ready == 0",
    "kjr_queue_jobs",
    'outcome="failed"',
    "kjr_watch_retries_total",
    "kjr_db_errors_total",
    'status=~"5.."',
    "kjr_logs_lost_total",
    "kjr_unknown_signals_total",
)
Series = dict[str, list[float | None]]


class Scraper:
    """Scrapes the pods as monitor.md configures Prometheus: every ready port named http or metrics."""

    def __init__(self, kube: cluster.Cluster) -> None:
        self._kube = kube
        self.series: Series = {}
        self.rounds = 0

    def scrape(self) -> None:
        """Take one sample of every series."""
        pods = self._kube.api()("GET", f"/api/v1/namespaces/{NAMESPACE}/pods").require(200)["items"]
        for pod in pods:
            for container in pod["spec"]["containers"]:
                for port in container.get("ports", ()):
                    if port.get("name") in ("http", "metrics") and "podIP" in pod["status"]:
                        self._take(pod, port["containerPort"])
        self.rounds += 1
        for values in self.series.values():
            values.extend([None] * (self.rounds - len(values)))

    def _take(self, pod: dict[str, Any], port: int) -> None:
        try:
            with urllib.request.urlopen(f"http://{pod['status']['podIP']}:{port}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except OSError:
            return
        for line in text.splitlines():
            if line.startswith(("kjr_", "process_")):
                name, value = line.rsplit(" ", 1)
                labels = f'pod="{pod["metadata"]["name"]}"'
                key = f"{name[:-1]},{labels}}}" if name.endswith("}") else f"{name}{{{labels}}}"
                values = self.series.setdefault(key, [])
                values.extend([None] * (self.rounds - len(values)))
                values.append(float(value))

    def continued(self, minutes: int) -> list[dict[str, str]]:
        """Return the series, one sample a minute, with the last state held; an age keeps growing."""
        found = []
        for key, values in self.series.items():
            given = " ".join("_" if value is None else repr(value) for value in values)
            last = values[-1]
            if last is None:
                tail = f"_x{minutes}"
            elif key.startswith(("kjr_queue_oldest_seconds", "kjr_outbox_oldest_seconds")) and last > 0:
                tail = f"{last + 60}+60x{minutes}"
            else:
                tail = f"{last!r}x{minutes}"
            found.append({"series": key, "values": f"{given} {tail}"})
        return found


def ask(series: list[dict[str, str]], *, minute: int, rules: Path | None = None, expressions: list[str] = ()) -> Any:  # type: ignore[assignment]
    """Return what Prometheus's engine makes of series: firing alerts, and how many results each expression has."""
    question = {"series": series, "minute": minute, "rules": str(rules or ""), "expressions": list(expressions)}
    program = prometheus.ensure_built()
    done = subprocess.run(
        [program, "ask"], input=json.dumps(question), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_new_operator_follows_the_page(kube: cluster.Cluster, reader: Reader) -> None:
    seen = Scraper(kube)

    def follow(heading: str) -> list[str]:
        started = time.monotonic()
        said = [reader.types(_with_free_port(block)) for block in commands(PAGE, heading)]
        _log.info("%s: %.1f s\n%s", heading, time.monotonic() - started, "\n".join(said))
        return said

    (installed,) = follow("1. Install")
    assert re.search(r"TEST SUITE:.*\n.*\n.*\nPhase:\s+Succeeded", installed), installed
    assert installed.count(" Running ") >= 12, "two pods of each component"
    (first,) = follow("2. The first job")
    assert "\nhello\n" in first
    (inside,) = follow("3. Look inside")
    assert "kjr_jobs_submitted_total" in inside
    assert "kjr_queue_oldest_seconds" in inside
    _scrape_when(kube, waiting=False)  # else the age of a message that has long been handled would be continued
    for _ in range(3):
        seen.scrape()
    _the_dashboard_shows(seen)
    (broken,) = follow("4. Break something")
    assert "queued" in broken
    _the_alerts_fire(kube, seen)
    looked, fixed = follow("5. Find it and fix it")
    assert "0/0" in looked
    assert "messages-processor" in looked
    assert "\nlate\n" in fixed
    (upgraded,) = follow("6. Upgrade")
    assert "\nhello again\n" in upgraded
    assert "superseded" in upgraded
    uninstalled, _ = follow("7. Uninstall")
    assert "secret/kjr-database" in uninstalled
    _, _, listed = uninstalled.rpartition(" condition met\n")
    left = [line.split()[0] for line in listed.splitlines() if re.match(r"[a-z.]+/", line)]
    assert not [name for name in left if "kube-job-runner" in name], left
    assert kube.api().get_status(f"/apis/rbac.authorization.k8s.io/v1/namespaces/jobs/roles/{NAMESPACE}-sweeper") == 404


_PORT = re.compile(r"(?<=127\.0\.0\.1:)8080\b|\b8080(?=:80\b)")


def _with_free_port(block: str) -> str:
    """The page's port of this machine may be taken here."""
    return _PORT.sub(str(_FREE_PORT), block)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


_FREE_PORT = _free_port()


def _the_dashboard_shows(seen: Scraper) -> None:
    document = json.loads((ROOT / "deploy" / "monitoring" / "dashboard.json").read_text())
    found = [target["expr"] for panel in document["panels"] for target in panel.get("targets", [])]
    expressions = [expr.replace("$__rate_interval", "5m").replace("$queue", ".*") for expr in found]
    results = ask(seen.continued(10), minute=8, expressions=expressions)["results"]
    silent = sorted(expr for expr, count in results.items() if not count)
    _log.info("no data in a quiet, young installation: %s", "\n    ".join(silent))
    unexplained = [expr for expr in silent if not any(name in expr for name in _NOT_YET)]
    assert not unexplained, "these panels would be empty in Grafana"
    assert len(silent) < len(results) / 3


def _scrape_when(kube: cluster.Cluster, *, waiting: bool) -> Scraper:
    """Return the first scrape in which a message waits on the queue, or in which none does."""
    deadline = time.monotonic() + 60
    while True:
        scraper = Scraper(kube)
        scraper.scrape()
        ages = [values[-1] for key, values in scraper.series.items() if key.startswith("kjr_queue_oldest_seconds")]
        if ages and any(ages) == waiting:
            return scraper
        assert time.monotonic() < deadline, "the age of the oldest message is measured every ten seconds"
        time.sleep(1)


def _the_alerts_fire(kube: cluster.Cluster, seen: Scraper) -> None:
    rules = ROOT / "deploy" / "monitoring" / "alerts.yaml"
    calm = ask(seen.continued(30), minute=25, rules=rules)["firing"]
    assert not calm, "nothing is wrong yet"
    broken = _scrape_when(kube, waiting=True)
    assert not ask(broken.continued(30), minute=5, rules=rules)["firing"], "not yet"
    firing = ask(broken.continued(30), minute=12, rules=rules)["firing"]
    assert set(firing) == {"KjrMessagesOld", "KjrComponentMissing"}, firing
    assert "docs/runbooks/KjrComponentMissing" in firing["KjrComponentMissing"][0]
    assert '"component":"messages-processor"' in firing["KjrComponentMissing"][0]
    page = (ROOT / "docs" / "runbooks" / "KjrComponentMissing.md").read_text()
    first = commands(PAGE, "5. Find it and fix it")[0].strip()
    assert first.replace("messages-processor", "COMPONENT") in page, "the page shows the runbook's own command"

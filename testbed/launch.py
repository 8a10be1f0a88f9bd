"""Starts the components in the only order that works: etcd, the API server, then its clients."""

import ssl
import subprocess
import urllib.request
from collections.abc import Callable

from testbed import apiclient, config, processes
from testbed.processes import ProcessId
from testbed.state import State

_LIMIT_SECONDS = 120  # a start takes five; on a machine busy with a build it may need many times that
_LOG_TAIL_BYTES = 3000


class Launcher:
    """Starts and restarts the components of one cluster, and keeps its record up to date."""

    def __init__(self, record: State) -> None:
        self.record = record
        self.layout = config.Layout(
            run_dir=record.run_dir,
            bin_dir=record.bin_dir,
            ports=record.ports,
            profile=config.PROFILES[record.profile],
            audit=record.audit,
            pod_logs=record.pod_logs,
            workloads=record.workloads,
        )
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def write_files(self) -> None:
        """Keys, tokens, kubeconfigs and component configurations."""
        layout, record = self.layout, self.record
        pki = layout.run_dir / "pki"
        for folder in (layout.run_dir / "log", pki):
            folder.mkdir()
        subprocess.run([layout.bin_dir / "helper", "service-account-key", pki], check=True)
        (layout.run_dir / "tokens.csv").write_text(config.token_file(record.tokens))
        for user, token in record.tokens.items():
            layout.kubeconfig(user).write_text(config.kubeconfig(layout, user, token))
        (layout.run_dir / "scheduler.json").write_text(config.scheduler_config(layout))
        (layout.run_dir / "audit-policy.json").write_text(config.audit_policy())
        layout.kwok_config.write_text(config.kwok_config(layout))
        layout.pod_log.write_text(config.POD_LOG)

    def start_all(self) -> None:
        """Raises NotReadyError, with the end of the log, when a component dies or takes too long."""
        for name in ("etcd", "kube-apiserver"):
            self.start(name)
            self.wait_ready(name)
        for name in ("kube-controller-manager", "kube-scheduler", "kwok"):
            self.start(name)

    def start(self, name: str) -> None:
        self.spawn(name, config.commands(self.layout)[name])

    def spawn(self, name: str, argv: list[str]) -> None:
        """Starts a program as a part of this cluster: it ends with the cluster, is on record, and has a log of that name."""
        leash = self.layout.bin_dir / "helper" if self.record.leashed else None
        child = processes.spawn(argv, log=self.layout.log_file(name), cwd=self.layout.run_dir, leash=leash)
        self._children[name] = child
        self.record.processes[name] = ProcessId.of(child.pid)
        self.record.save()

    def wait_ready(self, name: str) -> None:
        self.wait_until(f"{name} of cluster {self.record.name}", self._health_check(name))

    def wait_until(self, what: str, check: Callable[[], object], limit_seconds: float = _LIMIT_SECONDS) -> None:
        """Raises NotReadyError when it takes too long or when any part of the cluster dies meanwhile."""
        apiclient.wait_until(what, check, limit_seconds=limit_seconds, alive=self._check_alive)

    def end(self, names: list[str], *, grace_seconds: float) -> None:
        """Stops these parts, reaps those that are our children, and removes them from the record."""
        found = {name: self.record.processes[name] for name in names if name in self.record.processes}
        processes.stop_all(found.values(), grace_seconds=grace_seconds)
        for name in found:
            del self.record.processes[name]
            if child := self._children.pop(name, None):
                child.wait()
        if self.record.run_dir.exists():
            self.record.save()

    def log_tail(self, name: str) -> str:
        return self.layout.log_file(name).read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")

    def api(self, user: str = "admin") -> apiclient.Api:
        return apiclient.Api(self.layout.url, self.record.tokens[user], self.layout.ca_file)

    def _check_alive(self) -> None:
        for name, process in self.record.processes.items():
            if not process.is_alive():
                raise apiclient.NotReadyError(f"{name} has died; the end of its log:\n{self.log_tail(name)}")

    def _health_check(self, name: str) -> Callable[[], object]:
        if name == "kube-apiserver":
            return lambda: self.layout.ca_file.exists() and self.api().get_status("/readyz") == 200
        port = self.layout.ports[name]
        if name == "etcd":
            return lambda: _answers(f"http://127.0.0.1:{port}/health")
        scheme = "http" if name == "kwok" else "https"
        return lambda: _answers(f"{scheme}://127.0.0.1:{port}/healthz")


def _answers(url: str) -> bool:
    tls = ssl.create_default_context()  # each component signs its own certificate; on loopback that is all right
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE
    with urllib.request.urlopen(url, timeout=2, context=tls) as response:
        return bool(response.status == 200)

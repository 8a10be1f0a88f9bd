"""The test bed's Python API: start a cluster, use it, break it, count its requests.

with testbed.cluster.start() as cluster:
    cluster.create_namespace("work")
    cluster.apply(manifest)
"""

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from testbed import apiclient, build, config, manifests, noderemains, processes, state
from testbed.launch import Launcher

KEEP_VARIABLE = "KJR_TESTBED_KEEP"
_START_ATTEMPTS = 3
_PORT_TAKEN = "address already in use"
_STALE_SECONDS = 24 * 3600


class KubectlError(RuntimeError):
    """kubectl ended with an error; the message is its output."""


class Cluster:
    """A running cluster. Made by `start` or `attach`."""

    def __init__(self, launcher: Launcher) -> None:
        self.launcher = launcher

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- where it is -------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self.launcher.record.name

    @property
    def url(self) -> str:
        return self.launcher.layout.url

    @property
    def ca_file(self) -> Path:
        return self.launcher.layout.ca_file

    @property
    def run_dir(self) -> Path:
        """Logs are in its `log` folder."""
        return self.launcher.layout.run_dir

    def kubeconfig(self, user: str = "admin") -> Path:
        """Of a user of the token file (config.USERS): `admin` may do everything, `kjr` nothing."""
        if user not in config.USERS:
            raise ValueError(f"no user {user!r}; there are {', '.join(config.USERS)}")
        return self.launcher.layout.kubeconfig(user)

    def token(self, user: str = "admin") -> str:
        return self.launcher.record.tokens[user]

    # -- asking it ---------------------------------------------------------------------------------------------------

    def api(self, user: str = "admin") -> apiclient.Api:
        """A JSON client for one user: `cluster.api()("GET", "/api/v1/nodes")`."""
        return self.launcher.api(user)

    def run_kubectl(
        self, *args: str, user: str = "admin", stdin: str | None = None, timeout_seconds: float = 120
    ) -> "subprocess.CompletedProcess[str]":
        """Runs kubectl and returns its output on both channels, whatever its exit code."""
        command = [
            str(self.launcher.layout.bin_dir / "kubectl"),
            f"--kubeconfig={self.kubeconfig(user)}",
            f"--cache-dir={self.run_dir / 'kubectl-cache'}",
            *args,
        ]
        channel: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout_seconds, check=False, **channel)

    def kubectl(self, *args: str, stdin: str | None = None, check: bool = True) -> str:
        """What kubectl prints, as admin. Raises KubectlError when it fails, unless `check` is off."""
        done = self.run_kubectl(*args, stdin=stdin)
        if check and done.returncode != 0:
            raise KubectlError(f"kubectl {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout

    def apply(self, manifest: str | Path) -> str:
        """`kubectl apply` of a file (a Path) or of YAML or JSON text (a str)."""
        if isinstance(manifest, Path):
            return self.kubectl("apply", "-f", str(manifest))
        return self.kubectl("apply", "-f", "-", stdin=manifest)

    def create_namespace(self, name: str, *, labels: Mapping[str, str] | None = None) -> None:
        """Returns when Jobs can run in it: pods are refused before its ServiceAccount and its root CA exist."""
        self.api()("POST", "/api/v1/namespaces", manifests.namespace(name, labels or {})).require(201)
        for path in ("serviceaccounts/default", "configmaps/kube-root-ca.crt"):
            self._wait(f"{path} of namespace {name}", f"/api/v1/namespaces/{name}/{path}", lambda found: True)

    def service_account_kubeconfig(self, namespace: str, service_account: str, *, duration_seconds: int = 3600) -> Path:
        """A kubeconfig with a fresh token of an existing ServiceAccount (600 seconds is the server's minimum)."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        answer = self.api()("POST", path, manifests.token_request(duration_seconds)).require(201)
        target = self.run_dir / f"{namespace}-{service_account}-{secrets.token_hex(3)}.kubeconfig"
        text = config.kubeconfig(self.launcher.layout, service_account, answer["status"]["token"])
        target.write_text(text)
        return target

    # -- counting its requests ---------------------------------------------------------------------------------------

    def metric_samples(self, name: str) -> list[apiclient.Sample]:
        """The API server's samples of one metric; an empty list before it has ever counted one."""
        text = self.api()("GET", "/metrics", timeout_seconds=60).require(200)
        return [sample for sample in apiclient.parse_metrics(text) if sample.name == name]

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples that carry these labels: `metric("apiserver_request_total", resource="jobs")`."""
        samples = self.metric_samples(name)
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    def audit_events(self, *, verb: str | None = None, resource: str | None = None) -> Iterator[dict[str, Any]]:
        """The requests of our own users and ServiceAccounts for Jobs, Pods and Events, in order; needs `audit=True`.

        An event is written when its request ends, so it may follow the answer by a moment, and a watch shows only when
        it is closed. The code is in `responseStatus`, the object in `objectRef`.
        """
        if not self.launcher.record.audit:
            raise ValueError("this cluster keeps no audit log: start it with audit=True")
        log = self.launcher.layout.audit_log
        if not log.exists():
            return
        with log.open() as lines:
            for line in lines:
                if not line.endswith("\n"):  # being written
                    return
                event: dict[str, Any] = json.loads(line)
                if verb in (None, event["verb"]) and resource in (None, event["objectRef"]["resource"]):
                    yield event

    # -- breaking it -------------------------------------------------------------------------------------------------

    def pid(self, component: str) -> int:
        """Components are in config.COMPONENTS; with a real node also `containerd` and `kubelet`."""
        return self._process(component).pid

    def usage(self, component: str) -> processes.Usage:
        used = processes.usage(self.pid(component))
        if used is None:
            raise ProcessLookupError(f"{component} is not running")
        return used

    def components(self) -> list[str]:
        return list(self.launcher.record.processes)

    def signal(self, component: str, signal_number: int) -> None:
        """SIGSTOP makes a component hang with its connections open; SIGCONT lets it continue."""
        if not self._process(component).send(signal_number):
            raise ProcessLookupError(f"{component} is not running")

    def stop_component(self, component: str, *, grace_seconds: float = 0) -> None:
        """Ends it (by default with SIGKILL) and leaves it down until `start_component`."""
        self._process(component)
        self.launcher.end([component], grace_seconds=grace_seconds)

    def start_component(self, component: str) -> None:
        """Starts it again with the same ports and data, and waits until it answers."""
        self.launcher.start(component)
        self.launcher.wait_ready(component)

    def restart(self, component: str, *, grace_seconds: float = 0) -> None:
        self.stop_component(component, grace_seconds=grace_seconds)
        self.start_component(component)

    # -- nodes -------------------------------------------------------------------------------------------------------

    def add_node(self, name: str | None = None, *, wait: bool = True, **spec: Any) -> str:
        """Adds a simulated node (see manifests.node for `spec`) and waits until pods can run on it."""
        name = name or f"node-{secrets.token_hex(4)}"
        if self.launcher.layout.pod_logs:
            spec["kubelet_port"] = self.launcher.layout.ports["kwok"]
        self.api()("POST", "/api/v1/nodes", manifests.node(name, **spec)).require(201)
        if wait:
            self._wait(f"node {name}", f"/api/v1/nodes/{name}", manifests.is_usable)
        return name

    def delete_node(self, name: str) -> None:
        """Deletes the Node, as when a machine vanishes; its pods are garbage collected about a minute later."""
        self.api()("DELETE", f"/api/v1/nodes/{name}").require(200, 404)

    # -- ending it ---------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ends every process and deletes the data; twice is harmless. `$KJR_TESTBED_KEEP` keeps the files."""
        try:
            noderemains.stop(self.launcher)
        finally:
            # No grace: the data is thrown away, and a component may be stopped by a test's SIGSTOP.
            self.launcher.end(self.components(), grace_seconds=0)
        if not os.environ.get(KEEP_VARIABLE):
            shutil.rmtree(self.run_dir, ignore_errors=True)

    def _process(self, component: str) -> processes.ProcessId:
        try:
            return self.launcher.record.processes[component]
        except KeyError:
            raise ProcessLookupError(f"{component} is not running") from None

    def _wait(self, what: str, path: str, check: Callable[[Any], bool]) -> None:
        def found() -> bool:
            answer = self.api()("GET", path)
            return answer.status == 200 and check(answer.body)

        self.launcher.wait_until(what, found)


def start(
    *,
    profile: str = "raised",
    nodes: int = 20,
    audit: bool = False,
    pod_logs: bool = False,
    workloads: bool = False,
    name: str | None = None,
    detached: bool = False,
) -> Cluster:
    """Starts a cluster on free loopback ports; several can run at once. Takes about five seconds once built.

    With `pod_logs`, each container on a simulated node has a log of one line; without, asking for one fails. With `workloads`,
    Deployments get their pods; without, they are only stored.
    It ends with `stop`, at the end of a `with` block, or with this process, unless it is `detached`. Raises
    build.GoMissing, build.BuildError, apiclient.NotReadyError, or FileExistsError when the name is in use.
    """
    if profile not in config.PROFILES:
        raise ValueError(f"no profile {profile!r}; there are {', '.join(config.PROFILES)}")
    bin_dir = build.ensure_built()
    state.remove_dead(older_than_seconds=_STALE_SECONDS)
    for attempt in range(1, _START_ATTEMPTS + 1):
        record = state.State(
            name=name or f"c{secrets.token_hex(4)}",
            bin_dir=bin_dir,
            profile=profile,
            audit=audit,
            pod_logs=pod_logs,
            workloads=workloads,
            ports=processes.free_ports(config.PORT_NAMES),
            tokens={user: secrets.token_hex(16) for user in config.USERS},
            starter=processes.ProcessId.of(os.getpid()),
            leashed=not detached,
        )
        record.claim()
        cluster = Cluster(Launcher(record))
        try:
            _bring_up(cluster, nodes)
        except BaseException as error:
            cluster.launcher.end(cluster.components(), grace_seconds=0)  # the logs stay
            if _PORT_TAKEN not in str(error) or attempt == _START_ATTEMPTS:
                raise
        else:
            return cluster
    raise AssertionError("the last attempt returns or raises")


def attach(name: str) -> Cluster:
    """A cluster that `start(detached=True)` or the command line left running. Raises FileNotFoundError."""
    record = state.load(name)
    if not record.is_running():
        raise FileNotFoundError(f"the cluster {name} is not running any more")
    return Cluster(Launcher(record))


def _bring_up(cluster: Cluster, nodes: int) -> None:
    launcher = cluster.launcher
    launcher.write_files()
    launcher.start_all()
    for number in range(nodes):
        cluster.add_node(f"node-{number}", wait=False)
    call = cluster.api()
    default_account = "/api/v1/namespaces/default/serviceaccounts/default"
    launcher.wait_until("default ServiceAccount", lambda: call.get_status(default_account) == 200)
    launcher.wait_until("simulated nodes", lambda: _all_usable(call("GET", "/api/v1/nodes").require(200)))


def _all_usable(nodes: Mapping[str, Any]) -> bool:
    return all(manifests.is_usable(node) for node in nodes["items"])

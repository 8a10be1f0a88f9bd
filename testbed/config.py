"""Configuration of the components: users, files and command lines. It only renders, so it is tested without a cluster."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

POD_LOG = "2026-01-01T00:00:00.000000000Z stdout F hello from a simulated node\n"
KWOK_CONFIG = Path(__file__).resolve().parent / "kwok.yaml"
MUTATIONS = Path(__file__).resolve().parent / "mutations.yaml"
PORT_NAMES = ("etcd", "etcd-peer", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")
COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")
REAL_NODE_NAME = "127.0.0.1"  # a node named by its address needs no --node-ip, which refuses loopback
PROTOBUF = "application/vnd.kubernetes.protobuf"

# Without a service network nothing here needs an address that exists: documentation ranges cannot clash.
_SERVICE_RANGE = "203.0.113.0/24"
_OPEN_PATHS = "/healthz,/readyz,/livez,/metrics"
_CONTROLLERS = (
    "job-controller",
    "cronjob-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "root-ca-certificate-publisher-controller",
    "ttl-after-finished-controller",
    "pod-garbage-collector-controller",
    "resourcequota-controller",
    "disruption-controller",
    "node-lifecycle-controller",  # lifts the not-ready taint that admission puts on every new node
    "taint-eviction-controller",
    "clusterrole-aggregation-controller",
)
_WORKLOAD_CONTROLLERS = ("deployment-controller", "replicaset-controller")


@dataclass(frozen=True)
class User:
    """A line of the token file."""

    name: str
    group: str = ""


USERS: Mapping[str, User] = {
    "admin": User("admin", "system:masters"),
    # The controller manager runs as one user, and its own ClusterRole is too small for that.
    "kube-controller-manager": User("kube-controller-manager", "system:masters"),
    "kube-scheduler": User("system:kube-scheduler"),
    "kubelet": User(f"system:node:{REAL_NODE_NAME}", "system:nodes"),
    "kwok": User("kwok", "system:masters"),
    # No rights at all: a test binds the Role under test to it.
    "kjr": User("kjr"),
}


@dataclass(frozen=True)
class Profile:
    """How the cluster is tuned. Upstream's client limits hide what a product costs, so measurements lift them."""

    name: str
    raised_client_limits: bool
    flow_control: bool


PROFILES: Mapping[str, Profile] = {
    "default": Profile("default", raised_client_limits=False, flow_control=True),
    "raised": Profile("raised", raised_client_limits=True, flow_control=True),
    "floor": Profile("floor", raised_client_limits=True, flow_control=False),
}


@dataclass(frozen=True)
class Layout:
    """Where one cluster lives."""

    run_dir: Path
    bin_dir: Path
    ports: Mapping[str, int]
    profile: Profile
    audit: bool
    pod_logs: bool
    workloads: bool = False

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.ports['kube-apiserver']}"

    @property
    def ca_file(self) -> Path:
        """The server's self-signed certificate is its own authority."""
        return self.run_dir / "pki" / "apiserver.crt"

    @property
    def audit_log(self) -> Path:
        return self.run_dir / "audit.jsonl"

    @property
    def kwok_config(self) -> Path:
        return self.run_dir / "kwok.yaml"

    @property
    def pod_log(self) -> Path:
        """What every container on a simulated node has printed, in the format of a container runtime (CRI)."""
        return self.run_dir / "pod.log"

    def log_file(self, component: str) -> Path:
        return self.run_dir / "log" / f"{component}.log"

    def kubeconfig(self, user: str) -> Path:
        return self.run_dir / f"{user}.kubeconfig"


def token_file(tokens: Mapping[str, str]) -> str:
    """`tokens` maps each of USERS to its secret."""
    lines = []
    for user_id, user in USERS.items():
        groups = f',"{user.group}"' if user.group else ""
        lines.append(f"{tokens[user_id]},{user.name},{user_id}{groups}\n")
    return "".join(lines)


def kubeconfig(layout: Layout, user: str, token: str) -> str:
    """JSON is YAML, so no YAML library is needed."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "testbed",
        "clusters": [
            {"name": "testbed", "cluster": {"server": layout.url, "certificate-authority": str(layout.ca_file)}}
        ],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": user}}],
    }
    return json.dumps(config, indent=1)


def audit_policy() -> str:
    """Records requests of the product's users for Jobs, Pods and Events, and nothing else: cheap enough for benchmarks.

    Of a watch only its end is recorded.
    """
    ours = [
        {"group": "batch", "resources": ["jobs", "jobs/status"]},
        {"group": "", "resources": ["pods", "pods/status", "pods/log", "events"]},
        {"group": "events.k8s.io", "resources": ["events"]},
    ]
    verbs = ["create", "delete", "deletecollection", "patch", "update", "get", "list", "watch"]
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived", "ResponseStarted"],
        "omitManagedFields": True,
        "rules": [
            {"level": "None", "userGroups": ["system:masters", "system:nodes", "system:serviceaccounts:kube-system"]},
            {"level": "None", "users": ["system:kube-scheduler", "system:apiserver", "system:anonymous"]},
            {"level": "Metadata", "verbs": verbs, "resources": ours},
            {"level": "None"},
        ],
    }
    return json.dumps(policy, indent=1)


def scheduler_config(layout: Layout) -> str:
    """The kubeconfig stands inside: with --config the scheduler ignores the flag."""
    connection: dict[str, Any] = {"kubeconfig": str(layout.kubeconfig("kube-scheduler"))}
    if layout.profile.raised_client_limits:
        connection |= {"qps": 1000, "burst": 2000, "contentType": PROTOBUF}
    config = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": connection,
        "leaderElection": {"leaderElect": False},
    }
    return json.dumps(config, indent=1)


def commands(layout: Layout) -> dict[str, list[str]]:
    """The command line of every component, in the order of starting."""
    render = {
        "etcd": _etcd,
        "kube-apiserver": _api_server,
        "kube-controller-manager": _controller_manager,
        "kube-scheduler": _scheduler,
        "kwok": _kwok,
    }
    return {name: [str(layout.bin_dir / name), *render[name](layout)] for name in COMPONENTS}


def kwok_config(layout: Layout) -> str:
    """The stages of simulated nodes, and the log of their containers when they have one."""
    stages = KWOK_CONFIG.read_text()
    if not layout.pod_logs:
        return stages
    logs = {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "ClusterLogs",
        "metadata": {"name": "all"},
        "spec": {"logs": [{"logsFile": str(layout.pod_log)}]},
    }
    served = stages.replace("options:\n", "options:\n  enableDebuggingHandlers: true\n", 1)
    return f"{served}\n---\n{json.dumps(logs)}\n"


def _flags(values: Mapping[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items()]


def _etcd(layout: Layout) -> Sequence[str]:
    client, peer = (f"http://127.0.0.1:{layout.ports[name]}" for name in ("etcd", "etcd-peer"))
    flags = {
        "data-dir": layout.run_dir / "etcd",
        "log-level": "warn",
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
        "quota-backend-bytes": 8 << 30,
    }
    return ["--unsafe-no-fsync", *_flags(flags)]  # the data dies with the cluster anyway


def _api_server(layout: Layout) -> Sequence[str]:
    pki = layout.run_dir / "pki"
    flags: dict[str, object] = {
        "etcd-servers": f"http://127.0.0.1:{layout.ports['etcd']}",
        "bind-address": "127.0.0.1",
        "advertise-address": "127.0.0.1",
        "secure-port": layout.ports["kube-apiserver"],
        "cert-dir": pki,
        "token-auth-file": layout.run_dir / "tokens.csv",
        "authorization-mode": "Node,RBAC",
        "allow-privileged": "true",
        "endpoint-reconciler-type": "none",
        "service-cluster-ip-range": _SERVICE_RANGE,
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": pki / "sa.pub",
        "service-account-signing-key-file": pki / "sa.key",
        "event-ttl": "10m",
        "kubelet-preferred-address-types": "InternalIP",
    }
    if not layout.profile.flow_control:
        flags |= {
            "enable-priority-and-fairness": "false",
            "max-requests-inflight": 0,
            "max-mutating-requests-inflight": 0,
        }
    if layout.audit:
        flags |= {
            "audit-policy-file": layout.run_dir / "audit-policy.json",
            "audit-log-path": layout.audit_log,
            "audit-log-mode": "blocking",  # a buffered log may drop what a test wants to count
            "audit-log-maxsize": 10_000,
        }
    return _flags(flags)


def _controller_manager(layout: Layout) -> Sequence[str]:
    kubeconfig_file = layout.kubeconfig("kube-controller-manager")
    flags: dict[str, object] = {
        "kubeconfig": kubeconfig_file,
        "authentication-kubeconfig": kubeconfig_file,
        "authorization-kubeconfig": kubeconfig_file,
        "leader-elect": "false",
        "bind-address": "127.0.0.1",
        "secure-port": layout.ports["kube-controller-manager"],
        "cert-dir": layout.run_dir / "pki" / "kube-controller-manager",
        "service-account-private-key-file": layout.run_dir / "pki" / "sa.key",
        "root-ca-file": layout.ca_file,
        "controllers": ",".join(_CONTROLLERS + (_WORKLOAD_CONTROLLERS if layout.workloads else ())),
        "authorization-always-allow-paths": _OPEN_PATHS,
    }
    if layout.profile.raised_client_limits:
        flags |= {
            "kube-api-qps": 1000,
            "kube-api-burst": 2000,
            "kube-api-content-type": PROTOBUF,
            "concurrent-job-syncs": 20,
            "concurrent-gc-syncs": 40,
            "concurrent-ttl-after-finished-syncs": 10,
        }
    return _flags(flags)


def _scheduler(layout: Layout) -> Sequence[str]:
    kubeconfig_file = layout.kubeconfig("kube-scheduler")
    flags = {
        "config": layout.run_dir / "scheduler.json",
        "authentication-kubeconfig": kubeconfig_file,
        "authorization-kubeconfig": kubeconfig_file,
        "bind-address": "127.0.0.1",
        "secure-port": layout.ports["kube-scheduler"],
        "cert-dir": layout.run_dir / "pki" / "kube-scheduler",
        "authorization-always-allow-paths": _OPEN_PATHS,
    }
    return _flags(flags)


def _kwok(layout: Layout) -> Sequence[str]:
    flags = {
        "kubeconfig": layout.kubeconfig("kwok"),
        "config": layout.kwok_config,
        "server-address": f"127.0.0.1:{layout.ports['kwok']}",
        "v": "WARN",  # INFO writes a line per patch
    }
    if layout.pod_logs:
        flags |= {
            "node-port": layout.ports["kwok"],
            "tls-cert-file": layout.ca_file,  # the API server does not check a kubelet's certificate
            "tls-private-key-file": layout.run_dir / "pki" / "apiserver.key",
        }
    return _flags(flags)

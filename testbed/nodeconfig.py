"""Configuration of the real node's two daemons. A small virtual machine needs each of the unusual settings here."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from testbed import images, manifests

NODE_DIR = Path("/var/lib/kjr-testbed/node")  # short: paths of Unix sockets below it may have 107 characters
LOCK = NODE_DIR.parent / "lock"
BRIDGE = "kjr0"
CGROUP = "/kjr-testbed"  # our own: a machine that is already a node has `kubepods`

GATEWAY = "198.51.100.1"

_POD_SUBNET = "198.51.100.0/24"


def containerd_toml(node_dir: Path, *, cni_bin_dir: Path, snapshotter: str) -> str:
    # restrict_oom_score_adj: without CAP_SYS_RESOURCE every sandbox fails to start otherwise.
    # netns_mounts_under_state_dir: so that undoing our mounts undoes these as well.
    return f"""\
version = 2
root = "{node_dir}/root"
state = "{node_dir}/state"
[grpc]
  address = "{socket(node_dir)}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{images.PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni_bin_dir}"
    conf_dir = "{node_dir}/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""


def socket(node_dir: Path) -> Path:
    return node_dir / "containerd.sock"


def network(node_dir: Path, *, reaches: str | None = None) -> str:
    """A node is Ready only with a network; ours goes nowhere, and pods use the host's.

    With `reaches`, pods send packets for that network to GATEWAY, an address that the server of the network adds to the bridge.
    """
    routes = {"routes": [{"dst": reaches, "gw": GATEWAY}]} if reaches else {}
    plugin = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": False,  # a gateway would switch on IP forwarding for the whole machine
        "ipMasq": False,
        "ipam": {
            "type": "host-local",
            "dataDir": str(node_dir / "ipam"),
            "ranges": [[{"subnet": _POD_SUBNET}]],
            **routes,
        },
    }
    return json.dumps({"cniVersion": "0.4.0", "name": "kjr-testbed", "plugins": [plugin]}, indent=1)


def kubelet(node_dir: Path, *, port: int, settings: Mapping[str, Any]) -> str:
    config: Mapping[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "127.0.0.1",
        "port": port,
        "healthzPort": 0,
        # On loopback only: this gives the API server logs and exec without a client certificate.
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": f"unix://{socket(node_dir)}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": CGROUP,
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,  # this and the next need CAP_SYS_RESOURCE for any other value
        "maxOpenFiles": 20000,
        "resolvConf": "",
        "makeIPTablesUtilChains": False,
        "localStorageCapacityIsolation": False,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,  # image collection might take the pause image, which no registry has
        "imageGCLowThresholdPercent": 99,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
        "eventRecordQPS": 0,
        "serializeImagePulls": False,
        "maxPods": 200,
        "podLogsDir": str(node_dir / "podlogs"),
        "registerWithTaints": [{"key": manifests.REAL_NODE_KEY, "value": "1", "effect": "NoSchedule"}],
    }
    return json.dumps({**config, **settings}, indent=1)

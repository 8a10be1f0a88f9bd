"""The real node: our kubelet, with the machine's containerd and runc, next to the simulated nodes.

What a container really does (its log, its exit code, how an image fails) only a real kubelet can tell. It needs root
and a few Debian packages, and a machine carries one such node at a time, since kubelets share some fixed places.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from testbed import apiclient, cache, config, images, manifests, nodeconfig, noderemains, processes
from testbed.cluster import Cluster
from testbed.nodeconfig import LOCK, NODE_DIR
from testbed.processes import ProcessId

_OWNER = NODE_DIR / "owner.json"
_CNI_BIN_DIRS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
_READY_LIMIT_SECONDS = 90
_BUSY_POLL_SECONDS = 0.5
_CLONE_NEWNS = 0x20000
_REFUSALS = ("operation not permitted", "permission denied", "read-only file system")


class RealNodeUnavailable(RuntimeError):
    """This machine cannot run the real node; the message says why."""


@dataclass(frozen=True)
class RealNode:
    """A running real node. Made by `start` or `attach`."""

    cluster: Cluster
    name: str = config.REAL_NODE_NAME

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def import_image(self, archive: Path) -> None:
        """Gives the node an image, of an archive that images.write made. Raises NotReadyError when it is refused."""
        _import(archive)

    def stop(self) -> None:
        """Removes the node from the cluster, and all that it made from the machine; twice is harmless."""
        noderemains.stop(self.cluster.launcher)


def missing_tools() -> list[str]:
    """The Debian packages that `start` would miss on this machine."""
    found = {
        "containerd": all(shutil.which(name) for name in ("containerd", "containerd-shim-runc-v2", "ctr")),
        "runc": shutil.which("runc") is not None,
        "busybox-static": _is_static(images.BUSYBOX),
        "containernetworking-plugins": _cni_bin_dir() is not None,
    }
    return [package for package, is_there in found.items() if not is_there]


def install_tools() -> None:
    """Installs what is missing with apt-get, and what ElasticMQ needs too. Raises RealNodeUnavailable where it cannot."""
    for_elasticmq = {"default-jre-headless": "java", "maven": "mvn"}
    missing = [package for package, program in for_elasticmq.items() if shutil.which(program) is None]
    packages = [*missing_tools(), *missing]
    if not packages:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise RealNodeUnavailable(
            f"missing packages {' '.join(packages)}, and they can only be installed as root on Debian"
        )
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        command = ["apt-get", "--quiet", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RealNodeUnavailable(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")


def unavailable_reason() -> str | None:
    """Why this machine cannot run the real node, as far as can be known without a try; None when nothing speaks against it."""
    if not sys.platform.startswith("linux"):
        return "it needs Linux"
    if os.geteuid() != 0:
        return "it needs root"
    if packages := missing_tools():
        return f"missing packages: {' '.join(packages)} (python -m testbed install-tools)"
    if not _may_mount():
        return "this process may not mount file systems"
    return None


def start(
    cluster: Cluster,
    *,
    wait_seconds: float = 100,
    kubelet_settings: Mapping[str, Any] | None = None,
    reaches: str | None = None,
) -> RealNode:
    """Adds the real node and waits until it is Ready: two seconds, once images are made.

    It has the label `kjr.test/real=1` and a NoSchedule taint of the same name; manifests.on_real_node says what a pod
    needs. `kubelet_settings` are fields of its KubeletConfiguration, instead of ours; `reaches` is the network that pods reach
    over the bridge (see nodeconfig.network). Waits up to `wait_seconds` for
    another real node on this machine to end. Raises RealNodeUnavailable where the machine does not allow it, and
    apiclient.NotReadyError when it should have worked.
    """
    if reason := unavailable_reason():
        raise RealNodeUnavailable(reason)
    _claim(cluster, wait_seconds)
    node = RealNode(cluster)
    try:
        noderemains.make_cgroups()
        _start_containerd(cluster, reaches)
        _start_kubelet(cluster, kubelet_settings or {})
    except BaseException as error:
        with contextlib.suppress(RuntimeError):
            node.stop()
            noderemains.remove(NODE_DIR)
        if isinstance(error, (OSError, apiclient.NotReadyError)) and _is_refusal(error):
            raise RealNodeUnavailable(str(error)) from error
        raise
    return node


def attach(cluster: Cluster) -> RealNode:
    """The real node that another process added to this cluster. Raises FileNotFoundError when it has none."""
    if "containerd" not in cluster.components():
        raise FileNotFoundError(f"the cluster {cluster.name} has no real node")
    return RealNode(cluster)


def clean() -> bool:
    """Removes what a killed real node left on the machine; False when there is nothing or it is in use."""
    if not NODE_DIR.exists():
        return False
    with cache.file_lock(LOCK):
        if _owner_is_alive():
            return False
        noderemains.remove(NODE_DIR)
    return True


# -- one node per machine ---------------------------------------------------------------------------------------------


def _claim(cluster: Cluster, wait_seconds: float) -> None:
    """Makes the node's folder ours, after removing what a dead owner left."""
    deadline = time.monotonic() + wait_seconds
    while True:
        with cache.file_lock(LOCK):
            if not _owner_is_alive():
                noderemains.remove(NODE_DIR)
                NODE_DIR.mkdir(mode=0o700, parents=True)
                _write_owner(cluster, ProcessId.of(os.getpid()))
                return
        if time.monotonic() > deadline:
            raise RealNodeUnavailable(f"another real node runs on this machine: {_OWNER.read_text()}")
        time.sleep(_BUSY_POLL_SECONDS)


def _write_owner(cluster: Cluster, process: ProcessId) -> None:
    """First the starting process stands for the node, then containerd, which may outlive it."""
    text = json.dumps({"cluster": cluster.name, "process": asdict(process)})
    temporary = _OWNER.with_suffix(".new")
    temporary.write_text(text)
    temporary.replace(_OWNER)


def _owner_is_alive() -> bool:
    try:
        owner: dict[str, Any] = json.loads(_OWNER.read_text())
    except (FileNotFoundError, ValueError):
        return False
    return ProcessId.from_json(owner["process"]).is_alive()


# -- the two daemons --------------------------------------------------------------------------------------------------


def _start_containerd(cluster: Cluster, reaches: str | None) -> None:
    cni_bin_dir = _cni_bin_dir()
    assert cni_bin_dir is not None, "checked by unavailable_reason"
    (NODE_DIR / "net.d").mkdir()
    (NODE_DIR / "net.d" / "10-kjr.conflist").write_text(nodeconfig.network(NODE_DIR, reaches=reaches))
    toml = nodeconfig.containerd_toml(NODE_DIR, cni_bin_dir=cni_bin_dir, snapshotter=_snapshotter())
    (NODE_DIR / "containerd.toml").write_text(toml)
    helper = cluster.launcher.layout.bin_dir / "helper"
    archives = images.write_all(NODE_DIR / "images", helper=helper)
    cluster.launcher.spawn("containerd", ["containerd", "--config", str(NODE_DIR / "containerd.toml")])
    _write_owner(cluster, cluster.launcher.record.processes["containerd"])

    def answers() -> bool:
        return subprocess.run([*_ctr(), "version"], capture_output=True, check=False).returncode == 0

    cluster.launcher.wait_until("containerd", answers, _READY_LIMIT_SECONDS)
    for archive in archives:
        _import(archive)


def _ctr() -> list[str]:
    return ["ctr", "--address", str(nodeconfig.socket(NODE_DIR)), "--namespace", "k8s.io"]


def _import(archive: Path) -> None:
    done = subprocess.run([*_ctr(), "images", "import", str(archive)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise apiclient.NotReadyError(f"containerd refused {archive.name}: {done.stderr.strip()}")


def _start_kubelet(cluster: Cluster, settings: Mapping[str, Any]) -> None:
    port = processes.free_ports(["kubelet"])["kubelet"]
    (NODE_DIR / "kubelet.json").write_text(nodeconfig.kubelet(NODE_DIR, port=port, settings=settings))
    argv = [
        str(cluster.launcher.layout.bin_dir / "kubelet"),
        f"--config={NODE_DIR / 'kubelet.json'}",
        f"--kubeconfig={cluster.kubeconfig('kubelet')}",
        f"--hostname-override={config.REAL_NODE_NAME}",
        f"--root-dir={NODE_DIR / 'kubelet'}",
        f"--cert-dir={NODE_DIR / 'kubelet' / 'pki'}",
        f"--node-labels={manifests.REAL_NODE_KEY}=1",
    ]
    cluster.launcher.spawn("kubelet", argv)
    call = cluster.api()

    def ready() -> bool:
        answer = call("GET", f"/api/v1/nodes/{config.REAL_NODE_NAME}")
        return answer.status == 200 and manifests.is_usable(answer.body)

    try:
        cluster.launcher.wait_until("the real node", ready, _READY_LIMIT_SECONDS)
    except apiclient.NotReadyError as error:
        raise apiclient.NotReadyError(f"{error}\nkubelet: {cluster.launcher.log_tail('kubelet')}") from error


# -- the machine ------------------------------------------------------------------------------------------------------


def _cni_bin_dir() -> Path | None:
    return next((folder for folder in _CNI_BIN_DIRS if (folder / "bridge").exists()), None)


def _is_static(program: Path) -> bool:
    """Debian's plain busybox package puts a dynamic program in the same place; it cannot run in an empty image."""
    try:
        with program.open("rb") as file:
            return b"ld-linux" not in file.read(4096)
    except OSError:
        return False


def _may_mount() -> bool:
    """A mount namespace of its own needs the same right; tried in a child, so that ours stays."""
    code = f"import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare({_CLONE_NEWNS}) != 0)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def _snapshotter() -> str:
    """Overlays cannot be stacked on an overlay, which is what the root of a container usually is."""
    best = ("", "")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, point, kind, *_ = line.split()
        if NODE_DIR.is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, kind)
    return "native" if best[1] == "overlay" else "overlayfs"


def _is_refusal(error: BaseException) -> bool:
    text = str(error).lower()
    return any(refusal in text for refusal in _REFUSALS)

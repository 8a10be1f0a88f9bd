"""Removes a real node and all that it leaves on the machine: containers, mounts, network, cgroups, links.

It works from what it finds on the machine, not from a record, so it also cleans up after a killed node.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from testbed import cache, config, nodeconfig
from testbed.launch import Launcher
from testbed.nodeconfig import LOCK, NODE_DIR

_CGROUP_ROOT = Path("/sys/fs/cgroup")
_CNI_RESULTS = Path("/var/lib/cni/results")
_LOG_LINKS = Path("/var/log/containers")
_LIMIT_SECONDS = 15


def stop(launcher: Launcher) -> None:
    """Removes the real node from its cluster, and all that it made from the machine; without a real node, does nothing."""
    if "containerd" not in launcher.record.processes:
        return
    with contextlib.suppress(OSError, RuntimeError):  # the API server may be down
        launcher.api()("DELETE", f"/api/v1/nodes/{config.REAL_NODE_NAME}").require(200, 404)
    launcher.end(["kubelet"], grace_seconds=0)
    _delete_containers(NODE_DIR)
    with cache.file_lock(LOCK):  # once containerd has ended, another start may claim the folder
        launcher.end(["containerd"], grace_seconds=5)
        remove(NODE_DIR)


def _delete_containers(node_dir: Path) -> None:
    """Deletes the containers through containerd, so that its shims end too. The kubelet must be gone, or it makes new ones."""
    ctr = ["ctr", "--address", str(nodeconfig.socket(node_dir)), "--connect-timeout", "2s", "--namespace", "k8s.io"]
    try:
        listing = subprocess.run([*ctr, "tasks", "list", "-q"], capture_output=True, text=True, timeout=10, check=False)
        if tasks := listing.stdout.split():
            command = [*ctr, "tasks", "delete", "--force", *tasks]
            subprocess.run(command, capture_output=True, timeout=60, check=False)
    except (subprocess.TimeoutExpired, FileNotFoundError):
        pass  # `remove` kills them one by one


def remove(node_dir: Path) -> None:
    """Ends and deletes everything below `node_dir`, and the node's traces elsewhere.

    Kubelet and containerd must be gone. Raises RuntimeError when something cannot be removed.
    """
    _kill_shims(node_dir)
    _kill_processes_of_cgroups()
    _unmount(node_dir)
    if shutil.which("ip"):
        subprocess.run(["ip", "link", "delete", nodeconfig.BRIDGE], capture_output=True, check=False)
    for result in _CNI_RESULTS.glob("*"):
        if str(node_dir) in result.read_text(errors="replace"):
            result.unlink(missing_ok=True)
    for link in _LOG_LINKS.glob("*.log"):
        if link.is_symlink() and link.readlink().is_relative_to(node_dir):
            link.unlink(missing_ok=True)
    _remove_cgroups()
    shutil.rmtree(node_dir, ignore_errors=True)


def make_cgroups() -> None:
    """The kubelet insists that its root cgroup exists, in every hierarchy of cgroup v1. Raises OSError."""
    for top in _hierarchies():
        (top / nodeconfig.CGROUP.strip("/")).mkdir(exist_ok=True)


def _hierarchies() -> Iterator[Path]:
    if (_CGROUP_ROOT / "cgroup.controllers").exists():  # version 2
        yield _CGROUP_ROOT
        return
    for path in _CGROUP_ROOT.iterdir():
        if path.is_dir() and not path.is_symlink():
            yield path


def _cgroups() -> list[Path]:
    """Ours, the deepest first."""
    found = []
    for top in _hierarchies():
        own = top / nodeconfig.CGROUP.strip("/")
        if own.is_dir():
            found += [own, *(path for path in own.rglob("*") if path.is_dir())]
    return sorted(found, key=lambda path: -len(path.parts))


def _kill_processes_of_cgroups() -> None:
    deadline = time.monotonic() + _LIMIT_SECONDS
    while pids := {pid for group in _cgroups() for pid in _pids(group)}:
        for pid in pids:
            _kill(pid)
        if time.monotonic() > deadline:
            raise RuntimeError(f"container processes outlived SIGKILL: {sorted(pids)}")
        time.sleep(0.05)


def _pids(group: Path) -> list[int]:
    try:
        return [int(pid) for pid in (group / "cgroup.procs").read_text().split()]
    except OSError:  # removed meanwhile
        return []


def _kill_shims(node_dir: Path) -> None:
    address = str(nodeconfig.socket(node_dir))
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            argv = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "containerd-shim" in argv[0] and address in argv:
            _kill(int(folder.name))


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _mounts_below(folder: Path) -> list[str]:
    """The innermost first: /proc/mounts lists them in the order of mounting."""
    points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return [point for point in reversed(points) if Path(point).is_relative_to(folder)]


def _unmount(node_dir: Path) -> None:
    for point in _mounts_below(node_dir):
        subprocess.run(["umount", "--lazy", point], capture_output=True, check=False)
    if left := _mounts_below(node_dir):  # deleting through a mount would delete what is mounted
        raise RuntimeError(f"cannot unmount {left}")


def _remove_cgroups() -> None:
    deadline = time.monotonic() + _LIMIT_SECONDS
    while groups := _cgroups():
        for group in groups:
            with contextlib.suppress(OSError):  # a process in it is not quite gone yet
                group.rmdir()
        if time.monotonic() > deadline:
            raise RuntimeError(f"cannot remove cgroups {[str(group) for group in groups]}")
        time.sleep(0.02)

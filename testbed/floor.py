"""The upper bound for the product: what plain client-go reaches on the same cluster and machine, at the same time."""

import json
import resource
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from testbed.cluster import Cluster

_EXTRA_SECONDS = 30  # for the client to give up by itself first, with a better message


class FloorError(RuntimeError):
    """The floor client ended with an error; the message is its output."""


@dataclass(frozen=True)
class Quantiles:
    """Latencies in seconds; all zero where nothing was measured."""

    p50: float
    p95: float
    p99: float
    max: float


@dataclass(frozen=True)
class FloorResult:
    """One run. Requests are those of all clients in that time, as the API server counted them."""

    profile: str
    jobs: int
    creators: int
    suspended: bool
    seconds: float
    jobs_per_second: float
    creates_per_second: float
    create_seconds: Quantiles
    pod_seconds: Quantiles
    job_seconds: Quantiles
    watches_opened: int
    watch_events: int
    requests: Mapping[str, float]
    requests_per_job: float
    cpu_seconds: Mapping[str, float]
    rss_megabytes: Mapping[str, float]


def run(
    cluster: Cluster,
    *,
    jobs: int = 1000,
    creators: int = 32,
    suspended: bool = False,
    watch_pods: bool = True,
    namespace: str = "floor",
    timeout_seconds: float = 600,
) -> FloorResult:
    """Creates one-pod Jobs, `creators` at a time, and waits until all are Complete.

    With `suspended` it only creates them, so nothing runs. Raises FloorError.
    """
    before = {name: cluster.usage(name) for name in cluster.components()}
    children_before = _children_cpu_seconds()
    command = [
        str(cluster.launcher.layout.bin_dir / "floor"),
        f"-kubeconfig={cluster.kubeconfig()}",
        f"-namespace={namespace}",
        f"-jobs={jobs}",
        f"-creators={creators}",
        f"-suspended={str(suspended).lower()}",
        f"-watch-pods={str(watch_pods).lower()}",
        f"-timeout={timeout_seconds:g}s",
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout_seconds + _EXTRA_SECONDS, check=False
    )
    if done.returncode != 0:
        raise FloorError(done.stderr.strip())
    after = {name: cluster.usage(name) for name in cluster.components()}
    cpu_seconds = {name: round(after[name].cpu_seconds - used.cpu_seconds, 2) for name, used in before.items()}
    cpu_seconds["floor"] = round(_children_cpu_seconds() - children_before, 2)
    return _parse(
        json.loads(done.stdout),
        profile=cluster.launcher.record.profile,
        cpu_seconds=cpu_seconds,
        rss_megabytes={name: round(used.rss_megabytes) for name, used in after.items()},
    )


def _parse(
    line: dict[str, Any], *, profile: str, cpu_seconds: dict[str, float], rss_megabytes: dict[str, float]
) -> FloorResult:
    line |= {key: Quantiles(**line[key]) for key in ("create_seconds", "pod_seconds", "job_seconds")}
    return FloorResult(profile=profile, cpu_seconds=cpu_seconds, rss_megabytes=rss_megabytes, **line)


def _children_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime

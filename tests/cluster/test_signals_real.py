"""One row per class of failing signals that a real kubelet with containerd and runc can produce.

`test_signals_kwok.py` has the other classes. There are no evictions for disk or memory pressure or ephemeral storage here: the
kubelet's eviction manager finds no file system to watch on a small virtual machine.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from testbed import config
from testbed.cluster import Cluster
from testbed.realnode import RealNode
from tests.cluster.conftest import running_product
from tests.support import provocations, signals
from tests.support.kubernetes import install
from tests.support.postgres import Server
from tests.support.registry import Registry
from tests.support.sightings import Sightings, Signal, condition, failed, terminated, waiting
from tests.support.signals import Bed, Outcome, Row

log = logging.getLogger(__name__)
pytestmark = [pytest.mark.cluster, pytest.mark.realnode, pytest.mark.timeout(300)]

REAL: dict[str, Any] = {
    "image": "localhost/busybox:1",
    "node_selector": {"kjr.test/real": "1"},
    "tolerations": [{"key": "kjr.test/real", "operator": "Exists"}],
    "stop_grace_seconds": 1,
}
IMAGE, CONFIG, REGISTRY, VOLUME = 3.0, 3.1, 3.2, 3.3
PULL = waiting("ErrImagePull", "ImagePullBackOff")
NODE = "127.0.0.1"


def shell(text: str) -> list[str]:
    return ["sh", "-c", text]


def config_error(saying: str) -> Signal:
    """The kubelet says what is missing; a busy one says first that it has not heard of the namespace's secrets yet."""
    return waiting("CreateContainerConfigError", saying=saying)


ROWS = (
    # --- images; the repository's name says to the registry of the test what to answer ---
    Row(
        name="tag missing",
        spec={"image": "refuse-404"},
        signal=PULL,
        reason="ImageNotFound",
        cause="permanent",
        rule="pull-not-found",
        says=("container main", "does not exist", "refuse-404:1", "Check the name and the tag"),
        grace_seconds=IMAGE,
    ),
    Row(
        name="unauthorized",
        spec={"image": "refuse-401"},
        signal=PULL,
        reason="ImageUnauthorized",
        cause="permanent",
        rule="pull-unauthorized",
        says=("container main", "refuse-401:1", "pull secret"),
        grace_seconds=IMAGE,
    ),
    Row(
        name="registry down for good",
        spec={"image": "refuse-503"},
        signal=PULL,
        reason="RegistryUnavailable",
        cause="infrastructure",
        rule="pull-registry-down",
        says=("container main", "503"),
        grace_seconds=REGISTRY,
    ),
    Row(
        name="rate limited for good",
        spec={"image": "refuse-429"},
        signal=PULL,
        reason="RegistryRateLimited",
        cause="infrastructure",
        rule="pull-rate-limited",
        says=("limit on image pulls", "429"),
        grace_seconds=REGISTRY,
    ),
    Row(
        name="wrong platform",
        spec={"image": "other-cpu"},
        signal=PULL,
        reason="ImagePlatform",
        cause="permanent",
        rule="pull-platform",
        says=("container main", f"node {NODE}", "Build it for that platform"),
        grace_seconds=IMAGE,
    ),
    # --- configuration ---
    Row(
        name="secret missing",
        spec={"secrets": [{"env": "TOKEN", "name": "no-such-secret", "key": "k"}]},
        signal=config_error("no-such-secret"),
        reason="ConfigMissing",
        cause="permanent",
        rule="config-missing",
        says=("Container main", "no-such-secret", "Create it"),
        grace_seconds=CONFIG,
    ),
    Row(
        name="key missing",
        spec={"secrets": [{"env": "TOKEN", "name": "present", "key": "no-such-key"}]},
        signal=config_error("no-such-key"),
        reason="ConfigMissing",
        cause="permanent",
        rule="config-missing",
        says=("Container main", "no-such-key", "correct the name"),
        grace_seconds=CONFIG,
    ),
    Row(
        name="volume's configuration missing",
        spec={"volumes": [{"name": "conf", "mount_path": "/conf", "config_map": "no-such-map"}]},
        signal=None,
        event=("FailedMount", "no-such-map"),
        reason="ConfigMissing",
        cause="permanent",
        rule="mount-config-missing",
        says=("mounts", "no-such-map", "Create it"),
        grace_seconds=CONFIG,
    ),
    Row(
        name="claim missing",
        spec={"volumes": [{"name": "data", "mount_path": "/data", "persistent_volume_claim": "no-such-claim"}]},
        signal=condition("PodScheduled", "False"),
        reason="VolumeMissing",
        cause="permanent",
        rule="claim-missing",
        says=("no-such-claim", "Create the claim"),
        grace_seconds=VOLUME,
    ),
    Row(
        name="runs as root",
        script={"non-root": "1"},
        # The signal that is reported first decides, and then the pod is gone: the other may never be reported.
        signal=waiting("CreateContainerConfigError"),
        event=("Failed", "runAsNonRoot"),
        reason="SecurityPolicy",
        cause="permanent",
        rule="runs-as-root",
        says=("Container main", "run as root", "numeric user"),
    ),
    # --- containers that cannot start, or ended ---
    Row(
        name="command missing",
        spec={"command": ["/no/such/program"]},
        signal=terminated,
        reason="CommandNotFound",
        cause="permanent",
        rule="start-command-not-found",
        says=("container main", "/no/such/program", "Check its spelling"),
    ),
    Row(
        name="command not executable",
        spec={"command": ["/etc/passwd"]},
        signal=terminated,
        reason="CommandNotExecutable",
        cause="permanent",
        rule="start-command-not-executable",
        says=("container main", "/etc/passwd", "chmod +x"),
    ),
    Row(
        name="exec format",
        spec={"command": ["/bin/badformat"]},
        signal=terminated,
        reason="WrongArchitecture",
        cause="permanent",
        rule="loader-architecture",
        says=("container main", "exec format error", f"node {NODE}"),
        exit_code=1,
    ),
    Row(
        name="exit 3",
        spec={"command": shell("echo no such table; exit 3")},
        signal=terminated,
        reason="ApplicationExit",
        cause="application",
        rule="command-exit",
        says=("Container main exited with code 3", "no such table"),
        exit_code=3,
    ),
    Row(
        name="shell finds no command",
        spec={"command": shell("no-such-tool")},
        signal=terminated,
        reason="ApplicationExit",
        cause="application",
        rule="command-exit-127",
        says=("Container main", "127", "no-such-tool"),
        exit_code=127,
    ),
    Row(
        name="segmentation fault",
        spec={"command": shell("sh -c 'kill -SEGV $$'; exit $?")},
        signal=terminated,
        reason="KilledBySignal",
        cause="application",
        rule="killed-by-signal",
        says=("Container main", "SIGSEGV", "139"),
        exit_code=139,
    ),
    Row(
        name="out of memory",
        spec={
            "command": shell("x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo $x | wc -c"),
            "resources": {"memory": "32Mi"},
        },
        signal=terminated,
        reason="OutOfMemory",
        cause="application",
        rule="oom-killed",
        says=("Container main", "more memory than its limit", "Raise resources.memory"),
        exit_code=137,
    ),
    Row(
        name="init container failed",
        script={"init-command": "echo cannot reach db; exit 4"},
        signal=terminated,
        reason="OtherContainerFailed",
        cause="infrastructure",
        rule=None,
        says=("Container setup exited with code 4", "not the job's own container", "cannot reach db"),
    ),
    Row(
        name="failed next to a sidecar",
        spec={"command": shell("exit 5")},
        script={"sidecar-command": "trap 'exit 0' TERM; while true; do sleep 0.1; done"},
        signal=terminated,
        reason="ApplicationExit",
        cause="application",
        rule="command-exit",
        says=("Container main exited with code 5",),
        exit_code=5,
    ),
    # --- deadlines ---
    Row(
        name="run timeout",
        spec={"command": ["sleep", "1000"], "timeouts": {"run_seconds": 3}},
        signal=lambda pod: bool(pod.get("status", {}).get("phase") == "Running"),
        reason="RunTimeout",
        cause="application",
        rule=None,
        says=("run timeout of 3 s",),
        grace_seconds=3,
    ),
    Row(
        name="pod deadline",
        spec={"command": ["sleep", "1000"]},
        script={"pod-deadline": "3"},
        signal=failed,
        reason="DeadlineExceeded",
        cause="application",
        rule="pod-deadline",
        says=("longer than", "Raise the run timeout"),
        exit_code=137,
    ),
    # --- what others do to a running pod ---
    Row(
        name="evicted by the API",
        provoke=provocations.evict,
        spec={"command": provocations.UNTIL_TOLD},
        signal=condition("DisruptionTarget"),
        reason="Disrupted",
        cause="infrastructure",
        rule="disruption",
        says=(f"node {NODE}", "Eviction API", "a new attempt is free"),
        exit_code=143,
    ),
    Row(
        name="preempted",
        provoke=provocations.preempt,
        spec={"command": provocations.UNTIL_TOLD, "resources": {"cpu": provocations.CPU}},
        signal=condition("DisruptionTarget"),
        reason="Preempted",
        cause="infrastructure",
        rule="disruption-preempted",
        says=(f"node {NODE}", "higher priority", "a new attempt is free"),
        exit_code=143,
    ),
    Row(
        name="pod deleted by somebody",
        provoke=provocations.delete_pod,
        spec={"command": provocations.UNTIL_TOLD},
        signal=failed,
        reason="PodDeleted",
        cause="infrastructure",
        rule=None,
        says=("Somebody deleted the pod",),
        exit_code=143,
    ),
)


@pytest.fixture(scope="module")
def bed(kube_cluster: Cluster, kube_real_node: RealNode, pg_server: Server) -> Iterator[Bed]:
    """The product with short graces, in a namespace whose pods the API server changes as they are annotated."""
    namespace, configs = install(kube_cluster)
    kube_cluster.kubectl("label", "namespace", namespace, "kjr.test/mutate=1")
    kube_cluster.kubectl("create", "secret", "generic", "present", "-n", namespace, "--from-literal=other=1")
    kube_cluster.apply(config.MUTATIONS)
    running = running_product(
        kube_cluster,
        pg_server,
        installed=(namespace, configs),
        image_grace_seconds=IMAGE,
        config_grace_seconds=CONFIG,
        registry_grace_seconds=REGISTRY,
        volume_grace_seconds=VOLUME,
        sweep_seconds=0.2,
        cleanup_delay_seconds=2,
    )
    with running as product, Sightings(kube_cluster) as sightings:
        yield Bed(
            cluster=kube_cluster,
            product=product,
            sightings=sightings,
            namespace=namespace,
            let_go=provocations.finish,
        )


def with_image(row: Row, registry: Registry) -> Row:
    """Return the row with the image of the registry that behaves as the row's image says."""
    wanted = str(row.spec.get("image", ""))
    if wanted.startswith("refuse-"):
        image = registry.refuse(wanted, int(wanted.removeprefix("refuse-")))
    elif wanted == "other-cpu":
        image = registry.other_cpu(wanted)
    else:
        return row
    return dataclasses.replace(row, spec={**row.spec, "image": image})


@pytest.fixture(scope="module")
def outcomes(bed: Bed) -> dict[str, Outcome]:
    """What became of all rows, which ran at once."""
    with Registry() as registry:
        rows = [with_image(row, registry) for row in ROWS]
        return signals.run(bed, rows, base=REAL, timeout_seconds=150)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_signal_class(row: Row, outcomes: dict[str, Outcome]) -> None:
    log.info("%s: verdict %.2f s after the signal, ours %.2f s", row.name, *signals.check(row, outcomes[row.name]))

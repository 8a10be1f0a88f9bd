"""A killed real node leaves containers, mounts and a bridge; `clean` removes them.

It is a separate module because a machine has room for one real node at a time.
"""

import json
from pathlib import Path

import pytest

from testbed import apiclient, nodeconfig, noderemains, realnode
from testbed.processes import ProcessId
from tests.testbed.children import python

KILLED = """
import json, sys, time
from testbed import cluster, manifests, realnode
kube = cluster.start(nodes=0)
realnode.start(kube)
kube.api()("POST", "/apis/batch/v1/namespaces/default/jobs", manifests.job(
    "long", container={"command": ["sleep", "1000"]}, pod=manifests.on_real_node({"hostNetwork": False}))).require(201)
kube.kubectl("wait", "--for=condition=ready", "pod", "--selector=job-name=long", "--timeout=60s")
print(json.dumps([kube.pid("containerd"), kube.pid("kubelet")]), flush=True)
time.sleep(1000)
"""


@pytest.mark.cluster
@pytest.mark.realnode
def test_what_a_killed_node_leaves_is_removed(kube_programs: None) -> None:
    if reason := realnode.unavailable_reason():
        pytest.skip(f"no real node on this machine: {reason}")
    with python(KILLED) as parent:
        daemons = [ProcessId.of(pid) for pid in json.loads(parent.readline())]
        assert realnode.clean() is False, "it is in use"
    apiclient.wait_until("daemons gone", lambda: not any(each.is_alive() for each in daemons), limit_seconds=10)
    assert noderemains._mounts_below(nodeconfig.NODE_DIR)
    assert realnode.clean() is True
    assert not noderemains._mounts_below(nodeconfig.NODE_DIR)
    assert not noderemains._cgroups()
    assert not nodeconfig.NODE_DIR.exists()
    assert nodeconfig.BRIDGE not in Path("/proc/net/dev").read_text()

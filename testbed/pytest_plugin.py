"""pytest fixtures of the test bed. A conftest.py enables them by importing them, with the hook, for all its folders.

`kube_cluster` is one cluster for the whole session: a start costs seconds, a namespace milliseconds. A test that breaks
components starts its own instead. Where the machine lacks a tool the test is skipped with the reason;
`$KJR_TESTBED_REQUIRED` turns such a skip into a failure, for a CI that must not lose its cluster tests silently.
"""

import contextlib
import os
import secrets
from collections.abc import Iterator
from typing import NoReturn

import pytest

from testbed import build, cluster, elasticmq, realnode

REQUIRED_VARIABLE = "KJR_TESTBED_REQUIRED"
_SHARED = pytest.StashKey[cluster.Cluster]()
_SHARED_SQS = pytest.StashKey[elasticmq.ElasticMQ]()


def unavailable(reason: str) -> NoReturn:
    if os.environ.get(REQUIRED_VARIABLE):
        pytest.fail(reason)
    pytest.skip(reason)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Builds before the first test, not in it: a cold build takes longer than any test may."""
    wanted = any("kube_programs" in getattr(item, "fixturenames", ()) for item in session.items)
    if not wanted or session.config.option.collectonly:
        return
    capture = session.config.pluginmanager.get_plugin("capturemanager")
    shown = capture.global_and_fixture_disabled() if capture else contextlib.nullcontext()
    with shown, contextlib.suppress(build.GoMissing):  # the fixture says so
        build.ensure_built()


@pytest.fixture(scope="session")
def kube_programs() -> None:
    """The built programs; asked for by tests that start clusters of their own."""
    try:
        build.ensure_built()
    except build.GoMissing as error:
        unavailable(str(error))


@pytest.fixture(scope="session")
def kube_cluster(kube_programs: None, request: pytest.FixtureRequest) -> cluster.Cluster:
    """A shared cluster in profile `raised` with an audit log; use a namespace of your own.

    It hangs on the run, not on the fixture, since every conftest that imports the fixture makes another one of it.
    """
    config = request.config
    if _SHARED not in config.stash:
        config.stash[_SHARED] = cluster.start(audit=True)
        config.add_cleanup(config.stash[_SHARED].stop)
    return config.stash[_SHARED]


@pytest.fixture(scope="session")
def sqs_server(request: pytest.FixtureRequest) -> elasticmq.ElasticMQ:
    """A shared ElasticMQ; use a queue name of your own. Like the cluster it hangs on the run."""
    config = request.config
    if _SHARED_SQS not in config.stash:
        try:
            server = elasticmq.ElasticMQ()
            config.add_cleanup(server.close)
            server.start()
        except elasticmq.ElasticMQUnavailable as error:
            unavailable(str(error))
        config.stash[_SHARED_SQS] = server
    return config.stash[_SHARED_SQS]


@pytest.fixture
def kube_namespace(kube_cluster: cluster.Cluster) -> str:
    """A fresh namespace of the shared cluster. It stays: deleting one takes longer than the cluster lives."""
    name = f"test-{secrets.token_hex(4)}"
    kube_cluster.create_namespace(name)
    return name


@pytest.fixture(scope="module")
def kube_real_node(kube_cluster: cluster.Cluster) -> Iterator[realnode.RealNode]:
    """The real node of the shared cluster; for a module only, since a machine has room for one and a start is quick.

    It does not rotate logs: on a busy machine that would happen within a test of something else.
    """
    try:
        node = realnode.start(kube_cluster, kubelet_settings={"containerLogMaxSize": "1Gi"})
    except realnode.RealNodeUnavailable as error:
        unavailable(f"no real node on this machine: {error}")
    with node:
        yield node

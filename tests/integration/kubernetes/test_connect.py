"""From a kubeconfig or a pod's service account to a request that the API server accepts, over real TLS."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import json
import ssl
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiohttp import web

from kube_job_runner.adapters import kubernetes
from kube_job_runner.adapters.kubernetes.client import Client
from kube_job_runner.adapters.kubernetes.credentials import ConfiguredSource
from kube_job_runner.adapters.kubernetes.rest_config import ConnectionConfig, Pem, UserConfig
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.settings import KubernetesEnvironment
from kube_job_runner.settings.groups import ClusterSettings
from tests.support.api_answers import Call, hang
from tests.support.certificates import Authority
from tests.support.fake_apiserver import FakeApiServer
from tests.support.kubernetes import cluster_job, eventually, make_cluster, until_listed


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One certificate authority for the module."""
    return Authority.make(tmp_path_factory.mktemp("ca"))


def kubeconfig(folder: Path, server: str, *, cluster: dict[str, Any], user: dict[str, Any]) -> KubernetesEnvironment:
    """Write a kubeconfig and return an environment that names it."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": user}],
    }
    (folder / "config").write_text(json.dumps(document))
    return KubernetesEnvironment(kubeconfig=str(folder / "config"), variables={"PATH": "/usr/bin:/bin"})


async def answered(environment: KubernetesEnvironment, server: FakeApiServer) -> Call:
    """Ask the server something through a fresh connection and return the request as it arrived."""
    cluster = await kubernetes.connect(ClusterSettings(), environment, namespaces=("default",))
    try:
        assert await cluster.find("default", "x") is None
    finally:
        await cluster.close()
    return server.calls[-1]


@pytest.mark.asyncio
async def test_an_authority_without_key_identifiers_is_trusted(authority: Authority, tmp_path: Path) -> None:
    async with FakeApiServer(ssl_context=authority.server_context()) as server:
        data = base64.b64encode(authority.certificate.read_bytes()).decode()
        environment = kubeconfig(
            tmp_path, server.url, cluster={"certificate-authority-data": data}, user={"token": "abc"}
        )
        call = await answered(environment, server)
    assert call.headers["Authorization"] == "Bearer abc"


@pytest.mark.asyncio
async def test_an_unknown_authority_is_refused(authority: Authority, tmp_path: Path) -> None:
    other = Authority.make(tmp_path / "other")
    async with FakeApiServer(ssl_context=authority.server_context()) as server:
        environment = kubeconfig(
            tmp_path, server.url, cluster={"certificate-authority": str(other.certificate)}, user={"token": "secret"}
        )
        with pytest.raises(TemporaryError, match="certificate"):
            await answered(environment, server)
    assert not server.calls


@pytest.mark.asyncio
async def test_insecure_skip_tls_verify(authority: Authority, tmp_path: Path) -> None:
    async with FakeApiServer(ssl_context=authority.server_context(alternative_names="DNS:elsewhere")) as server:
        environment = kubeconfig(tmp_path, server.url, cluster={"insecure-skip-tls-verify": True}, user={"token": "t"})
        await answered(environment, server)


@pytest.mark.asyncio
async def test_tls_server_name_is_what_the_certificate_is_checked_against(authority: Authority, tmp_path: Path) -> None:
    async with FakeApiServer(ssl_context=authority.server_context(alternative_names="DNS:api.example")) as server:
        trust = {"certificate-authority": str(authority.certificate)}
        with pytest.raises(TemporaryError):
            await answered(kubeconfig(tmp_path, server.url, cluster=trust, user={"token": "t"}), server)
        named = {**trust, "tls-server-name": "api.example"}
        await answered(kubeconfig(tmp_path, server.url, cluster=named, user={"token": "t"}), server)


@pytest.mark.asyncio
@pytest.mark.parametrize("inline", [True, False])
async def test_client_certificate_from_data_or_file(authority: Authority, tmp_path: Path, inline: bool) -> None:
    certificate, key = authority.sign("client")
    if inline:
        user = {
            "client-certificate-data": base64.b64encode(certificate.read_bytes()).decode(),
            "client-key-data": base64.b64encode(key.read_bytes()).decode(),
        }
    else:
        user = {"client-certificate": str(certificate), "client-key": str(key)}
    async with FakeApiServer(ssl_context=authority.server_context(ask_client=True)) as server:
        trust = {"certificate-authority": str(authority.certificate)}
        call = await answered(kubeconfig(tmp_path, server.url, cluster=trust, user=user), server)
        assert "Authorization" not in call.headers
        with pytest.raises(TemporaryError):
            await answered(kubeconfig(tmp_path, server.url, cluster=trust, user={"token": "t"}), server)


@pytest.mark.asyncio
async def test_basic_auth(server: FakeApiServer, tmp_path: Path) -> None:
    environment = kubeconfig(tmp_path, server.url, cluster={}, user={"username": "me", "password": "p:w"})
    call = await answered(environment, server)
    assert base64.b64decode(call.headers["Authorization"].removeprefix("Basic ")) == b"me:p:w"


@pytest.mark.asyncio
async def test_a_path_before_the_api_is_kept(tmp_path: Path) -> None:
    seen: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.json_response({"kind": "Status", "reason": "NotFound"}, status=404)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/k8s/clusters/c-1/"
    cluster = await kubernetes.connect(
        ClusterSettings(), kubeconfig(tmp_path, url, cluster={}, user={}), namespaces=("default",)
    )
    await cluster.find("default", "x")
    await cluster.close()
    await runner.cleanup()
    assert seen == ["/k8s/clusters/c-1/apis/batch/v1/namespaces/default/jobs/x"]


@pytest.mark.asyncio
async def test_proxy_url_is_asked_for_the_server(server: FakeApiServer, tmp_path: Path) -> None:
    environment = kubeconfig(tmp_path, "http://api.example", cluster={"proxy-url": server.url}, user={"token": "t"})
    await answered(environment, server)
    assert server.calls[0].headers["Host"] == "api.example"


@pytest.mark.asyncio
async def test_in_cluster_with_a_token_that_is_rotated(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first\n")
    (tmp_path / "ca.crt").write_bytes(authority.certificate.read_bytes())
    async with FakeApiServer(ssl_context=authority.server_context(), tokens={"first"}) as server:
        environment = KubernetesEnvironment(
            home=tmp_path,
            service_host="127.0.0.1",
            service_port=server.url.rpartition(":")[2],
            service_account_dir=tmp_path,
        )
        cluster = await kubernetes.connect(ClusterSettings(), environment, namespaces=("default",))
        await cluster.create(cluster_job(1))
        server.tokens = {"second"}
        (tmp_path / "token").write_text("second")
        await cluster.create(cluster_job(2))  # within the minute: the 401 makes it read again
        async for _ in cluster.watch_pods():
            break
        await cluster.close()
    assert [call.headers["Authorization"] for call in server.of("create")] == [
        "Bearer first",
        "Bearer first",
        "Bearer second",
    ]


@pytest.mark.asyncio
async def test_a_token_that_stays_refused_costs_two_requests_and_is_temporary(server: FakeApiServer) -> None:
    server.tokens = {"another"}
    cluster = make_cluster(server.url)
    with pytest.raises(TemporaryError) as caught:
        await cluster.create(cluster_job())
    assert caught.value.reason == "Unauthorized"
    assert len(server.calls) == 2
    await cluster.close()


@pytest.mark.asyncio
async def test_streams_renew_their_token_as_well(server: FakeApiServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first")
    server.tokens = {"first"}
    server.logs["p"] = [b"line"]
    source = ConfiguredSource(UserConfig(token_file=tmp_path / "token"), monotonic=time.monotonic)
    cluster = make_cluster(server.url, source=source)
    await cluster.find("default", "x")
    server.tokens = {"second"}
    (tmp_path / "token").write_text("second")
    chunks = cluster.logs("default", "p", container="main", follow=True)
    assert [chunk async for chunk in chunks] == [b"line"]
    server.tokens = {"third"}
    with pytest.raises(TemporaryError) as caught:
        async for _ in cluster.logs("default", "p", container="main", follow=True):
            pass
    assert caught.value.reason == "Unauthorized"
    await cluster.close()


@pytest.mark.asyncio
async def test_a_rotated_authority_is_read_when_the_old_one_does_not_verify(
    authority: Authority, tmp_path: Path
) -> None:
    old = Authority.make(tmp_path / "old")
    trusted = tmp_path / "ca.crt"
    trusted.write_bytes(old.certificate.read_bytes())
    async with FakeApiServer(ssl_context=authority.server_context()) as server:
        config = ConnectionConfig(
            server=server.url, user=UserConfig(token="t"), certificate_authority=Pem(file=trusted), origin="test"
        )
        client = Client(
            config, ConfiguredSource(config.user, monotonic=time.monotonic), concurrency=1, monotonic=time.monotonic
        )
        with pytest.raises(TemporaryError):
            await client.request("GET", "/api/v1/pods", action="test")
        trusted.write_bytes(authority.certificate.read_bytes())
        assert (await client.request("GET", "/api/v1/pods", action="test")).ok
        await client.close()


@contextlib.contextmanager
def in_a_thread(context: ssl.SSLContext) -> Iterator[FakeApiServer]:
    """A server with a loop of its own, which therefore does nothing for the loop of the test."""
    with asyncio.Runner() as runner:
        server = FakeApiServer(ssl_context=context)
        stop = asyncio.Event()
        started = threading.Event()

        async def serve() -> None:
            async with server:
                started.set()
                await stop.wait()

        thread = threading.Thread(target=runner.run, args=(serve(),))
        thread.start()
        assert started.wait(10)
        yield server
        runner.get_loop().call_soon_threadsafe(stop.set)
        thread.join(10)


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_close_leaves_no_connection_behind_even_with_tls(
    authority: Authority, tmp_path: Path, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def run(server: FakeApiServer) -> None:
        trust = {"certificate-authority": str(authority.certificate)}
        cluster = await kubernetes.connect(
            ClusterSettings(),
            kubeconfig(tmp_path, server.url, cluster=trust, user={"token": "t"}),
            namespaces=("default",),
        )
        events = cluster.watch_pods()
        await until_listed(events)
        asking = asyncio.ensure_future(anext(events))
        await eventually(lambda: server.of("watch"))
        server.fail("get", hang())
        finding = asyncio.ensure_future(cluster.find("default", "x"))
        await eventually(lambda: server.of("get"))
        for task in (asking, finding):
            task.cancel()
        await asyncio.wait({asking, finding})
        await events.aclose()
        await cluster.close()

    with warnings.catch_warnings(record=True) as caught, in_a_thread(authority.server_context()) as server:
        warnings.simplefilter("always")
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(run(server))
        gc.collect()
    assert [str(warning.message) for warning in caught if issubclass(warning.category, ResourceWarning)] == []


PLUGIN = """
import json, os, pathlib, sys
state = pathlib.Path(sys.argv[1])
runs = len(list(state.glob("run-*"))) + 1
(state / f"run-{runs}").write_text(os.environ["KUBERNETES_EXEC_INFO"])
print((state / f"answer-{runs}").read_text())
"""


def _plugin(folder: Path, *answers: dict[str, Any], version: str = "client.authentication.k8s.io/v1") -> dict[str, Any]:
    (folder / "plugin.py").write_text(PLUGIN)
    for number, status in enumerate(answers, start=1):
        body = {"apiVersion": version, "kind": "ExecCredential", "status": status}
        (folder / f"answer-{number}").write_text(json.dumps(body))
    return {
        "command": sys.executable,
        "args": [str(folder / "plugin.py"), str(folder)],
        "apiVersion": version,
        "interactiveMode": "Never",
        "provideClusterInfo": True,
        "env": None,
    }


def _runs(folder: Path) -> int:
    return len(list(folder.glob("run-*")))


@pytest.mark.asyncio
async def test_a_plugins_token_that_is_refused_is_renewed_once(server: FakeApiServer, tmp_path: Path) -> None:
    server.tokens = {"good"}
    plugin = _plugin(tmp_path, {"token": "stale"}, {"token": "good"})
    call = await answered(kubeconfig(tmp_path, server.url, cluster={}, user={"exec": plugin}), server)
    assert call.headers["Authorization"] == "Bearer good"
    assert len(server.calls) == 2
    info = json.loads((tmp_path / "run-1").read_text())
    assert info["spec"] == {"interactive": False, "cluster": {"server": server.url}}


@pytest.mark.asyncio
async def test_a_plugins_client_certificate_makes_a_new_tls_context(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.sign("plugin")
    status = {"clientCertificateData": certificate.read_text(), "clientKeyData": key.read_text()}
    expiring = {**status, "expirationTimestamp": datetime.now(UTC).isoformat()}
    plugin = _plugin(tmp_path, expiring, status, version="client.authentication.k8s.io/v1beta1")
    async with FakeApiServer(ssl_context=authority.server_context(ask_client=True)) as server:
        trust = {"certificate-authority": str(authority.certificate)}
        cluster = await kubernetes.connect(
            ClusterSettings(),
            kubeconfig(tmp_path, server.url, cluster=trust, user={"exec": plugin}),
            namespaces=("default",),
        )
        assert await cluster.find("default", "x") is None
        assert await cluster.find("default", "x") is None  # the first certificate has expired: the plugin ran again
        assert await cluster.find("default", "x") is None
        await cluster.close()
    assert _runs(tmp_path) == 2


def test_the_key_of_a_client_certificate_is_never_on_disk(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kube_job_runner.adapters.kubernetes.tls import ClientCertificate, make_context

    certificate, key = authority.sign("disk")
    loaded: list[str] = []
    real = ssl.SSLContext.load_cert_chain

    def spy(context: ssl.SSLContext, path: str, *rest: Any, **options: Any) -> None:
        loaded.append(path)
        real(context, path, *rest, **options)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", spy)
    pair = ClientCertificate(certificate.read_bytes(), key.read_bytes())
    make_context(authority.certificate.read_bytes(), pair)
    monkeypatch.delattr("os.memfd_create", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    make_context(authority.certificate.read_bytes(), pair)
    if sys.platform == "linux":
        assert loaded[0].startswith("/proc/self/fd/")
    assert not Path(loaded[1]).exists()
    assert not list(tmp_path.iterdir())

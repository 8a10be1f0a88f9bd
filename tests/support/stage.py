"""The stage of the fault drills: the whole product on its own real servers, each behind a proxy that can break it.

Every component is a process with its own account in Kubernetes, its own user in PostgreSQL, and its token in a file.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from kube_job_runner.adapters.postgres import embedded
from kube_job_runner.adapters.postgres.embedded import data_directory
from testbed import cluster as clusters
from testbed.elasticmq import ElasticMQ
from tests.support import sqs
from tests.support.certificates import Authority
from tests.support.kubernetes import account, install
from tests.support.postgres import execute, fetch, in_other_loop
from tests.support.product import Product
from tests.support.proxy import Mode, Proxy
from tests.support.slow_writes import SlowWrites

DATABASE = "drills"
TOKEN_SECONDS = 7200


class Stage:
    """Servers, proxies and product; a context manager. Enter it in the main thread: PostgreSQL ends with its starting thread."""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self._stack = contextlib.ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="kjr-drill-"))

    def __enter__(self) -> Stage:
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def _open(self) -> None:
        stack = self._stack
        stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.cluster = stack.enter_context(clusters.start(audit=True, pod_logs=True, nodes=10))
        self.elasticmq = stack.enter_context(ElasticMQ(durable=True))
        self.postgres = embedded.start(self.folder)
        stack.callback(self._stop_postgres)
        in_other_loop(execute(self.postgres.url, f"CREATE DATABASE {DATABASE}"))
        sockets = data_directory.Layout(self.folder).running_sockets()
        assert sockets is not None
        self._database_proxy = stack.enter_context(Proxy(sockets / f".s.PGSQL.{data_directory.PORT}"))
        self._queue_proxy = stack.enter_context(Proxy(self.elasticmq.port))
        self._cluster_port = self.cluster.launcher.layout.ports["kube-apiserver"]
        self.cluster_proxies: dict[str, Proxy] = {}
        """The way to the API server of each component."""
        self._authority = Authority.make(self.folder / "authority")
        self.owner_url = self._database_url(self._database_proxy.port)
        self.product = stack.enter_context(self._product())
        self.product.wait_for(self.product.submit(annotations={"run": "0s", "exit-code": "0"}))  # every component works

    def _stop_postgres(self) -> None:
        self.postgres.stop()  # the one that runs at the end: a drill may have started another

    @staticmethod
    def _database_url(port: int) -> str:
        return f"postgresql://{embedded.USER}@127.0.0.1:{port}/{DATABASE}?sslmode=disable"

    def _product(self) -> Product:
        self.namespace, configs = install(self.cluster)
        self.accounts_namespace = self.namespace.replace("jobs-", "kjr-", 1)
        self.token_files = {name: self.folder / f"{name}.token" for name in configs}
        for name, path in configs.items():
            self.cluster_proxies[name] = self._stack.enter_context(Proxy(self._cluster_port))
            self._through_the_proxy(path, self.token_files[name], self.cluster_proxies[name])
        os.environ.update(self.elasticmq.environment)  # components inherit it; nothing else here talks to AWS
        where = sqs.new_address(self.elasticmq.url)
        in_other_loop(sqs.make(where, max_deliveries=200))
        queue = sqs.settings_of(self.elasticmq, where)
        queue["queue_endpoint"] = f"http://127.0.0.1:{self._queue_proxy.port}"
        return Product(
            database_url=self.owner_url,
            namespace=self.namespace,
            kubeconfigs=configs,
            instance=f"d{secrets.token_hex(3)}",
            max_deliveries=200,
            log_follow_after_seconds=3600,  # a simulated node never ends a log that is followed
            **queue,
            **self._settings,
        )

    def _through_the_proxy(self, path: Path, token_file: Path, proxy: Proxy) -> None:
        """Rewrite a kubeconfig: the server is the proxy's port, which may lead to a slow one, and the token is in a file."""
        config = json.loads(path.read_text())
        cluster = config["clusters"][0]["cluster"]
        cluster["server"] = f"https://127.0.0.1:{proxy.port}"
        authorities = [Path(cluster["certificate-authority"]), self._authority.certificate]
        data = b"".join(each.read_bytes() for each in authorities)
        del cluster["certificate-authority"]
        cluster["certificate-authority-data"] = base64.b64encode(data).decode()
        token_file.write_text(config["users"][0]["user"]["token"])
        config["users"][0]["user"] = {"tokenFile": str(token_file)}
        path.write_text(json.dumps(config))

    def rows(self, statement: str, *arguments: Any) -> list[Any]:
        """Return the rows of a query, as the owner of the database."""
        return in_other_loop(fetch(self.owner_url, statement, *arguments))

    # --- Breaking it ---------------------------------------------------------------------------------------------------

    def stop(self, server: str) -> None:
        """Freeze a server with SIGSTOP: its connections stay open, and nothing is answered."""
        self._signal(server, signal.SIGSTOP)

    def go_on(self, server: str) -> None:
        """Let a frozen server continue."""
        self._signal(server, signal.SIGCONT)

    def _signal(self, server: str, number: int) -> None:
        if server == "kube-apiserver":
            self.cluster.signal(server, number)
        elif server == "elasticmq":
            self.elasticmq.send_signal(number)
        else:
            pids = [self.postgres.pid, *_children(self.postgres.pid)]
            for pid in pids if number != signal.SIGCONT else reversed(pids):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    def set_network(self, server: str, mode: Mode) -> None:
        """Change what the network does between the components and a server."""
        ways = {"postgres": [self._database_proxy], "elasticmq": [self._queue_proxy]}
        for proxy in ways.get(server) or self.cluster_proxies.values():
            proxy.set_mode(mode)

    @contextlib.contextmanager
    def slow_writes(self, *, seconds: float) -> Iterator[SlowWrites]:
        """Let each write of a component to the API server take so long; connections are reset at both ends of this."""
        with SlowWrites(self._cluster_port, self._authority, write_seconds=seconds) as slow:
            self._lead_to(slow.port)
            try:
                yield slow
            finally:
                self._lead_to(self._cluster_port)

    def _lead_to(self, port: int) -> None:
        for proxy in self.cluster_proxies.values():
            proxy.target = port
            proxy.set_mode("reset")
            proxy.set_mode("pass")

    def kill(self, server: str) -> None:
        """Kill a server; what it has acknowledged is on its disk."""
        if server == "kube-apiserver":
            self.cluster.stop_component(server)
        elif server == "elasticmq":
            self.elasticmq.kill()
        else:
            self._signal(server, signal.SIGSTOP)  # so that none forks another meanwhile
            self._signal(server, signal.SIGKILL)
            self.postgres.stop()  # there is nothing left to stop: the data directory is given free

    def start(self, server: str) -> None:
        """Start a killed server on the same data and port; return when it answers."""
        if server == "kube-apiserver":
            self.cluster.start_component(server)
        elif server == "elasticmq":
            self.elasticmq.start()
        else:
            self.postgres = embedded.start(self.folder)

    @contextlib.contextmanager
    def rotating_tokens(self, *, every_seconds: float, missing_seconds: float) -> Iterator[list[int]]:
        """Replace every component's token repeatedly: for a while there is no file, and the old token is invalid.

        Yields a list whose only number counts the rotations. The API server accepts a revoked token for up to 10 s.
        """
        over, count, held = threading.Event(), [0], dict.fromkeys(self.token_files, "")

        def rotate() -> None:
            while not over.is_set():
                for name, path in self.token_files.items():
                    path.unlink(missing_ok=True)
                    self._revoke(held[name])
                over.wait(missing_seconds)
                for name, path in self.token_files.items():
                    held[name], token = self._new_token(name)
                    fresh = path.with_suffix(".new")
                    fresh.write_text(token)
                    fresh.replace(path)
                count[0] += 1
                over.wait(every_seconds - missing_seconds)

        thread = threading.Thread(target=rotate)
        thread.start()
        try:
            yield count
        finally:
            over.set()
            thread.join(30)

    def _new_token(self, component: str) -> tuple[str, str]:
        """Return a Secret of the component's namespace, and a token that is valid as long as the Secret exists."""
        api, namespace = self.cluster.api(), self.accounts_namespace
        name = f"{component}-{secrets.token_hex(4)}"
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
        made = api("POST", f"/api/v1/namespaces/{namespace}/secrets", secret).require(201)
        bound = {"apiVersion": "v1", "kind": "Secret", "name": name, "uid": made["metadata"]["uid"]}
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": TOKEN_SECONDS, "boundObjectRef": bound},
        }
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account(component)}/token"
        return name, str(api("POST", path, request).require(201)["status"]["token"])

    def _revoke(self, secret: str) -> None:
        if secret:
            path = f"/api/v1/namespaces/{self.accounts_namespace}/secrets/{secret}"
            self.cluster.api()("DELETE", path).require(200)


def _children(pid: int) -> list[int]:
    """Return the child processes of a process, and their children."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *_children(child)]
    return found

"""Services, DNS and outgoing addresses for the pods of the test bed's real node.

A Service gets its cluster address on the bridge of the node, and a relay to the pods that it selects. A name server answers
for `NAME.NAMESPACE.svc`. To pods this looks like kube-proxy and CoreDNS. It runs in its own thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, cast

from testbed import nodeconfig
from testbed.cluster import Cluster
from tests.support.loops import end_others

NETWORK = "203.0.113.0/24"  # the API server's range of cluster addresses
NAME_SERVER = "203.0.113.10"  # below the part that it gives out by itself
OUTSIDE = "203.0.113.11"  # stands for a host outside the cluster
_API_SERVICE = "203.0.113.1"
_ROUND_SECONDS = 0.5

Target = tuple[str, int] | str  # a host and its port, or a Unix socket


class ClusterNet:
    """Serves the Services of a cluster while the block lasts.

    `outside` maps ports of OUTSIDE to Unix sockets of this machine; `names` are further names and their addresses.
    """

    def __init__(self, cluster: Cluster, outside: dict[int, str], names: dict[str, str] | None = None) -> None:
        self._cluster = cluster
        self._outside = outside
        self._names = dict(names or {})
        self._relayed: dict[tuple[str, int], list[Target]] = {}
        self._servers: list[asyncio.Server] = []
        self._turn = itertools.count()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="clusternet", daemon=True)

    def __enter__(self) -> Self:
        _ip("link", "add", nodeconfig.BRIDGE, "type", "bridge")
        _ip("addr", "add", f"{nodeconfig.GATEWAY}/24", "dev", nodeconfig.BRIDGE)
        _ip("link", "set", nodeconfig.BRIDGE, "up")
        self._thread.start()
        self._run(self._begin())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._loop.close()
        subprocess.run(["ip", "link", "delete", nodeconfig.BRIDGE], capture_output=True, check=False)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=20)

    async def _begin(self) -> None:
        _address(NAME_SERVER)
        self._datagrams, _ = await self._loop.create_datagram_endpoint(
            lambda: _Names(self._names.get), local_addr=(NAME_SERVER, 53)
        )
        for port, path in self._outside.items():
            await self._serve((OUTSIDE, port), [path])
        api_port = self._cluster.launcher.layout.ports["kube-apiserver"]
        await self._serve((_API_SERVICE, 443), [("127.0.0.1", api_port)])
        self._task = self._loop.create_task(self._follow())

    async def _end(self) -> None:
        self._datagrams.close()
        for server in self._servers:
            server.close()
        await end_others()

    async def _serve(self, where: tuple[str, int], targets: list[Target]) -> None:
        known = where in self._relayed
        self._relayed[where] = targets
        if not known:
            _address(where[0])
            server = await asyncio.start_server(lambda reader, writer: self._relay(where, reader, writer), *where)
            self._servers.append(server)

    async def _follow(self) -> None:
        """Poll Services and pods. A watch would be faster, but needs much more code."""
        call = self._cluster.api()
        while True:
            with contextlib.suppress(OSError, RuntimeError):
                services = await asyncio.to_thread(call, "GET", "/api/v1/services")
                pods = await asyncio.to_thread(call, "GET", "/api/v1/pods")
                for service in services.require(200)["items"]:
                    await self._follow_service(service, pods.require(200)["items"])
            await asyncio.sleep(_ROUND_SECONDS)

    async def _follow_service(self, service: dict[str, Any], pods: list[dict[str, Any]]) -> None:
        spec, metadata = service["spec"], service["metadata"]
        address, selector = spec.get("clusterIP", "None"), spec.get("selector")
        if address == "None" or not selector:
            return
        self._names[f"{metadata['name']}.{metadata['namespace']}.svc"] = address
        chosen = [pod for pod in pods if pod["metadata"]["namespace"] == metadata["namespace"] and _fits(pod, selector)]
        for port in spec["ports"]:
            targets: list[Target] = [
                (pod["status"]["podIP"], _port(pod, port["targetPort"])) for pod in chosen if _is_ready(pod)
            ]
            await self._serve((address, port["port"]), targets)

    async def _relay(self, where: tuple[str, int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        targets = self._relayed[where]
        opened = [writer]
        try:
            if targets:
                target = targets[next(self._turn) % len(targets)]
                above, below = await _open(target)
                opened.append(below)
                await asyncio.gather(_pump(reader, below), _pump(above, writer))
        except (OSError, asyncio.CancelledError):  # a server logs a cancelled relay as its own fault
            pass
        finally:
            for one in opened:
                one.close()


async def _open(target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(target, str):
        return await asyncio.open_unix_connection(target)
    return await asyncio.open_connection(*target)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


def _fits(pod: dict[str, Any], selector: dict[str, str]) -> bool:
    return selector.items() <= pod["metadata"].get("labels", {}).items()


def _is_ready(pod: dict[str, Any]) -> bool:
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))
    return ready and "deletionTimestamp" not in pod["metadata"] and "podIP" in pod["status"]


def _port(pod: dict[str, Any], wanted: str | int) -> int:
    ports = [port for container in pod["spec"]["containers"] for port in container.get("ports", ())]
    return next((int(port["containerPort"]) for port in ports if port.get("name") == wanted), 0) or int(wanted)


class _Names(asyncio.DatagramProtocol):
    """Answers queries for the addresses (A) of known names. Other types get an empty answer, other names NXDOMAIN."""

    def __init__(self, find: Callable[[str], str | None]) -> None:
        self._find = find

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        labels, at = [], 12
        while length := data[at]:
            labels.append(data[at + 1 : at + 1 + length].decode())
            at += 1 + length
        kind = struct.unpack_from("!H", data, at + 1)[0]
        address = self._find(".".join(labels).lower().removesuffix(".cluster.local"))
        answers = 1 if address and kind == 1 else 0
        head = data[:2] + struct.pack("!HHHHH", 0x8580 | (0 if address else 3), 1, answers, 0, 0)
        record = (
            b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 5, 4) + socket.inet_aton(address) if answers and address else b""
        )
        self._transport.sendto(head + data[12 : at + 5] + record, addr)


def _address(address: str) -> None:
    subprocess.run(["ip", "addr", "add", f"{address}/32", "dev", nodeconfig.BRIDGE], capture_output=True, check=False)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)

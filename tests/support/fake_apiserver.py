"""A scripted API server over real HTTP: Jobs and Pods with history, lists in pages, watches, and every fault on demand.

It keeps objects like the real one where the adapter depends on it (uids, resource versions, uid preconditions, 410 after a
compaction, label selectors, bookmarks on request) and misbehaves only when a test says so: `fail(verb, fault, ...)` queues
faults, each for one request of that verb (`create`, `get`, `delete`, `list`, `watch`, `log`).
"""

from __future__ import annotations

import asyncio
import copy
import re
import ssl
import uuid
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from tests.support.api_answers import Call, Fault, drop_content_type, line, open_stream, status

_PATH = re.compile(
    r"^/(?:apis/batch/v1|api/v1)(?:/namespaces/(?P<namespace>[^/]+))?/(?P<resource>jobs|pods|events|nodes)(?:/(?P<name>[^/]+))?(?P<log>/log)?$"
)
_KINDS = {"jobs": ("batch/v1", "Job"), "pods": ("v1", "Pod"), "events": ("v1", "Event"), "nodes": ("v1", "Node")}


@dataclass(kw_only=True)
class Change:
    """One entry of the server's history."""

    version: int
    resource: str
    type: str
    object: dict[str, Any]


@dataclass
class FakeApiServer:
    """The server; `async with` starts and stops it."""

    ssl_context: ssl.SSLContext | None = None
    version: int = 1000
    compacted: int = 0
    objects: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    history: list[Change] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    logs: dict[str, list[bytes]] = field(default_factory=dict)
    tokens: set[str] | None = None
    namespaces: dict[str, str] = field(default_factory=dict)
    """The uids of the namespaces that can be read."""
    lag_version: int | None = None
    """While set, lists show the world as it was at this version."""

    def __post_init__(self) -> None:
        self._faults: dict[str, deque[Fault]] = defaultdict(deque)
        self._changed = asyncio.Condition()
        self.closing = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def __aenter__(self) -> FakeApiServer:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        app.on_response_prepare.append(drop_content_type)
        self._runner = web.AppRunner(app, shutdown_timeout=0.2, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self.ssl_context)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"{'https' if self.ssl_context else 'http'}://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.closing.set()
        async with self._changed:
            self._changed.notify_all()
        assert self._runner is not None
        await self._runner.cleanup()

    # --- What the test does to the world ---

    def fail(self, verb: str, *faults: Fault) -> None:
        """Queue faults for the next requests of a verb."""
        self._faults[verb].extend(faults)

    def pending_faults(self, verb: str) -> int:
        """How many queued faults have not been used."""
        return len(self._faults[verb])

    async def put(self, resource: str, manifest: dict[str, Any]) -> dict[str, Any]:
        """Create an object, or replace it; returns it as stored."""
        stored = self._store(resource, manifest)
        async with self._changed:
            self._changed.notify_all()
        return stored

    async def remove(self, resource: str, namespace: str, name: str, *, silently: bool = False) -> None:
        """Delete an object; `silently` leaves no trace in the history, as after a compaction."""
        self._drop(resource, namespace, name, silently=silently)
        async with self._changed:
            self._changed.notify_all()

    def compact(self) -> None:
        """Forget the history: every earlier watch and list continuation is answered with 410."""
        self.version += 1
        self.compacted = self.version

    def of(self, verb: str) -> list[Call]:
        """The requests of one verb so far."""
        return [call for call in self.calls if call.verb == verb]

    # --- Answering ---

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        call = await self._understand(request)
        name = request.path.removeprefix("/api/v1/namespaces/")
        if call is None and name in self.namespaces:
            return web.json_response({"kind": "Namespace", "metadata": {"name": name, "uid": self.namespaces[name]}})
        if call is None:
            return status(404, "the server could not find the requested resource", "NotFound")
        self.calls.append(call)
        if self.tokens is not None and call.headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            return status(401, "Unauthorized", "Unauthorized")
        faults = self._faults[call.verb]
        if faults:
            return await faults.popleft()(self, call, request)
        return await self.normally(call, request)

    async def _understand(self, request: web.Request) -> Call | None:
        match = _PATH.match(request.path)
        if match is None:
            return None
        query = dict(parse_qsl(request.query_string))
        verb = {"POST": "create", "DELETE": "delete"}.get(request.method, "get" if match["name"] else "list")
        if match["log"]:
            verb = "log"
        elif query.get("watch"):
            verb = "watch"
        return Call(
            verb=verb,
            resource=match["resource"],
            namespace=match["namespace"],
            name=match["name"],
            query=query,
            headers=dict(request.headers),
            body=await request.read(),
        )

    async def normally(self, call: Call, request: web.Request) -> web.StreamResponse:
        """Answer as a real API server would."""
        if call.verb == "watch":
            return await self._watch(call, request)
        if call.verb == "log":
            return await self._log(call, request)
        answers = {"create": self._create, "get": self._get, "delete": self._delete, "list": self._list}
        response = answers[call.verb](call)
        async with self._changed:
            self._changed.notify_all()
        return response

    def _create(self, call: Call) -> web.Response:
        manifest = call.json
        namespace, name = call.namespace or "", manifest["metadata"]["name"]
        if (call.resource, namespace, name) in self.objects:
            return status(409, f'{call.resource}.batch "{name}" already exists', "AlreadyExists")
        return web.json_response(self._store(call.resource, manifest), status=201)

    def _get(self, call: Call) -> web.Response:
        found = self.objects.get((call.resource, call.namespace or "", call.name or ""))
        return web.json_response(found) if found else self._not_found(call)

    def _delete(self, call: Call) -> web.Response:
        found = self.objects.get((call.resource, call.namespace or "", call.name or ""))
        if found is None:
            return self._not_found(call)
        wanted = (call.json.get("preconditions") or {}).get("uid") if call.body else None
        if wanted and wanted != found["metadata"]["uid"]:
            text = f"the UID in the precondition ({wanted}) does not match the UID in record"
            return status(409, f"Operation cannot be fulfilled: {text}", "Conflict")
        self._drop(call.resource, call.namespace or "", call.name or "")
        return web.json_response(found)

    def _list(self, call: Call) -> web.Response:
        version, offset = self.version, 0
        if token := call.query.get("continue"):
            version, offset = (int(part) for part in token.split(":"))
            if version < self.compacted:
                return status(410, "The provided continue parameter is too old", "Expired")
        if self.lag_version is not None:
            version = self.lag_version
        found = [item for item in self._at(call.resource, version) if _selected(item, call)]
        limit = int(call.query.get("limit", 0)) or len(found) or 1
        more = offset + limit < len(found)
        metadata: dict[str, Any] = {"resourceVersion": str(version)}
        if more:
            metadata["continue"] = f"{version}:{offset + limit}"
        api, kind = _KINDS[call.resource]
        return web.json_response(
            {"apiVersion": api, "kind": f"{kind}List", "metadata": metadata, "items": found[offset : offset + limit]}
        )

    async def _watch(self, call: Call, request: web.Request) -> web.StreamResponse:
        since = int(call.query["resourceVersion"])
        if since < self.compacted:
            return status(410, f"too old resource version: {since} ({self.compacted})", "Expired")
        response = await open_stream(request)
        while not self.closing.is_set():
            news = [change for change in self.history if change.version > since]
            for change in news:
                if change.resource == call.resource and _selected(change.object, call):
                    await response.write(line(change.type, change.object))
                since = change.version
            if request.transport is None or request.transport.is_closing():
                break
            async with self._changed:
                if not any(c.version > since for c in self.history):
                    await self._changed.wait()
        return response

    async def _log(self, call: Call, request: web.Request) -> web.StreamResponse:
        if call.name not in self.logs:
            return self._not_found(call)
        response = await open_stream(request)
        for chunk in self.logs[call.name or ""]:
            await response.write(chunk)
        return response

    def _at(self, resource: str, version: int) -> list[dict[str, Any]]:
        if version >= self.version or not self.history:
            return [item for (kind, _, _), item in self.objects.items() if kind == resource]
        world: dict[str, dict[str, Any]] = {}
        for change in self.history:
            if change.resource == resource and change.version <= version:
                world[change.object["metadata"]["uid"]] = change.object
                if change.type == "DELETED":
                    del world[change.object["metadata"]["uid"]]
        return list(world.values())

    def _store(self, resource: str, manifest: dict[str, Any]) -> dict[str, Any]:
        stored: dict[str, Any] = copy.deepcopy(manifest)
        metadata = stored.setdefault("metadata", {})
        key = (resource, metadata.setdefault("namespace", "default"), metadata["name"])
        old = self.objects.get(key)
        self.version += 1
        metadata["uid"] = metadata.get("uid") or (old or {}).get("metadata", {}).get("uid") or str(uuid.uuid4())
        metadata["resourceVersion"] = str(self.version)
        metadata.setdefault("creationTimestamp", "2026-11-24T22:00:00Z")
        self.objects[key] = stored
        self._remember(resource, "MODIFIED" if old else "ADDED", stored)
        return stored

    def _drop(self, resource: str, namespace: str, name: str, *, silently: bool = False) -> None:
        gone = copy.deepcopy(self.objects.pop((resource, namespace, name)))
        self.version += 1
        gone["metadata"]["resourceVersion"] = str(self.version)
        if not silently:
            self._remember(resource, "DELETED", gone)

    def _remember(self, resource: str, type_: str, item: dict[str, Any]) -> None:
        self.history.append(
            Change(version=self.version, resource=resource, type=type_, object=copy.deepcopy(item)),
        )

    @staticmethod
    def _not_found(call: Call) -> web.Response:
        return status(404, f'{call.resource} "{call.name}" not found', "NotFound")


def _selected(item: dict[str, Any], call: Call) -> bool:
    metadata = item["metadata"]
    if call.namespace is not None and metadata["namespace"] != call.namespace:
        return False
    labels = metadata.get("labels") or {}
    wanted = [part.split("=", 1) for part in call.query.get("labelSelector", "").split(",") if part]
    fields = [part.split("=", 1) for part in call.query.get("fieldSelector", "").split(",") if part]
    if any(item.get(key) != value for key, value in fields):
        return False
    return all(labels.get(key) == value for key, value in wanted)

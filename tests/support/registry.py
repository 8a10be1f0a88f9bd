"""An image registry on loopback that has one image, and refuses others for ever or for a while."""

from __future__ import annotations

import hashlib
import http.server
import json
import tarfile
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from testbed import images

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_ERRORS = {401: "UNAUTHORIZED", 404: "MANIFEST_UNKNOWN", 429: "TOOMANYREQUESTS", 503: "UNAVAILABLE"}


class Registry:
    """Every repository has the test bed's busybox image under every tag, except those of `refuse` and `other_cpu`."""

    def __init__(self) -> None:
        self._refused: dict[str, tuple[int, float]] = {}
        self._other_cpu: set[str] = set()
        self._blobs: dict[str, bytes] = {}
        self._manifest = b""
        self._fill()
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                registry._answer(self)

            do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Registry:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def image(self, repository: str) -> str:
        """Return the reference of a repository's image."""
        return f"localhost:{self._server.server_address[1]}/{repository}:1"

    def refuse(self, repository: str, status: int, *, for_seconds: float = float("inf")) -> str:
        """Answer requests for a repository with a status for some time; return its image."""
        self._refused[repository] = (status, time.monotonic() + for_seconds)
        return self.image(repository)

    def other_cpu(self, repository: str) -> str:
        """Offer a repository's image only for a CPU type that this machine does not have; return its image."""
        self._other_cpu.add(repository)
        return self.image(repository)

    def _fill(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder, "busybox.tar")
            images.write_busybox(archive)
            with tarfile.open(archive) as tar:
                [described] = json.loads(_member(tar, "manifest.json"))
                settings = json.loads(_member(tar, described["Config"]))
                layer = _member(tar, described["Layers"][0])
        # Another image than that of the node: of one that it has pulled itself, the kubelet does not trust other names.
        settings["config"]["Labels"] = {"kjr.test/from": "registry"}
        config = json.dumps(settings).encode()
        parts = [
            ("application/vnd.oci.image.config.v1+json", config),
            ("application/vnd.oci.image.layer.v1.tar", layer),
        ]
        config_part, layer_part = ({"mediaType": kind, **self._add(blob)} for kind, blob in parts)
        manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": config_part, "layers": [layer_part]}
        self._manifest = json.dumps(manifest).encode()
        self._add(self._manifest)

    def _add(self, blob: bytes) -> dict[str, Any]:
        digest = "sha256:" + hashlib.sha256(blob).hexdigest()
        self._blobs[digest] = blob
        return {"digest": digest, "size": len(blob)}

    def _content(self, repository: str, reference: str) -> bytes:
        if reference.startswith("sha256:"):
            return self._blobs[reference]
        return self._index() if repository in self._other_cpu else self._manifest

    def _index(self) -> bytes:
        part = {
            "mediaType": _MANIFEST,
            **self._add(self._manifest),
            "platform": {"architecture": "s390x", "os": "linux"},
        }
        index = json.dumps({"schemaVersion": 2, "mediaType": _INDEX, "manifests": [part]}).encode()
        self._add(index)
        return index

    def _answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        repository, _, rest = request.path.removeprefix("/v2/").partition("/manifests/")
        status, until = self._refused.get(repository, (200, 0.0))
        kind, body = "application/json", b"{}"
        if rest and time.monotonic() < until:
            body = json.dumps({"errors": [{"code": _ERRORS[status], "message": "the test says so"}]}).encode()
        elif rest:
            status, body = 200, self._content(repository, rest)
            kind = str(json.loads(body)["mediaType"])
        elif "/blobs/" in request.path:
            status, kind = 200, "application/octet-stream"
            body = self._blobs[request.path.rpartition("/")[2]]
        else:
            status = 200
        request.send_response(status)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(body)))
        if status == 200 and kind in (_MANIFEST, _INDEX):
            request.send_header("Docker-Content-Digest", "sha256:" + hashlib.sha256(body).hexdigest())
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body)


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file is not None, name
    return file.read()

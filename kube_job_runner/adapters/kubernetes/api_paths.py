"""Paths of the Kubernetes API: of a kind in a namespace or in all of them (None), or of the object with a name."""

from urllib.parse import quote


def jobs(namespace: str | None, name: str | None = None) -> str:
    return _path("/apis/batch/v1", "jobs", namespace, name)


def pods(namespace: str | None, name: str | None = None) -> str:
    return _path("/api/v1", "pods", namespace, name)


def events(namespace: str | None) -> str:
    return _path("/api/v1", "events", namespace, None)


def node(name: str) -> str:
    return f"/api/v1/nodes/{quote(name, safe='')}"


def namespace(name: str) -> str:
    return f"/api/v1/namespaces/{quote(name, safe='')}"


def _path(api: str, resource: str, namespace: str | None, name: str | None) -> str:
    kind = f"{api}/{resource}" if namespace is None else f"{api}/namespaces/{quote(namespace)}/{resource}"
    return kind if name is None else f"{kind}/{quote(name)}"

"""Paths of the Kubernetes API: of a kind in a namespace or in all of them (None), and of one object."""

from __future__ import annotations

from urllib.parse import quote


def jobs(namespace: str | None) -> str:
    """Return the path of the Jobs."""
    return _path("/apis/batch/v1", "jobs", namespace)


def pods(namespace: str | None) -> str:
    """Return the path of the pods."""
    return _path("/api/v1", "pods", namespace)


def events(namespace: str | None) -> str:
    """Return the path of the Events."""
    return _path("/api/v1", "events", namespace)


def job(namespace: str, name: str) -> str:
    """Return the path of a Job."""
    return f"{jobs(namespace)}/{quote(name)}"


def pod(namespace: str, name: str) -> str:
    """Return the path of a pod."""
    return f"{pods(namespace)}/{quote(name)}"


def node(name: str) -> str:
    """Return the path of a node."""
    return f"/api/v1/nodes/{quote(name, safe='')}"


def _path(api: str, resource: str, namespace: str | None) -> str:
    return f"{api}/{resource}" if namespace is None else f"{api}/namespaces/{quote(namespace)}/{resource}"

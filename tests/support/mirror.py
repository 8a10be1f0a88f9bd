"""The objects of one installation as the API server shows them, kept up to date by watches.

A test that acts at one moment of a job's life ("its pod has ended, its Job is not yet Complete") cannot poll for it. With
`when` it describes the moment and is called when the moment comes.
"""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx2

from kube_job_runner.domain import names
from testbed.cluster import Cluster

KINDS = {"Job": "/apis/batch/v1/jobs", "Pod": "/api/v1/pods"}
_RETRY_SECONDS = 0.1


class Shown:
    """The objects of one job as the API server has them now, by uid. Dicts as the API gives them."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.pods: dict[str, dict[str, Any]] = {}

    @property
    def job(self) -> dict[str, Any]:
        """The newest Job, or an empty dict."""
        return next(reversed(self.jobs.values()), {})

    @property
    def pod(self) -> dict[str, Any]:
        """The newest pod, or an empty dict."""
        return next(reversed(self.pods.values()), {})

    @property
    def phase(self) -> str:
        """The phase of the newest pod."""
        return str(self.pod.get("status", {}).get("phase", ""))

    @property
    def waiting(self) -> str:
        """What the container of the newest pod waits for."""
        for status in self.pod.get("status", {}).get("containerStatuses", ()):
            return str(status["state"].get("waiting", {}).get("reason", ""))
        return ""

    def condition(self, kind: str, type_: str) -> str:
        """The status of a condition of the newest Job or Pod: True, False, or nothing."""
        found = self.job if kind == "Job" else self.pod
        conditions = found.get("status", {}).get("conditions", ())
        return next((str(c["status"]) for c in conditions if c["type"] == type_), "")

    @property
    def deleting(self) -> bool:
        """Whether the newest pod is being deleted."""
        return "deletionTimestamp" in self.pod.get("metadata", {})


Moment = Callable[[Shown], bool]


class Mirror:
    """Watches everything of an installation, in all namespaces, as administrator."""

    def __init__(self, cluster: Cluster, instance: str) -> None:
        self._selector = f"{names.INSTANCE_LABEL}={instance}"
        self.http = httpx2.Client(
            base_url=cluster.url,
            headers={"Authorization": f"Bearer {cluster.token()}"},
            verify=ssl.create_default_context(cafile=str(cluster.ca_file)),
            timeout=httpx2.Timeout(10, read=None),
        )
        self._lock = threading.RLock()
        self._shown: dict[str, Shown] = {}
        self._waiting: dict[str, tuple[Moment, Callable[[], None]]] = {}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._follow, args=(kind,), daemon=True) for kind in KINDS]

    def __enter__(self) -> Mirror:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=10)
        self.http.close()

    def when(self, job_id: str, moment: Moment, act: Callable[[], None]) -> None:
        """Call `act` once, from a watching thread, as soon as a job looks like this; `act` must not block."""
        with self._lock:
            if not moment(self._shown.setdefault(job_id, Shown())):
                self._waiting[job_id] = (moment, act)
                return
        act()

    def shown(self, job_id: str) -> Shown:
        """Return what is known of a job now."""
        with self._lock:
            return self._shown.setdefault(job_id, Shown())

    def now(self, kind: str) -> list[dict[str, Any]]:
        """Return what there is now, from a fresh list."""
        return [*self._list(kind)["items"]]

    def _list(self, kind: str) -> dict[str, Any]:
        answer = self.http.get(KINDS[kind], params={"labelSelector": self._selector}, timeout=120)
        answer.raise_for_status()
        return dict(answer.json())

    def _follow(self, kind: str) -> None:
        while not self._stop.is_set():
            # The server ends a watch that fell behind, or at its time limit: list and watch again.
            with contextlib.suppress(httpx2.HTTPError, ValueError):
                listed = self._list(kind)
                self._replace(kind, listed["items"])
                for event in self._events(kind, listed["metadata"]["resourceVersion"]):
                    self._take(kind, event["type"], event["object"])
            self._stop.wait(_RETRY_SECONDS)

    def _events(self, kind: str, version: str) -> Iterator[dict[str, Any]]:
        params = {"labelSelector": self._selector, "watch": "1", "resourceVersion": version, "timeoutSeconds": "5"}
        with self.http.stream("GET", KINDS[kind], params=params) as answer:
            for line in answer.iter_lines():
                event = json.loads(line)
                if event["type"] not in ("ADDED", "MODIFIED", "DELETED"):
                    return
                yield event
                if self._stop.is_set():
                    return

    def _replace(self, kind: str, items: list[dict[str, Any]]) -> None:
        present = {item["metadata"]["uid"] for item in items}
        with self._lock:
            known = [found for shown in self._shown.values() for found in _of(shown, kind).values()]
        for found in known:
            if found["metadata"]["uid"] not in present:
                self._take(kind, "DELETED", found)
        for item in items:
            self._take(kind, "ADDED", item)

    def _take(self, kind: str, type_: str, found: dict[str, Any]) -> None:
        job_id = found["metadata"]["labels"][names.JOB_ID_LABEL]
        with self._lock:
            shown = self._shown.setdefault(job_id, Shown())
            objects, uid = _of(shown, kind), found["metadata"]["uid"]
            if type_ == "DELETED":
                objects.pop(uid, None)
            else:
                objects[uid] = found
            waiting = self._waiting.get(job_id)
            if waiting is None or not waiting[0](shown):
                return
            del self._waiting[job_id]
        waiting[1]()


def _of(shown: Shown, kind: str) -> dict[str, dict[str, Any]]:
    return shown.jobs if kind == "Job" else shown.pods

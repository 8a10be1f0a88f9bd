"""What the API server showed of pods, Jobs and Events, and when: the reference for how fast the product is.

It is a watch as administrator, in its own thread. Times are the arrival times of lines by this machine's clock, because the
times in the objects have whole seconds only.
"""

from __future__ import annotations

import datetime as dt
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from kube_job_runner.domain import names
from testbed.cluster import Cluster

Wire = dict[str, Any]
Signal = Callable[[Wire], bool]


class Sighting(NamedTuple):
    """One line of a watch: when it arrived, and the object."""

    at: dt.datetime
    object: Wire


class Sightings:
    """Records our pods and Jobs, and all Events, while it is open. It does not list what existed before."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lines: dict[str, list[tuple[dt.datetime, bytes]]] = {"pods": [], "jobs": [], "events": []}
        self._read: dict[str, int] = dict.fromkeys(self._lines, 0)
        self._seen: dict[tuple[str, str, str], list[Sighting]] = {}
        self._events: list[Sighting] = []
        self._connections: dict[str, http.client.HTTPSConnection] = {}
        self._threads: list[threading.Thread] = []
        self._closing = False
        self.error: BaseException | None = None

    def __enter__(self) -> Sightings:
        for resource in self._lines:
            group = "/apis/batch/v1" if resource == "jobs" else "/api/v1"
            version = self._cluster.api()("GET", f"{group}/{resource}?limit=1").require(200)["metadata"][
                "resourceVersion"
            ]
            arguments = (f"{group}/{resource}", resource, str(version))
            thread = threading.Thread(target=self._record, args=arguments, name=f"sightings-{resource}")
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *exception: object) -> None:
        self._closing = True
        for connection in self._connections.values():
            if connection.sock is not None:
                connection.sock.shutdown(socket.SHUT_RDWR)  # ends the read of the thread
        for thread in self._threads:
            thread.join()
        assert self.error is None, f"the watch of the test itself broke: {self.error!r}"

    def _record(self, path: str, resource: str, version: str) -> None:
        """Record only the time of each line: decoding it here would delay the next ones."""
        lines = self._lines[resource]
        try:
            while not self._closing:  # the server closes a watch that falls behind, without a word
                for line in self._watch(path, resource, version):
                    lines.append((dt.datetime.now(dt.UTC), line))
                if lines:
                    version = json.loads(lines[-1][1])["object"]["metadata"]["resourceVersion"]
        except (OSError, ValueError, KeyError, AttributeError, http.client.HTTPException) as error:
            if not self._closing:
                self.error = error

    def _catch_up(self, resource: str) -> None:
        lines = self._lines[resource]
        for at, line in lines[self._read[resource] :]:
            self._read[resource] += 1
            seen = json.loads(line)
            assert seen["type"] != "ERROR", f"the watch of the test itself broke: {seen['object']}"
            self._keep(resource, Sighting(at, seen["object"]))

    def _keep(self, resource: str, seen: Sighting) -> None:
        if resource == "events":
            self._events.append(seen)
            return
        labels = seen.object["metadata"].get("labels", {})
        key = (resource, labels.get(names.JOB_ID_LABEL, ""), labels.get(names.ATTEMPT_LABEL, ""))
        self._seen.setdefault(key, []).append(seen)

    def _watch(self, path: str, resource: str, version: str) -> Iterator[bytes]:
        address = urlsplit(self._cluster.url)
        tls = ssl.create_default_context(cafile=str(self._cluster.ca_file))
        connection = http.client.HTTPSConnection(address.hostname or "", address.port, context=tls)
        self._connections[resource] = connection
        ours = f"&labelSelector={names.MANAGED_BY_LABEL}%3D{names.MANAGED_BY}" if resource != "events" else ""
        query = f"watch=1&timeoutSeconds=3000&resourceVersion={version}{ours}"
        connection.request("GET", f"{path}?{query}", headers={"Authorization": f"Bearer {self._cluster.token()}"})
        with connection.getresponse() as answer:
            if answer.status != 200:
                raise OSError(f"watch of {resource}: {answer.status}")
            # Not by line iteration, which reads ahead and would hold lines back.
            while line := answer.readline():
                yield line
        connection.close()

    # --- What was seen ---------------------------------------------------------------------------------------------------

    def pods(self, job_id: str, attempt: int = 1) -> list[Sighting]:
        """Return what was seen of the pods of an attempt, oldest first."""
        self._catch_up("pods")
        return self._seen.get(("pods", job_id, str(attempt)), [])

    def first(self, job_id: str, signal: Signal, *, attempt: int = 1) -> dt.datetime | None:
        """Return when the pod of an attempt first showed a signal, or None."""
        return next((seen.at for seen in self.pods(job_id, attempt) if signal(seen.object)), None)

    def job_failed(self, job_id: str, *, attempt: int = 1) -> dt.datetime | None:
        """Return when the Job of an attempt was first seen to have failed, or None."""
        self._catch_up("jobs")
        seen_of_job = self._seen.get(("jobs", job_id, str(attempt)), [])
        return next((seen.at for seen in seen_of_job if condition("Failed")(seen.object)), None)

    def first_event(self, object_name: str, reason: str, text: str = "") -> dt.datetime | None:
        """Return when an Event about an object of a name that begins so was first seen, or None."""
        self._catch_up("events")
        return next(
            (
                seen.at
                for seen in self._events
                if seen.object["involvedObject"].get("name", "").startswith(object_name)
                and seen.object["reason"] == reason
                and text in seen.object.get("message", "")
            ),
            None,
        )


# --- Signals --------------------------------------------------------------------------------------------------------------


def _containers(pod: Wire) -> list[Wire]:
    status = pod.get("status", {})
    return [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]


def waiting(*reasons: str, saying: str = "") -> Signal:
    """A container waits for one of these reasons, and its message holds these words."""

    def shown(pod: Wire) -> bool:
        waits = (container["state"].get("waiting", {}) for container in _containers(pod))
        return any(wait.get("reason") in reasons and saying in wait.get("message", "") for wait in waits)

    return shown


def terminated(pod: Wire) -> bool:
    """A container ended with an error."""
    return any(c["state"].get("terminated", {}).get("exitCode", 0) != 0 for c in _containers(pod))


def failed(pod: Wire) -> bool:
    """The pod has failed, and says so by its phase."""
    return bool(pod.get("status", {}).get("phase") == "Failed")


def running(pod: Wire) -> bool:
    """The pod runs."""
    return bool(pod.get("status", {}).get("phase") == "Running")


def condition(kind: str, status: str = "True", text: str = "") -> Signal:
    """The object has a condition of this kind and status, whose message holds the text."""
    return lambda seen: any(
        c["type"] == kind and c["status"] == status and text in c.get("message", "")
        for c in seen.get("status", {}).get("conditions", [])
    )

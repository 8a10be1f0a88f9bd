"""A campaign of cancels: many jobs, each cancelled at one point of its life, and what became of each.

The point is reached when the API server shows it (`Mirror`) or when the product shows it (`call_when`). While cancels are
pending, `settle` compares repeatedly: which jobs does the product call cancelled, and what does the cluster hold? A job that is
called cancelled but still has a live object in the cluster counts as a lie, even if only for a moment.
"""

from __future__ import annotations

import concurrent.futures
import datetime as dt
import functools
import random
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from kube_job_runner.domain import names
from tests.support.mirror import KINDS, Mirror, Moment
from tests.support.product import TERMINAL, Product

POINT_LABEL = "point"
ShownAs = Callable[[Mapping[str, Any]], bool]
_POLL_SECONDS = 0.1
_WITNESS_SECONDS = 0.25


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A cancel request and its answer. `at` is when it was answered, by this machine's clock."""

    status: int
    body: dict[str, Any]
    at: dt.datetime


class Campaign:
    """Jobs by point, the cancels sent for them, and what was seen."""

    def __init__(self, product: Product, mirror: Mirror, *, seed: int = 1) -> None:
        self.product = product
        self.mirror = mirror
        self.random = random.Random(seed)
        self.ids: dict[str, list[str]] = {}
        self.asked: dict[str, Asked] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.terminal_seen: list[tuple[str, str]] = []
        self.lies: list[str] = []
        self.errors: list[BaseException] = []
        self._pool = concurrent.futures.ThreadPoolExecutor(24)
        self._awaited: dict[str, tuple[str, ShownAs, Callable[[], None]]] = {}
        self._looked_at: set[str] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> Campaign:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown()

    # --- Jobs -------------------------------------------------------------------------------------------------------

    def submit(self, point: str, count: int, spec: Mapping[str, Any]) -> list[str]:
        """Submit the jobs of a point, all in one request; return their ids."""
        answer = self.product.http.post("/v1/jobs:batch", json={"jobs": [self.body(point, spec)] * count})
        results = answer.json()["results"]
        assert {item["status"] for item in results} == {201}, results
        ids = [str(item["job"]["id"]) for item in results]
        self.ids.setdefault(point, []).extend(ids)
        return ids

    def body(self, point: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Return the request body of a job; `script` holds what KWOK's nodes are to play."""
        script = {f"kjr.test/{key}": value for key, value in spec.get("script", {}).items()}
        rest = {key: value for key, value in spec.items() if key != "script"}
        common = {"image": "registry.example.com/tool:1", "namespace": self.product.namespace, "name": point}
        return {**common, "labels": {POINT_LABEL: point}, "annotations": script, **rest}

    # --- Moments ----------------------------------------------------------------------------------------------------

    def go(self, call: Callable[..., object], *arguments: Any, after: tuple[float, float] = (0.0, 0.0)) -> None:
        """Call something in the pool, at a random time between these seconds from now."""
        delay_seconds = self.random.uniform(*after)
        if delay_seconds:
            threading.Timer(delay_seconds, self.go, (call, *arguments)).start()
        else:
            self._pool.submit(call, *arguments).add_done_callback(self._note)

    def _note(self, done: concurrent.futures.Future[object]) -> None:
        error = done.exception()
        if error is not None:
            self.errors.append(error)

    def cancel_when(self, ids: Iterable[str], moment: Moment, *, after: tuple[float, float] = (0.0, 0.0)) -> None:
        """Cancel each job at its moment, as the API server shows it, and a random time after."""
        for job_id in ids:
            self.mirror.when(job_id, moment, functools.partial(self.go, self.cancel, job_id, after=after))

    def call_when(self, ids: Iterable[str], moment: ShownAs, act: Callable[[str], None]) -> None:
        """Call `act` with each job once the product itself shows it so; `settle` looks."""
        for job_id in ids:
            point = next(point for point, known in self.ids.items() if job_id in known)
            self._awaited[job_id] = (point, moment, functools.partial(act, job_id))

    def cancel(self, job_id: str) -> None:
        """Cancel a job and keep the answer."""
        answer = self.product.cancel(job_id, reason="it is the point of it")
        asked = Asked(status=answer.status_code, body=dict(answer.json()), at=dt.datetime.now(dt.UTC))
        with self._lock:
            assert job_id not in self.asked, f"{job_id} was cancelled twice"
            self.asked[job_id] = asked

    def map(self, call: Callable[[str], Any], ids: Iterable[str]) -> list[Any]:
        """Call something with each job, many at once; return the answers in order."""
        return list(self._pool.map(call, ids))

    # --- Witnesses --------------------------------------------------------------------------------------------------

    def settle(self, *points: str, timeout_seconds: float) -> None:
        """Wait until every job of these points was cancelled and has ended; look for lies meanwhile."""
        open_ids = {point: set(self.ids[point]) for point in points}
        deadline = time.monotonic() + timeout_seconds
        looked_at = 0.0
        while open_ids:
            self._call_awaited()
            if time.monotonic() - looked_at >= _WITNESS_SECONDS:
                page = self._list(list(open_ids))
                self._look([job for job in page if job["state"] in TERMINAL])
                for job in page:
                    if job["state"] in TERMINAL and job["id"] in self.asked:
                        open_ids[job["labels"][POINT_LABEL]].discard(job["id"])
                open_ids = {point: left for point, left in open_ids.items() if left}
                assert not self.errors, self.errors
                assert time.monotonic() < deadline, self._stuck(page)
                looked_at = time.monotonic()
            time.sleep(_POLL_SECONDS)

    def _list(self, points: Sequence[str]) -> list[dict[str, Any]]:
        query = {"labels": f"{POINT_LABEL} in ({','.join(points)})", "limit": "500"}
        found: list[dict[str, Any]] = []
        while True:
            page = self.product.http.get("/v1/jobs", params=query).json()
            found += page["jobs"]
            if not page.get("next_cursor"):
                return found
            query["cursor"] = page["next_cursor"]

    def _call_awaited(self) -> None:
        """Call the function of each watched job that has reached its moment."""
        if not self._awaited:
            return
        for job in self._list(list({self._awaited[job_id][0] for job_id in self._awaited})):
            awaited = self._awaited.get(job["id"])
            if awaited is not None and awaited[1](job):
                del self._awaited[job["id"]]
                awaited[2]()

    def _look(self, ended: Sequence[Mapping[str, Any]]) -> None:
        """Compare what the cluster holds now with the jobs that were called cancelled before."""
        new = {job["id"]: job["state"] for job in ended if job["id"] not in self._looked_at}
        self._looked_at |= new.keys()
        self.terminal_seen += new.items()
        if "cancelled" not in new.values():
            return
        for kind in KINDS:
            for item in self.mirror.now(kind):
                if new.get(item["metadata"]["labels"][names.JOB_ID_LABEL]) == "cancelled" and _lives(kind, item):
                    self.lies.append(f"{_point(item)}: {kind} {item['metadata']['name']} of a cancelled job: {item}")

    def _stuck(self, page: Sequence[Mapping[str, Any]]) -> str:
        """Say which jobs are not where they should be."""
        counts: dict[str, int] = defaultdict(int)
        for job in page:
            if job["state"] not in TERMINAL or job["id"] not in self.asked:
                asked = "asked" if job["id"] in self.asked else "never asked"
                counts[f"{job['labels'][POINT_LABEL]}: {job['state']} {(job['explanation'] or '')[:80]} ({asked})"] += 1
        return f"not in time: {dict(counts)}"

    def read(self) -> None:
        """Read every job as it is in the end."""
        self.jobs = {job["id"]: job for job in self._list(list(self.ids))}

    def left(self) -> list[str]:
        """What is in the cluster of all jobs of the campaign, by name."""
        return [
            f"{_point(item)}: {kind} {item['metadata']['name']}" for kind in KINDS for item in self.mirror.now(kind)
        ]

    # --- Report -----------------------------------------------------------------------------------------------------

    def seconds_to_end(self, point: str) -> list[float]:
        """Seconds from the answer to a cancel to the end of the job, of those that ended as cancelled; sorted."""
        return sorted(
            (dt.datetime.fromisoformat(job["finished_at"]) - self.asked[job_id].at).total_seconds()
            for job_id in self.ids[point]
            if (job := self.jobs[job_id])["state"] == "cancelled"
        )

    def report(self, point: str, deletes: Mapping[str, dt.datetime]) -> str:
        """Return one line: the ends with their counts, the time from cancel to end, and the time until our delete request."""
        ends: dict[str, int] = defaultdict(int)
        for job_id in self.ids[point]:
            refused = " (409)" if self.asked[job_id].status == 409 else ""
            ends[f"{self.jobs[job_id]['state']}/{self.jobs[job_id]['reason']}{refused}"] += 1
        took = self.seconds_to_end(point)
        asked = sorted(
            (deletes[job_id] - self.asked[job_id].at).total_seconds()
            for job_id in self.ids[point]
            if job_id in deletes and self.jobs[job_id]["state"] == "cancelled"
        )
        times = f"{_percentiles(took)}   our delete {_percentiles(asked)}"
        return f"{point:28} {', '.join(f'{count} {end}' for end, count in sorted(ends.items())):60} {times}"


def _percentiles(seconds: Sequence[float]) -> str:
    if not seconds:
        return "-"
    return f"p50 {statistics.median(seconds):.2f} s, p99 {seconds[int(len(seconds) * 0.99)]:.2f} s"


def _lives(kind: str, item: Mapping[str, Any]) -> bool:
    """Return whether an object can still run. What has ended is no lie: it may stay until its log is read."""
    status = item.get("status", {})
    if kind == "Pod":
        return status.get("phase") not in ("Succeeded", "Failed")
    conditions = {c["type"] for c in status.get("conditions", ()) if c["status"] == "True"}
    return not conditions & {"Complete", "Failed"}


def _point(item: Mapping[str, Any]) -> str:
    return str(item["metadata"]["labels"].get(POINT_LABEL, "?"))

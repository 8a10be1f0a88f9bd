"""A small real HTTP server that speaks the API from a script, so that the CLI can be tested as a process of its own.

A job's image names its scenario. Each long poll moves the job one step on; a scenario that holds stays at its last step
until the job is cancelled or the test releases it.
"""

from __future__ import annotations

import json
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "kjr_secret"
STARTED = "2026-01-01T00:00:01Z"
ENDED = "2026-01-01T00:00:15Z"


def step(state: str, **more: Any) -> dict[str, Any]:
    """Return what changes at a step of a scenario."""
    change: dict[str, Any] = {"state": state, **more}
    if state != "queued":
        change.setdefault("attempt", 1)
    if state == "running":
        change.setdefault("started_at", STARTED)
    if state in ("succeeded", "failed", "cancelled"):
        change.setdefault("finished_at", ENDED)
    return change


def ended(state: str, reason: str, *, exit_code: int | None = None, ran: bool = True) -> list[dict[str, Any]]:
    """Return the steps of a job that ends like this."""
    last = step(state, reason=reason, explanation=f"About {reason}.", exit_code=exit_code)
    return [step("starting"), *([step("running")] if ran else []), last]


SCENARIOS: dict[str, list[dict[str, Any]]] = {
    "ok": ended("succeeded", "Completed", exit_code=0),
    "hold": [step("starting"), step("running")],
    "queue": [],
    "never-started": ended("failed", "ImageNotFound", ran=False),
}
LOG = b"line 1\nline 2\n"


class Stub:
    """The server's state: jobs by id, and what was asked of it."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.specs: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, str] = {}
        self.scenarios = dict(SCENARIOS)
        self.logs: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.cancels: list[tuple[str, str]] = []
        self.graces: list[int | None] = []
        self.reruns: list[dict[str, Any]] = []
        self.simulated: list[dict[str, Any]] = []
        self.explanations: dict[str, dict[str, Any]] = {}
        self.timelines: dict[str, list[dict[str, Any]]] = {}
        self.without_history: set[str] = set()
        self.close_when_running = False
        self.submit_gate = threading.Event()
        self.submit_gate.set()
        self.changed = threading.Condition()
        self._http = Server(self)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self.submit_gate.set()
        with self.changed:
            self.changed.notify_all()
        self.stop_listening()
        self._thread.join()

    def stop_listening(self) -> None:
        """Take no more connections."""
        self._http.shutdown()
        self._http.server_close()

    def add(self, scenario: str, *, name: str | None = None, moment: int = 0, **more: Any) -> str:
        """Add a job that stands at the end of its scenario; return its id."""
        job_id = self.store({"image": scenario, "name": name or scenario}, moment=moment)
        for _ in self.scenarios[scenario]:
            self.advance(job_id)
        self.jobs[job_id].update(more)
        return job_id

    def store(self, spec: dict[str, Any], *, moment: int = 0) -> str:
        """Store a job."""
        milliseconds = 1_767_225_600_000 + (moment or len(self.jobs) * 60_000)
        head = f"{milliseconds:012x}"
        tail = uuid.uuid4().hex
        job_id = str(uuid.UUID(head + "7" + tail[:3] + "8" + tail[4:19]))
        self.specs[job_id] = spec
        self.jobs[job_id] = {
            "id": job_id,
            "name": spec.get("name") or spec["image"],
            "state": "queued",
            "version": 1,
            "queue": spec.get("queue", "default"),
            "namespace": "default",
            "priority": 0,
            "labels": spec.get("labels", {}),
            "attempt": 0,
            "reason": None,
            "explanation": None,
            "exit_code": None,
            "created_at": "2026-01-01T00:00:00Z",
            "due_at": "2026-01-01T00:00:00Z",
            "started_at": None,
            "finished_at": None,
            "cancel": None,
            "rerun_of": None,
        }
        return job_id

    def advance(self, job_id: str) -> bool:
        """Move a job one step on; tell whether there was one."""
        job = self.jobs[job_id]
        steps = self.scenarios[self.specs[job_id]["image"]]
        if job["version"] > len(steps):
            return False
        job.update(steps[job["version"] - 1])
        job["version"] += 1
        return True

    def end(self, job_id: str, **change: Any) -> None:
        """End a job that holds."""
        with self.changed:
            self.jobs[job_id].update(change)
            self.jobs[job_id]["version"] += 1
            self.changed.notify_all()

    def over(self, job_id: str) -> bool:
        """Tell whether a job has ended."""
        return self.jobs[job_id]["finished_at"] is not None

    def wait_running(self, timeout: float = 10.0) -> str:
        """Wait until a job runs; return its id."""

        def running() -> str | None:
            return next((key for key, job in self.jobs.items() if job["state"] == "running"), None)

        with self.changed:
            assert self.changed.wait_for(lambda: running() is not None, timeout)
        return running() or ""


class Server(ThreadingHTTPServer):
    """The HTTP server of a stub."""

    daemon_threads = True

    def __init__(self, stub: Stub) -> None:
        self.stub = stub
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    """Answers one request after the other."""

    protocol_version = "HTTP/1.1"

    @property
    def stub(self) -> Stub:
        """The server's state."""
        assert isinstance(self.server, Server)
        return self.server.stub

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the signature of the base class
        pass

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def _answer(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self.stub.requests.append((method, self.path))
        if self.stub.close_when_running and any(job["state"] == "running" for job in self.stub.jobs.values()):
            self.stub.stop_listening()
            self.close_connection = True
            return None
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            return self._problem(401, "unauthenticated", "no good token")
        try:
            return self._route(method, parts.path, query, json.loads(body) if body else {})
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _route(self, method: str, path: str, query: dict[str, str], body: Any) -> None:
        if path == "/v1/version":
            return self._json(200, {"version": "0.1.0", "api_versions": ["v1"], "minimum_client": "0.1.0"})
        if (method, path) == ("POST", "/v1/jobs"):
            return self._submit(body)
        if path == "/v1/jobs:batch":
            return self._json(200, {"results": [self._item(spec) for spec in body["jobs"]]})
        if (method, path) == ("GET", "/v1/jobs"):
            return self._list(query)
        if path == "/v1/retry-policies:simulate":
            self.stub.simulated.append(body)
            return self._json(200, {"simulations": [self._simulation(job_id) for job_id in body.get("jobs", [None])]})
        job_id, _, part = path.removeprefix("/v1/jobs/").partition("/")
        job_id, cancel, _ = job_id.partition(":cancel")
        job_id, rerun, _ = job_id.partition(":rerun")
        if job_id not in self.stub.jobs:
            return self._problem(404, "not-found", f"there is no job {job_id}")
        if rerun:
            return self._rerun(job_id, body)
        if cancel:
            self.stub.graces.append(body.get("grace_seconds"))
            return self._cancel(job_id, body.get("reason", ""))
        return self._get(job_id, part, query)

    def _submit(self, spec: dict[str, Any]) -> None:
        assert self.stub.submit_gate.wait(30)
        key = self.headers.get("idempotency-key", "")
        if key in self.stub.keys:
            job_id = self.stub.keys[key]
            if self.stub.specs[job_id] != spec:
                return self._problem(422, "idempotency-key-reuse", "the key belongs to another request")
            return self._json(201, self.stub.jobs[job_id])
        answer = self._item(spec)
        if answer["status"] != 201:
            return self._problem(422, "validation-failed", "bad image", errors=[{"pointer": "/image", "detail": "no"}])
        self.stub.keys[key] = answer["job"]["id"]
        return self._json(201, {**answer["job"], "warnings": []})

    def _item(self, spec: dict[str, Any]) -> dict[str, Any]:
        if spec.get("image") not in self.stub.scenarios:
            return {"status": 422, "problem": {"status": 422, "code": "validation-failed", "detail": "bad image"}}
        return {"status": 201, "job": self.stub.jobs[self.stub.store(spec)]}

    def _list(self, query: dict[str, str]) -> None:
        jobs = sorted(self.stub.jobs.values(), key=lambda job: job["id"], reverse=True)
        if "name" in query:
            jobs = [job for job in jobs if job["name"] == query["name"]]
        if "namespace" in query:
            jobs = [job for job in jobs if job["namespace"] == query["namespace"]]
        if "queue" in query:
            jobs = [job for job in jobs if job["queue"] == query["queue"]]
        if "state" in query:
            jobs = [job for job in jobs if job["state"] in query["state"].split(",")]
        if "reason" in query:
            jobs = [job for job in jobs if job["reason"] == query["reason"]]
        if "rerun_of" in query:
            jobs = [job for job in jobs if job["rerun_of"] == query["rerun_of"]]
        if "labels" in query:
            key, _, value = query["labels"].partition("=")
            jobs = [job for job in jobs if job["labels"].get(key) == value]
        start, limit = int(query.get("cursor", "0")), int(query.get("limit", "50"))
        cursor = str(start + limit) if start + limit < len(jobs) else None
        self._json(200, {"jobs": jobs[start : start + limit], "next_cursor": cursor})

    def _cancel(self, job_id: str, reason: str) -> None:
        self.stub.cancels.append((job_id, reason))
        if self.stub.over(job_id) and self.stub.jobs[job_id]["state"] != "cancelled":
            return self._problem(409, "job-ended", "it has ended")
        cancel = {"at": ENDED, "by": "tester", "reason": reason, "grace_seconds": 30, "outlook": "It is killed."}
        self.stub.end(
            job_id,
            state="cancelled",
            reason="Cancelled",
            explanation="Cancelled by a test.",
            finished_at=ENDED,
            cancel=cancel,
        )
        return self._json(202, self.stub.jobs[job_id])

    def _rerun(self, job_id: str, body: dict[str, Any]) -> None:
        self.stub.reruns.append({**body, "key": self.headers.get("idempotency-key")})
        if not self.stub.over(job_id) and not body.get("force"):
            return self._problem(409, "job-not-ended", "it goes on")
        if "priority" in body["set"]:
            errors = [{"pointer": "/priority", "detail": "too much", "in": "spec"}]
            return self._problem(422, "validation-failed", "bad priority", errors=errors)
        made = self.stub.jobs[self.stub.store(self.stub.specs[job_id])]
        made["rerun_of"] = job_id
        warnings = [{"pointer": "/x", "detail": "was ignored"}] if "name" in body["set"] else []
        return self._json(201, {**made, "warnings": warnings})

    def _simulation(self, job_id: str | None) -> dict[str, Any]:
        first = {
            "attempt": 1, "reason": "OutOfMemory", "category": "out_of_memory", "exit_code": 137, "signal": 9,
            "cause": "application", "reached": True, "retry": True, "why": "attempt 2 of 2 follows",
            "charged_to": "attempts", "delay_seconds": 10.0, "rule": 0, "memory": "2048Mi",
        }  # fmt: skip
        second = {
            **first,
            "attempt": 2,
            "retry": False,
            "why": "it was attempt 2 of 2",
            "delay_seconds": None,
            "memory": None,
        }
        third = {**second, "attempt": 3, "reached": False}
        open_end = job_id is not None
        return {
            "job_id": job_id,
            "state": "failed" if job_id else None,
            "outcome": "open" if open_end else "failed",
            "attempts": 1 if open_end else 2,
            "waited_seconds": 10.0,
            "decisions": [first] if open_end else [first, second, third],
        }

    def _timeline(self, job_id: str) -> dict[str, Any]:
        job = self.stub.jobs[job_id]
        over = self.stub.over(job_id)
        queued = {
            "attempt": 1, "name": "queued", "started_at": job["created_at"], "ended_at": STARTED, "deadline": None,
            "reason": None,
        }  # fmt: skip
        running = {
            "attempt": 1, "name": "running", "started_at": STARTED, "ended_at": ENDED if over else None,
            "deadline": None if over else "2026-01-02T00:00:00Z", "reason": None if over else "it is\x1b[2J slow",
        }  # fmt: skip
        phases = self.stub.timelines.get(job_id, [queued, running])
        return {"job_id": job_id, "state": job["state"], "version": job["version"], "now": ENDED, "phases": phases}

    def _explanation(self, job_id: str) -> dict[str, Any]:
        job = self.stub.jobs[job_id]
        plain = {"sentence": f"About {job['name']}.", "attempts": [], "anomalies": [], "missing": []}
        known = {"job_id": job_id, "name": job["name"], "state": job["state"], "reason": job["reason"]}
        return {**known, **plain, **self.stub.explanations.get(job_id, {})}

    def _get(self, job_id: str, part: str, query: dict[str, str]) -> None:
        job = self.stub.jobs[job_id]
        if part == "spec":
            return self._json(200, self.stub.specs[job_id])
        if part == "transitions":
            first = {"to_state": "queued", "at": job["created_at"], "version": 1, "attempt": 0}
            last = {"to_state": job["state"], "at": ENDED, "version": 2, "attempt": 1, "reason": job["reason"]}
            removed = job_id in self.stub.without_history
            return self._json(200, {"removed": removed, "transitions": [] if removed else [first, last]})
        if part == "attempts":
            return self._json(200, {"attempts": [{"number": 1, "cluster_name": "c-1", "exit_code": job["exit_code"]}]})
        if part == "logs":
            return self._log(job_id)
        if part == "timeline":
            return self._json(200, self._timeline(job_id))
        if part == "explanation":
            return self._json(200, self._explanation(job_id))
        if "wait" in query and int(query["since"]) >= job["version"]:
            with self.stub.changed:
                if not self.stub.advance(job_id):
                    self.stub.changed.wait_for(lambda: job["version"] > int(query["since"]), float(query["wait"][:-1]))
                self.stub.changed.notify_all()
        return self._json(200, job)

    def _log(self, job_id: str) -> None:
        job = self.stub.jobs[job_id]
        if job["started_at"] is None:
            return self._problem(404, "log-unavailable", "the attempt never started")
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        return self._write_log(job_id)

    def _write_log(self, job_id: str) -> None:
        self.wfile.write(self.stub.logs.get(self._image(job_id), LOG))
        self.wfile.flush()
        steps = self.stub.scenarios[self._image(job_id)]
        if not self.stub.over(job_id) and self.stub.jobs[job_id]["version"] > len(steps):
            with self.stub.changed:
                self.stub.changed.wait_for(lambda: self.stub.over(job_id), 20)

    def _image(self, job_id: str) -> str:
        image = self.stub.specs[job_id]["image"]
        assert isinstance(image, str)
        return image

    def _problem(self, status: int, code: str, detail: str, **more: Any) -> None:
        self._json(
            status, {"status": status, "code": code, "title": "T", "detail": detail, "request_id": "r-1", **more}
        )

    def _json(self, status: int, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

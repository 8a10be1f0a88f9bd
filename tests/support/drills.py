"""Fault drills: a fault of some length under a steady load, and its effects as clients see them.

`run` is the whole drill. `Outcome` shows what it must prove: nothing is lost or doubled, and each job ends as its program did.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import msgspec

from tests.support.history import History, creates_in, violations
from tests.support.product import TERMINAL, wait_until
from tests.support.stage import Stage

SUBMITTERS = 8
LOOK_SECONDS = 0.5
ANSWER_SECONDS = 100.0
RETRY_SECONDS = 0.2
EXIT_CODE = 3
FAILS_EVERY = 5
"""Every fifth job of the load exits with `EXIT_CODE`: a fault must not change what such a job is blamed for."""
LATE_SECONDS = 5.0
"""How long the record of an end may take on a busy machine without any fault."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How long a drill is: the fault, the load before and after it, and how long the jobs of the load run."""

    fault_seconds: float
    before_seconds: float
    after_seconds: float
    jobs_per_second: float
    runs_seconds: tuple[int, ...]
    end_seconds: float
    """Within what time after the load every job must have ended."""


class Seen(msgspec.Struct, frozen=True):
    """One answer to a client: its status, or the name of the error; how long it took; whether it has a Retry-After."""

    at: float
    what: str
    seconds: float
    retry_after: bool = False


class Outcome(msgspec.Struct, kw_only=True):
    """The result of a drill.

    `converged_seconds` is the time from the end of the fault until the last delayed create, and the last delayed record of an
    end. `last_start_seconds` is the time until the last start. `failed` counts jobs that did not end as their program did, in
    their first attempt. `violations` are broken promises, in words."""

    name: str
    fault_seconds: float
    submitted: int
    during: int
    in_flight: int
    lost: int
    doubled: int
    failed: int
    logs_lost: int
    converged_seconds: float
    last_start_seconds: float
    first_accepted_seconds: float
    submits: dict[str, int]
    reads: dict[str, int]
    ready: dict[str, int]
    slowest_submit_seconds: float
    violations: list[str]


class Load:
    """Clients that submit jobs at a steady rate and retry with the same key until each is acknowledged; and clients that read."""

    def __init__(self, stage: Stage, plan: Plan, *, name: str) -> None:
        self.stage, self.plan, self.name = stage, plan, name
        self.acknowledged: dict[str, str | None] = {}
        self.acknowledged_at: dict[str, float] = {}
        self.exit_codes: dict[str, int] = {}
        self.terminal_seen: set[tuple[str, str]] = set()
        self.submits: list[Seen] = []
        self.reads: list[Seen] = []
        self.ready: list[Seen] = []
        self.errors: list[str] = []
        self._http = httpx2.Client(base_url=stage.product.url, timeout=ANSWER_SECONDS)
        self._numbers = itertools.count()
        self._over = threading.Event()
        self._began = time.monotonic()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def running(self) -> Iterator[Load]:
        """Submit for as long as the body runs, and until the last of it is acknowledged."""
        with self._http, concurrent.futures.ThreadPoolExecutor(SUBMITTERS + 2) as pool:
            work = [pool.submit(self._submit_all) for _ in range(SUBMITTERS)]
            work += [pool.submit(self._look, "/readyz", self.ready), pool.submit(self._look_at_jobs)]
            try:
                yield self
            finally:
                self._over.set()
            for each in work:
                each.result()

    def _submit_all(self) -> None:
        while not self._over.is_set():
            with self._lock:
                number = next(self._numbers)
            due = self._began + number / self.plan.jobs_per_second
            if self._over.wait(max(0.0, due - time.monotonic())):
                return
            self._submit(number)

    def _submit(self, number: int) -> None:
        run_seconds = self.plan.runs_seconds[number % len(self.plan.runs_seconds)]
        body = {
            "image": "registry.example.com/tool:1",
            "name": self.name,
            "command": ["run"],
            "namespace": self.stage.namespace,
            "annotations": {"kjr.test/run": f"{run_seconds}s", "kjr.test/exit-code": str(_exit_code(number))},
        }
        key = f"{self.name}-{number}"
        deadline = time.monotonic() + self.plan.fault_seconds + ANSWER_SECONDS
        while True:
            answer = self._call(self.submits, "POST", "/v1/jobs", json=body, headers={"Idempotency-Key": key})
            if answer is not None and answer.status_code in (200, 201):
                with self._lock:
                    job_id = str(answer.json()["id"])
                    self.acknowledged[job_id] = key
                    self.exit_codes[job_id] = _exit_code(number)
                    self.acknowledged_at[job_id] = time.time()
                return
            if answer is not None and (answer.status_code != 503 or "retry-after" not in answer.headers):
                self.errors.append(f"{answer.status_code} {answer.text[:300]}")
                return
            assert time.monotonic() < deadline, f"submit {key} is not accepted"
            time.sleep(float(answer.headers["retry-after"]) if answer is not None else RETRY_SECONDS)

    def _call(self, seen: list[Seen], method: str, path: str, **options: Any) -> httpx2.Response | None:
        began, at = time.monotonic(), time.time()
        try:
            answer = self._http.request(method, path, **options)
        except httpx2.TransportError as error:
            seen.append(Seen(at, type(error).__name__, time.monotonic() - began))
            return None
        retry_after = "retry-after" in answer.headers
        seen.append(Seen(at, str(answer.status_code), time.monotonic() - began, retry_after))
        return answer

    def _look(self, path: str, seen: list[Seen]) -> None:
        while not self._over.wait(LOOK_SECONDS):
            self._call(seen, "GET", path)

    def _look_at_jobs(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            with self._lock:
                ids = list(self.acknowledged)[-20:]
            if not ids:
                continue
            answer = self._call(self.reads, "GET", f"/v1/jobs/{secrets.choice(ids)}")
            if answer is not None and answer.status_code == 200 and answer.json()["state"] in TERMINAL:
                self.terminal_seen.add((answer.json()["id"], answer.json()["state"]))


def _exit_code(number: int) -> int:
    return EXIT_CODE if number % FAILS_EVERY == FAILS_EVERY - 1 else 0


def _as_the_program_ended(job: dict[str, Any], exit_code: int) -> bool:
    """Return whether a job ended in its first attempt, and as its program did."""
    ended = ("failed", EXIT_CODE, "ApplicationExit") if exit_code else ("succeeded", 0, "Completed")
    return job["attempt"] == 1 and (job["state"], job["exit_code"], job["reason"]) == ended


def run(stage: Stage, name: str, fault: Callable[[], contextlib.AbstractContextManager[Any]], plan: Plan) -> Outcome:
    """Run the load with the fault in its middle, wait until every job has ended, and return the result."""
    slug = f"d{secrets.token_hex(4)}"
    load = Load(stage, plan, name=slug)
    with load.running():
        time.sleep(plan.before_seconds)
        in_flight = stage.rows("SELECT count(*) FROM jobs WHERE state IN ('starting', 'running')")[0][0]
        began_at = time.time()
        with fault():
            time.sleep(max(0.0, plan.fault_seconds - (time.time() - began_at)))
        ended_at = time.time()
        time.sleep(plan.after_seconds)
    unfinished = "SELECT count(*) FROM jobs WHERE name = $1 AND finished_at IS NULL"
    wait_until(
        lambda: stage.rows(unfinished, slug)[0][0] == 0,
        what="every job has ended",
        timeout_seconds=plan.end_seconds,
        pause_seconds=0.5,
    )
    return _outcome(stage, load, name=name, in_flight=in_flight, began_at=began_at, ended_at=ended_at)


def _outcome(stage: Stage, load: Load, *, name: str, in_flight: int, began_at: float, ended_at: float) -> Outcome:
    jobs, history = _history(stage, load)
    found = violations(history) + [f"a submit was answered: {error}" for error in load.errors]
    stored = stage.rows("SELECT count(*) FROM jobs WHERE name = $1", load.name)[0][0]
    attempts = [attempt for each in history.attempts.values() for attempt in each]
    failed = [job for job_id, job in jobs.items() if not _as_the_program_ended(job, load.exit_codes[job_id])]
    found += [
        f"job {job['id']} is {job['state']} ({job['reason']}, exit code {job['exit_code']}), attempt {job['attempt']}, "
        f"its program exited with {load.exit_codes[job['id']]}: {job['explanation']}"
        for job in failed
    ]
    accepted = [seen.at + seen.seconds for seen in load.submits if seen.what == "201"]

    def during(all_seen: list[Seen]) -> list[Seen]:
        return [seen for seen in all_seen if began_at <= seen.at + seen.seconds and seen.at <= ended_at]

    converged_seconds, last_start_seconds = _converged(stage, load, ended_at=ended_at)
    return Outcome(
        name=name,
        fault_seconds=ended_at - began_at,
        submitted=len(load.acknowledged),
        during=sum(began_at <= at <= ended_at for at in load.acknowledged_at.values()),
        in_flight=in_flight,
        lost=len(load.acknowledged) - len(jobs),
        doubled=stored - len(load.acknowledged) + sum(text.startswith(("I2", "I3")) for text in found),
        failed=len(failed),
        logs_lost=sum(attempt["logs"] == "lost" for attempt in attempts),
        converged_seconds=converged_seconds,
        last_start_seconds=last_start_seconds,
        first_accepted_seconds=min((at - ended_at for at in accepted if at > ended_at), default=0.0),
        submits=_counted(during(load.submits)),
        reads=_counted(during(load.reads)),
        ready=_counted(during(load.ready)),
        slowest_submit_seconds=max((seen.seconds for seen in during(load.submits)), default=0.0),
        violations=found,
    )


def _counted(seen: list[Seen]) -> dict[str, int]:
    return dict(Counter(each.what + (" with Retry-After" if each.retry_after else "") for each in seen))


def _history(stage: Stage, load: Load) -> tuple[dict[str, dict[str, Any]], History]:
    product = stage.product

    def read(job_id: str) -> tuple[str, dict[str, Any], list[Any], list[Any]] | None:
        answer = product.http.get(f"/v1/jobs/{job_id}")
        if answer.status_code == 404:
            return None
        return job_id, answer.json(), product.transitions(job_id), product.attempts(job_id)

    _await_logs(stage, load)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        rows = [row for row in pool.map(read, load.acknowledged) if row is not None]
    jobs = {job_id: job for job_id, job, _, _ in rows}
    return jobs, History(
        acknowledged=load.acknowledged,
        jobs=jobs,
        transitions={job_id: steps for job_id, _, steps, _ in rows},
        attempts={job_id: attempts for job_id, _, _, attempts in rows},
        creates=creates_in(stage.cluster, stage.namespace),
        terminal_seen=load.terminal_seen,
    )


def _await_logs(stage: Stage, load: Load) -> None:
    """Wait until the log of every attempt is stored or given up; a log may come after the end of its job."""
    open_logs = (
        "SELECT count(*) FROM attempts a JOIN jobs j ON j.id = a.job_id "
        "LEFT JOIN attempt_logs l ON l.job_id = a.job_id AND l.attempt = a.number "
        "WHERE j.name = $1 AND a.started_at IS NOT NULL AND l.done_at IS NULL"
    )
    rounds = iter(range(120))
    wait_until(
        lambda: stage.rows(open_logs, load.name)[0][0] == 0 or next(rounds, None) is None,
        what="every log is stored or given up, or enough of waiting for it",
        timeout_seconds=load.plan.end_seconds,
        pause_seconds=0.5,
    )


def _converged(stage: Stage, load: Load, *, ended_at: float) -> tuple[float, float]:
    """Return the seconds from the end of the fault to the last delayed create or record of an end, and to the last start.

    A job counts as ended when its Job says so: before that, the Job controller is late, not we. The last start depends on the
    cluster too.
    """
    rows = stage.rows(
        "SELECT extract(epoch FROM a.created_at)::float8 AS created, extract(epoch FROM a.started_at)::float8 AS started,"
        " extract(epoch FROM a.finished_at)::float8 AS ended, extract(epoch FROM j.finished_at)::float8 AS recorded, j.id,"
        " (SELECT extract(epoch FROM max((c ->> 'at')::timestamptz))::float8"
        "  FROM jsonb_array_elements(a.facts -> 'job' -> 'conditions') c) AS declared"
        " FROM jobs j JOIN attempts a ON a.job_id = j.id WHERE j.name = $1",
        load.name,
    )
    late, starts = [0.0], [0.0]
    for row in rows:
        if load.acknowledged_at.get(str(row["id"]), ended_at + 1) > ended_at:
            continue
        ended = max(row["ended"] or row["recorded"], row["declared"] or 0.0)
        late.append((row["created"] or 0.0) - ended_at)
        starts.append((row["started"] or 0.0) - ended_at)
        if row["recorded"] - max(ended, ended_at) > (0.0 if ended <= ended_at else LATE_SECONDS):
            late.append(row["recorded"] - ended_at)
    return max(late), max(starts)

"""The signal tables: each row is what the cluster shows, and what the product must conclude from it.

A row is submitted with three attempts of the user's budget and one free attempt, so that the number of attempts shows which
budget was charged: one for a permanent fault, three for a fault of the program, two for a fault of the infrastructure.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from testbed.cluster import Cluster
from tests.support.product import TERMINAL, Product, wait_until
from tests.support.sightings import Sightings, Signal, failed, running

MERGE_PATCH = "application/merge-patch+json"
RETRY = {"attempts": 3, "infrastructure_retries": 1, "backoff_seconds": 0.1}
ATTEMPTS = {"permanent": 1, "application": 3, "infrastructure": 2}
FOLLOWS = {"application": "Attempt 2 of 3 follows", "infrastructure": "Free retry 1 of 1 follows"}
EARLY_SECONDS = 1.5  # the test's own watch may get the event a moment after the product's


def shorten_run(bed: Bed, job_id: str, attempt: int) -> None:
    """Let a pod on a simulated node end early."""
    bed.patch(f"pods/{bed.pod_name(job_id, attempt)}", {"metadata": {"annotations": {"kjr.test/run": "0s"}}})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bed:
    """A product on a cluster, and what the test sees there. `let_go` lets a running pod succeed."""

    cluster: Cluster
    product: Product
    sightings: Sightings
    namespace: str
    let_go: Callable[[Bed, str, int], None] = shorten_run

    def pod_name(self, job_id: str, attempt: int = 1) -> str:
        """Return the name of the newest pod of an attempt."""
        return str(self.sightings.pods(job_id, attempt)[-1].object["metadata"]["name"])

    def cluster_name(self, job_id: str, attempt: int = 1) -> str:
        """Return the name of an attempt's cluster job."""
        return str(self.product.attempts(job_id)[attempt - 1]["cluster_name"])

    def seen(self, job_id: str, signal: Signal, *, what: str, attempt: int = 1, timeout_seconds: float = 60) -> None:
        """Wait until the pod of an attempt shows a signal."""
        wait_until(
            lambda: self.sightings.first(job_id, signal, attempt=attempt),
            what=f"attempt {attempt} of job {job_id} shows {what}",
            timeout_seconds=timeout_seconds,
        )

    def patch(self, path: str, body: Mapping[str, Any]) -> None:
        """Change an object of the namespace; `path` follows the namespace, as `pods/NAME`."""
        prefix = "/apis/batch/v1" if path.startswith("jobs/") else "/api/v1"
        full = f"{prefix}/namespaces/{self.namespace}/{path}"
        self.cluster.api()("PATCH", full, body, content_type=MERGE_PATCH).require(200)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One class of signals. `signal`, or `event` (reason and text), or the first of both, is what the cluster shows of
    it; without either it is the creation of the cluster job, from which the start timeout counts.

    `provoke` makes it happen to the running pod of attempt 1; attempt 2 then runs and succeeds. `says` are parts of the
    explanation: cause, place, what to do. The verdict comes `grace_seconds` after the signal,
    or `within_seconds` more.
    """

    name: str
    reason: str
    cause: str
    rule: str | None
    says: tuple[str, ...]
    signal: Signal | None = failed
    event: tuple[str, str] | None = None
    spec: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    script: Mapping[str, str] = dataclasses.field(default_factory=dict)
    exit_code: int | None = None
    grace_seconds: float = 0.0
    within_seconds: float = 10.0
    namespace: str = ""
    provoke: Callable[[Bed, str], None] | None = None

    @property
    def attempts(self) -> int:
        """How many attempts the job has in the end."""
        return 2 if self.provoke else ATTEMPTS[self.cause]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a row's job, when the cluster first showed the signal, and when it declared the Job failed, if so."""

    job: dict[str, Any]
    attempts: list[dict[str, Any]]
    transitions: list[dict[str, Any]]
    signal_at: dt.datetime | None
    job_failed_at: dt.datetime | None

    def verdict_at(self, row: Row) -> dt.datetime:
        """Return when the first attempt's verdict was recorded."""
        moves = [move for move in self.transitions if move["attempt"] == 1 and move["reason"] == row.reason]
        assert moves, f"no transition of attempt 1 has the reason {row.reason}: {self.transitions}"
        return dt.datetime.fromisoformat(moves[0]["at"])


def run(bed: Bed, rows: Iterable[Row], *, base: Mapping[str, Any], timeout_seconds: float) -> dict[str, Outcome]:
    """Submit all rows at once, provoke what must be provoked, wait for all ends; return the outcomes by name.

    A row that does not end fails its own test, not this call: its outcome is the job as it is then.
    """
    rows = list(rows)
    ids = {row.name: _submit(bed, row, base) for row in rows}
    for row in rows:
        if row.provoke:
            bed.seen(ids[row.name], running, what=f"that it runs, for {row.name}")
            row.provoke(bed, ids[row.name])
    deadline = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=timeout_seconds)
    for row in rows:
        if row.provoke:
            _let_second_attempt_end(bed, ids[row.name], deadline)
    outcomes = {}
    for row in rows:
        wait_for_end(bed.product, ids[row.name], deadline)
        outcomes[row.name] = _outcome(bed, row, ids[row.name])
    return outcomes


def _submit(bed: Bed, row: Row, base: Mapping[str, Any]) -> str:
    script = ({"run": "1h"} if row.provoke else {}) | dict(row.script)
    spec = {"retry": RETRY, "namespace": row.namespace or bed.namespace} | dict(base) | dict(row.spec)
    return bed.product.submit(annotations=script, **spec)


def _left(deadline: dt.datetime) -> float:
    return max(0.0, (deadline - dt.datetime.now(dt.UTC)).total_seconds())


def wait_for_end(product: Product, job_id: str, deadline: dt.datetime) -> None:
    """Wait until a job has ended, or the deadline is past."""
    job = product.job(job_id)
    while job["state"] not in TERMINAL and _left(deadline) > 0:
        query = {"wait": f"{max(1, min(20, int(_left(deadline))))}s", "since": job["version"]}
        job = dict(product.http.get(f"/v1/jobs/{job_id}", params=query).json())


def _let_second_attempt_end(bed: Bed, job_id: str, deadline: dt.datetime) -> None:
    wait_until(
        lambda: bed.sightings.first(job_id, running, attempt=2) or _left(deadline) == 0,
        what=f"the second attempt of job {job_id} runs",
        timeout_seconds=_left(deadline) + 5,
    )
    if bed.sightings.first(job_id, running, attempt=2):
        bed.let_go(bed, job_id, 2)


def _outcome(bed: Bed, row: Row, job_id: str) -> Outcome:
    attempts = bed.product.attempts(job_id)
    shown = []
    if row.event is not None and attempts:
        reason, text = row.event
        shown.append(bed.sightings.first_event(str(attempts[0]["cluster_name"]), reason, text))
    if row.signal is not None:
        shown.append(bed.sightings.first(job_id, row.signal))
    if row.event is None and row.signal is None and attempts:
        shown.append(dt.datetime.fromisoformat(attempts[0]["created_at"]))
    signal_at = min((at for at in shown if at is not None), default=None)
    return Outcome(
        job=bed.product.job(job_id),
        attempts=attempts,
        transitions=bed.product.transitions(job_id),
        signal_at=signal_at,
        job_failed_at=bed.sightings.job_failed(job_id),
    )


# --- What must be true of every row -----------------------------------------------------------------------------------------


def check(row: Row, outcome: Outcome) -> tuple[float, float]:
    """Compare an outcome with its row; return the seconds from the signal to the verdict, and our own part of them.

    Our own part excludes the grace period and, where a pod has ended, the time of the Job controller to report it.
    """
    job, first = outcome.job, outcome.attempts[0]
    ending = ("succeeded", "Completed") if row.provoke else ("failed", row.reason)
    assert (job["state"], job["reason"]) == ending, job
    verdict = first["verdict"]
    assert verdict is not None, first
    assert (verdict["reason"], verdict["cause"], verdict["rule"]) == (row.reason, row.cause, row.rule), verdict
    assert (first["reason"], first["exit_code"]) == (row.reason, row.exit_code), first
    missing = [part for part in row.says if part.lower() not in str(first["explanation"]).lower()]
    assert not missing, f"{missing} is not in: {first['explanation']}"
    _check_budget(row, outcome)
    return _check_time(row, outcome)


def _check_budget(row: Row, outcome: Outcome) -> None:
    assert len(outcome.attempts) == row.attempts, [attempt["verdict"] for attempt in outcome.attempts]
    again = [
        move["explanation"] for move in outcome.transitions if move["to_state"] == "queued" and move["attempt"] == 1
    ]
    if row.attempts == 1:
        assert not again
    else:
        assert FOLLOWS[row.cause] in again[0], again


def _check_time(row: Row, outcome: Outcome) -> tuple[float, float]:
    assert outcome.signal_at is not None, "the cluster never showed the signal"
    verdict_at = outcome.verdict_at(row)
    took = (verdict_at - outcome.signal_at).total_seconds()
    due_at = outcome.signal_at + dt.timedelta(seconds=row.grace_seconds)
    if outcome.job_failed_at is not None and outcome.job_failed_at <= verdict_at:
        due_at = max(due_at, outcome.job_failed_at)
    late = (verdict_at - due_at).total_seconds()
    said = f"verdict {took:.1f} s after the signal, of which ours {late:.1f} s; grace {row.grace_seconds} s"
    assert late >= -EARLY_SECONDS, said
    assert late <= row.within_seconds, said
    return took, late

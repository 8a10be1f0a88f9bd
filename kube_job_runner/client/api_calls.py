"""The HTTP calls of the API without I/O: the request of each call, and the types of its answer. Both clients share them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec

import kube_job_runner
from kube_job_runner.client import errors, models, tracing

USER_AGENT = f"kjr/{kube_job_runner.__version__}"
BATCH_MAX = 1000
LONG_POLL_SECONDS = 30
LONG_POLL_SLACK_SECONDS = 15.0
CALL_TIMEOUT_SECONDS = 30.0
FOLLOW_IDLE_SECONDS = 300.0

_encoder = msgspec.json.Encoder()


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request, relative to the base URL of the server. `timeout_seconds` limits each read of the answer."""

    method: str
    path: str
    params: dict[str, str] = {}
    headers: dict[str, str] = {}
    body: bytes | None = None
    timeout_seconds: float = CALL_TIMEOUT_SECONDS


def common_headers(token: str | None) -> dict[str, str]:
    """Return the headers of every request."""
    headers = {"User-Agent": USER_AGENT, "X-Kjr-Version": kube_job_runner.__version__, "Accept": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return headers


def new_idempotency_key() -> str:
    """Return a new, unique idempotency key."""
    return f"kjr-{uuid.uuid4()}"


def _job_path(job_id: str, tail: str = "") -> str:
    return f"/v1/jobs/{quote(job_id, safe='')}{tail}"


def _json(method: str, path: str, value: Any, **headers: str) -> Call:
    return Call(
        method=method, path=path, body=_encoder.encode(value), headers={"Content-Type": "application/json", **headers}
    )


def merge_spec(spec: dict[str, Any] | None, fields: dict[str, Any]) -> dict[str, Any]:
    """Return the spec of a submit: the mapping, with the keyword arguments on top. Arguments that are None are left out.

    Raises:
        TypeError: neither holds anything.
    """
    merged = {**(spec or {}), **{key: value for key, value in fields.items() if value is not None}}
    if not merged:
        raise TypeError("submit needs a spec, or its fields as keyword arguments: submit(image=..., command=[...])")
    return merged


def submit(spec: Mapping[str, Any], idempotency_key: str, *, strict: bool) -> Call:
    """Store one job."""
    return _submit("/v1/jobs", spec, idempotency_key, strict=strict)


def submit_many(specs: Sequence[Mapping[str, Any]], idempotency_key: str, *, strict: bool) -> Call:
    """Store up to `BATCH_MAX` jobs. Each gets its own answer."""
    return _submit("/v1/jobs:batch", {"jobs": list(specs)}, idempotency_key, strict=strict)


def _submit(path: str, body: Any, idempotency_key: str, *, strict: bool) -> Call:
    call = _json("POST", path, body, **{"Idempotency-Key": idempotency_key}, **tracing.headers())
    return msgspec.structs.replace(call, params={"strict": "true"}) if strict else call


def get(job_id: str) -> Call:
    """Read one job."""
    return Call(method="GET", path=_job_path(job_id))


def poll(job_id: str, *, since: int, wait_seconds: float) -> Call:
    """Read one job once its version is above `since`, or after `wait_seconds`."""
    return Call(
        method="GET",
        path=_job_path(job_id),
        params={"wait": f"{wait_seconds:g}s", "since": str(since)},
        timeout_seconds=wait_seconds + LONG_POLL_SLACK_SECONDS,
    )


def list_page(filters: Mapping[str, Any], *, limit: int, cursor: str | None) -> Call:
    """Read one page of jobs, newest first."""
    params = {"limit": str(limit)}
    for name, value in filters.items():
        if value is None or value == () or value == "":
            continue
        if isinstance(value, datetime):
            params[name] = value.isoformat()
        elif isinstance(value, str):
            params[name] = value
        elif isinstance(value, Mapping):
            params[name] = ",".join(f"{key}={item}" for key, item in value.items())
        elif isinstance(value, Iterable):
            params[name] = ",".join(str(item) for item in value)
        else:
            params[name] = str(value)
    if cursor:
        params["cursor"] = cursor
    return Call(method="GET", path="/v1/jobs", params=params)


def cancel(job_id: str, reason: str, grace_seconds: int | None = None) -> Call:
    """Cancel a job."""
    body: dict[str, Any] = {"reason": reason} if reason else {}
    if grace_seconds is not None:
        body["grace_seconds"] = grace_seconds
    return _json("POST", _job_path(job_id, ":cancel"), body)


def rerun(job_id: str, changes: Mapping[str, Any] | None, idempotency_key: str, *, force: bool) -> Call:
    """Store a new job with the spec of another one, and with changes."""
    body: dict[str, Any] = {"set": dict(changes or {})}
    if force:
        body["force"] = True
    headers = {"Idempotency-Key": idempotency_key, **tracing.headers()}
    return _json("POST", _job_path(job_id, ":rerun"), body, **headers)


def simulate(
    policy: Mapping[str, Any], *, jobs: Sequence[str], failures: Sequence[Mapping[str, Any]], memory: str | None
) -> Call:
    """Simulate a retry policy."""
    body: dict[str, Any] = {"policy": dict(policy), "jobs": list(jobs), "failures": list(failures)}
    if memory is not None:
        body["memory"] = memory
    return _json("POST", "/v1/retry-policies:simulate", {key: value for key, value in body.items() if value != []})


def part(job_id: str, name: str) -> Call:
    """Read `transitions`, `attempts`, `spec`, `timeline` or `explanation` of a job."""
    return Call(method="GET", path=_job_path(job_id, "/" + name))


def logs(job_id: str, *, follow: bool, attempt: int | None, params: Mapping[str, str]) -> Call:
    """Read the log of one attempt as raw bytes. `params` come from a `LogCursor`."""
    params = dict(params)
    if follow:
        params["follow"] = "true"
    if attempt is not None:
        params["attempt"] = str(attempt)
    headers = {"Accept": "text/plain, */*", "Accept-Encoding": "identity"}
    timeout = FOLLOW_IDLE_SECONDS if follow else CALL_TIMEOUT_SECONDS
    return Call(method="GET", path=_job_path(job_id, "/logs"), params=params, headers=headers, timeout_seconds=timeout)


def version() -> Call:
    """Read the server's version."""
    return Call(method="GET", path="/v1/version")


def problem_of(status: int, body: bytes) -> models.Problem:
    """Return the problem of an error answer. If the body is not a problem (from a proxy, for example), make one from its text."""
    try:
        raw = msgspec.json.decode(body, type=dict[str, Any])
        problem = models.read(models.Problem, {**raw, "status": status})
    except (ValueError, TypeError):
        text = body[:500].decode("utf-8", "replace").strip()
        return models.Problem(status=status, title=f"HTTP {status}", detail=f"HTTP {status}: {text}" if text else "")
    return problem


def decode(body: bytes) -> dict[str, Any]:
    """Return the JSON object of an answer.

    Raises:
        UnexpectedAnswer: the answer is not a JSON object.
    """
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except ValueError as error:
        raise errors.UnexpectedAnswer(f"the answer is not a JSON object ({error}); is the server URL right?") from None


def read_job(body: bytes) -> models.Job:
    """Return the job of an answer."""
    return _read(models.Job, decode(body))


def read_page(body: bytes) -> tuple[list[models.Job], str | None]:
    """Return the jobs of a page, and the cursor of the next page if there is one."""
    raw = decode(body)
    return [_read(models.Job, item) for item in _items(raw, "jobs")], raw.get("next_cursor") or None


def read_transitions(body: bytes) -> list[models.Transition]:
    """Return the transitions of an answer, oldest first."""
    return [_read(models.Transition, item) for item in _items(decode(body), "transitions")]


def read_attempts(body: bytes) -> list[models.Attempt]:
    """Return the attempts of an answer, oldest first."""
    return [_read(models.Attempt, item) for item in _items(decode(body), "attempts")]


def read_timeline(body: bytes) -> models.Timeline:
    """Return the timeline of an answer."""
    raw = decode(body)
    phases = [_read(models.Phase, item) for item in _items(raw, "phases")]
    return msgspec.structs.replace(_read(models.Timeline, {**raw, "phases": []}), phases=phases, raw=raw)


def read_explanation(body: bytes) -> models.Explanation:
    """Return the explanation of an answer."""
    return _read(models.Explanation, decode(body))


def read_simulations(body: bytes) -> list[models.Simulation]:
    """Return the simulations of an answer, in the order of the jobs in the request."""
    return [_read(models.Simulation, item) for item in _items(decode(body), "simulations")]


def read_batch(body: bytes, count: int) -> list[models.BatchAnswer]:
    """Return the answers of a batch, in the order of its jobs."""
    items = _items(decode(body), "results", "jobs", "items")
    if len(items) != count:
        raise errors.UnexpectedAnswer(f"the batch had {count} jobs, the answer has {len(items)}")
    answers = []
    for item in items:
        job, problem = item.get("job"), item.get("problem")
        answers.append(
            models.BatchAnswer(
                status=int(item.get("status") or 0),
                job=_read(models.Job, job) if isinstance(job, dict) else None,
                problem=_read(models.Problem, problem) if isinstance(problem, dict) else None,
            )
        )
    return answers


def _items(raw: Mapping[str, Any], *names: str) -> list[dict[str, Any]]:
    for name in names:
        items = raw.get(name)
        if isinstance(items, list) and all(isinstance(item, dict) for item in items):
            return items
    raise errors.UnexpectedAnswer(f"the answer has no list {names[0]!r}; is the server URL right?")


def _read(type_: type[models.RecordT], raw: Mapping[str, Any]) -> models.RecordT:
    try:
        return models.read(type_, raw)
    except ValueError as error:
        raise errors.UnexpectedAnswer(f"the answer is not a {type_.__name__.lower()}: {error}") from None

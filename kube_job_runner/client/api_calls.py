"""The HTTP calls of the API without I/O: the request of each call, and the reader of its answer. Both clients share them."""

import functools
import os
import re
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, TypedDict, TypeVar
from urllib.parse import quote

import msgspec

import kube_job_runner
from kube_job_runner.client import errors, models

USER_AGENT = f"kjr/{kube_job_runner.__version__}"
BATCH_MAX = 1000
LONG_POLL_SECONDS = 30
LONG_POLL_SLACK_SECONDS = 15.0
CALL_TIMEOUT_SECONDS = 30.0
FOLLOW_IDLE_SECONDS = 300.0

AnswerT = TypeVar("AnswerT")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]*)?")
_encoder = msgspec.json.Encoder()


class Call(msgspec.Struct, Generic[AnswerT], frozen=True, kw_only=True):
    """A request, relative to the base URL of the server. `read` makes the value of a call from the body of its answer.

    `timeout_seconds` limits each read of the answer.
    """

    path: str
    read: Callable[[bytes], AnswerT]
    method: str = "GET"
    params: dict[str, str] = {}
    headers: dict[str, str] = {}
    body: bytes | None = None
    timeout_seconds: float = CALL_TIMEOUT_SECONDS


class JobFilters(TypedDict, total=False):
    """The filters of a list of jobs. `labels` is a Kubernetes label selector or a mapping."""

    state: str | Sequence[str] | None
    queue: str | None
    labels: str | Mapping[str, str] | None
    name: str | None
    created_after: datetime | None
    created_before: datetime | None
    reason: str | None
    rerun_of: str | None
    namespace: str | None


def common_headers(token: str | None) -> dict[str, str]:
    """Return the headers of every request."""
    headers = {"User-Agent": USER_AGENT, "X-Kjr-Version": kube_job_runner.__version__, "Accept": "application/json"}
    return headers | ({"Authorization": f"Bearer {token}"} if token else {})


def new_idempotency_key() -> str:
    return f"kjr-{uuid.uuid4()}"


def _job_path(job_id: str, tail: str = "") -> str:
    return f"/v1/jobs/{quote(job_id, safe='')}{tail}"


def _post(
    path: str, value: Any, read: Callable[[bytes], AnswerT], *, key: str | None = None, strict: bool = False
) -> Call[AnswerT]:
    headers = {"Content-Type": "application/json"}
    if key is not None:
        headers |= {"Idempotency-Key": key, **_trace_headers()}
    params = {"strict": "true"} if strict else {}
    return Call(method="POST", path=path, params=params, headers=headers, body=_encoder.encode(value), read=read)


def _trace_headers() -> dict[str, str]:
    """Return the header `traceparent` (W3C Trace Context) of the current span, else of TRACEPARENT, or no header."""
    found = os.environ.get("TRACEPARENT", "")
    trace: Any = sys.modules.get("opentelemetry.trace")  # not imported here: a program without it has no span
    if trace is not None and (span := trace.get_current_span().get_span_context()).is_valid:
        found = f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags & 1:02x}"
    return {"traceparent": found} if _TRACEPARENT.fullmatch(found) else {}


def submit(
    spec: Mapping[str, Any] | None, fields: Mapping[str, Any], key: str | None, *, strict: bool
) -> Call[models.Job]:
    """Store one job: the spec, with the fields on top. Fields that are None are left out.

    Raises:
        TypeError: neither holds anything.
    """
    merged = {**(spec or {}), **{name: value for name, value in fields.items() if value is not None}}
    if not merged:
        raise TypeError("submit needs a spec, or its fields as keyword arguments: submit(image=..., command=[...])")
    return _post("/v1/jobs", merged, _one(models.Job), key=key or new_idempotency_key(), strict=strict)


def batches(
    specs: Sequence[Mapping[str, Any]], key: str | None, *, strict: bool
) -> Iterator[Call[list[models.BatchAnswer]]]:
    """Store jobs, up to `BATCH_MAX` with each call. Each job gets its own answer."""
    key = key or new_idempotency_key()
    for start in range(0, len(specs), BATCH_MAX):
        part = list(specs[start : start + BATCH_MAX])
        read = functools.partial(_read_batch, count=len(part))
        yield _post("/v1/jobs:batch", {"jobs": part}, read, key=f"{key}/{start}" if start else key, strict=strict)


def get(job_id: str) -> Call[models.Job]:
    return Call(path=_job_path(job_id), read=_one(models.Job))


def poll(job_id: str, *, since: int, wait_seconds: float) -> Call[models.Job]:
    """Read one job once its version is above `since`, or after `wait_seconds`."""
    params = {"wait": f"{wait_seconds:g}s", "since": str(since)}
    timeout = wait_seconds + LONG_POLL_SLACK_SECONDS
    return Call(path=_job_path(job_id), params=params, timeout_seconds=timeout, read=_one(models.Job))


def check_filters(filters: JobFilters) -> None:
    """Check the names of filters, as a signature with all of them would.

    Raises:
        TypeError: there is no such filter.
    """
    if unknown := filters.keys() - JobFilters.__annotations__.keys():
        raise TypeError(f"list has no filter {min(unknown)!r}")


def list_page(filters: JobFilters, *, limit: int, cursor: str | None) -> Call[tuple[list[models.Job], str | None]]:
    """Read one page of jobs, newest first, and the cursor of the next page if there is one."""
    params = {"limit": str(limit)} | ({"cursor": cursor} if cursor else {})
    for name, value in filters.items():
        if value is None or value == () or value == "":
            continue
        if isinstance(value, datetime):
            params[name] = value.isoformat()
        elif isinstance(value, Mapping):
            params[name] = ",".join(f"{key}={item}" for key, item in value.items())
        elif isinstance(value, Iterable) and not isinstance(value, str):
            params[name] = ",".join(str(item) for item in value)
        else:
            params[name] = str(value)
    return Call(path="/v1/jobs", params=params, read=_read_page)


def cancel(job_id: str, reason: str, grace_seconds: int | None) -> Call[models.Job]:
    body: dict[str, Any] = {"reason": reason} if reason else {}
    if grace_seconds is not None:
        body["grace_seconds"] = grace_seconds
    return _post(_job_path(job_id, ":cancel"), body, _one(models.Job))


def rerun(job_id: str, changes: Mapping[str, Any] | None, key: str | None, *, force: bool) -> Call[models.Job]:
    """Store a new job with the spec of another one, and with changes."""
    body = {"set": dict(changes or {})} | ({"force": True} if force else {})
    return _post(_job_path(job_id, ":rerun"), body, _one(models.Job), key=key or new_idempotency_key())


def simulate(
    policy: Mapping[str, Any], *, jobs: Sequence[str], failures: Sequence[Mapping[str, Any]], memory: str | None
) -> Call[list[models.Simulation]]:
    """Simulate a retry policy, for jobs in the order of the answer."""
    body = {"policy": dict(policy), "jobs": list(jobs), "failures": list(failures), "memory": memory}
    given = {key: value for key, value in body.items() if value is not None and value != []}
    return _post("/v1/retry-policies:simulate", given, _several(models.Simulation, "simulations"))


def explanation(job_id: str) -> Call[models.Explanation]:
    return Call(path=_job_path(job_id, "/explanation"), read=_one(models.Explanation))


def timeline(job_id: str) -> Call[models.Timeline]:
    return Call(path=_job_path(job_id, "/timeline"), read=_read_timeline)


def parts(job_id: str, name: str, type_: type[models.RecordT]) -> Call[list[models.RecordT]]:
    """Read the `transitions` or the `attempts` of a job, oldest first."""
    return Call(path=_job_path(job_id, f"/{name}"), read=_several(type_, name))


def spec(job_id: str) -> Call[dict[str, Any]]:
    return Call(path=_job_path(job_id, "/spec"), read=_decode)


def logs(job_id: str, *, follow: bool, attempt: int | None, params: dict[str, str]) -> Call[bytes]:
    """Read the log of one attempt as raw bytes. `params` come from a `LogCursor`."""
    given = {"follow": "true" if follow else None, "attempt": None if attempt is None else str(attempt)}
    return Call(
        path=_job_path(job_id, "/logs"),
        params=params | {name: value for name, value in given.items() if value is not None},
        headers={"Accept": "text/plain, */*", "Accept-Encoding": "identity"},
        timeout_seconds=FOLLOW_IDLE_SECONDS if follow else CALL_TIMEOUT_SECONDS,
        read=bytes,
    )


def version() -> Call[dict[str, Any]]:
    return Call(path="/v1/version", read=_decode)


def problem_of(status: int, body: bytes) -> models.Problem:
    """Return the problem of an error answer. If the body is not a problem (from a proxy, for example), make one from its text."""
    try:
        raw = msgspec.json.decode(body, type=dict[str, Any])
        return models.read(models.Problem, {**raw, "status": status})
    except (ValueError, TypeError):
        text = body[:500].decode("utf-8", "replace").strip()
        return models.Problem(status=status, title=f"HTTP {status}", detail=f"HTTP {status}: {text}" if text else "")


# --- readers of answers: they raise `UnexpectedAnswer` for an answer of another shape ---


def _decode(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except ValueError as error:
        raise errors.UnexpectedAnswer(f"the answer is not a JSON object ({error}); is the server URL right?") from None


def _one(type_: type[models.RecordT]) -> Callable[[bytes], models.RecordT]:
    return lambda body: _record(type_, _decode(body))


def _several(type_: type[models.RecordT], name: str) -> Callable[[bytes], list[models.RecordT]]:
    return lambda body: [_record(type_, item) for item in _items(_decode(body), name)]


def _read_page(body: bytes) -> tuple[list[models.Job], str | None]:
    raw = _decode(body)
    return [_record(models.Job, item) for item in _items(raw, "jobs")], raw.get("next_cursor") or None


def _read_timeline(body: bytes) -> models.Timeline:
    raw = _decode(body)
    phases = [_record(models.Phase, item) for item in _items(raw, "phases")]
    return msgspec.structs.replace(_record(models.Timeline, {**raw, "phases": []}), phases=phases, raw=raw)


def _read_batch(body: bytes, *, count: int) -> list[models.BatchAnswer]:
    items = _items(_decode(body), "results", "jobs", "items")
    if len(items) != count:
        raise errors.UnexpectedAnswer(f"the batch had {count} jobs, the answer has {len(items)}")
    return [
        models.BatchAnswer(
            status=int(item.get("status") or 0),
            job=_record(models.Job, item["job"]) if isinstance(item.get("job"), dict) else None,
            problem=_record(models.Problem, item["problem"]) if isinstance(item.get("problem"), dict) else None,
        )
        for item in items
    ]


def _items(raw: Mapping[str, Any], *names: str) -> list[dict[str, Any]]:
    for name in names:
        items = raw.get(name)
        if isinstance(items, list) and all(isinstance(item, dict) for item in items):
            return items
    raise errors.UnexpectedAnswer(f"the answer has no list {names[0]!r}; is the server URL right?")


def _record(type_: type[models.RecordT], raw: Mapping[str, Any]) -> models.RecordT:
    try:
        return models.read(type_, raw)
    except ValueError as error:
        raise errors.UnexpectedAnswer(f"the answer is not a {type_.__name__.lower()}: {error}") from None

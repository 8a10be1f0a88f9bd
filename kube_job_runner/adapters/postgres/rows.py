"""Tables: which column holds which field of the domain's types, and how rows become those types."""

import operator
import re
from typing import Any

import msgspec

from kube_job_runner.adapters.postgres.columns import Column, Columns
from kube_job_runner.adapters.postgres.tolerant_json import TolerantDecoder
from kube_job_runner.domain import messages
from kube_job_runner.domain.decide.parking import Parking
from kube_job_runner.domain.facts import AttemptFacts
from kube_job_runner.domain.job import Anomaly, Attempt, CancelRequest, Job, Marks, Policy, Transition, Verdict
from kube_job_runner.domain.logs.chunks import Chunk
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.domain.states import State
from kube_job_runner.ports import LogWrite, Token

_encoder = msgspec.json.Encoder()
_verdict: TolerantDecoder[Verdict] = TolerantDecoder(Verdict)
_spec = msgspec.json.Decoder(JobSpec)

# PostgreSQL cannot store NUL, neither in text nor in jsonb. Kubernetes passes on what programs wrote, so it can occur.
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
_SHOWN = "\N{REPLACEMENT CHARACTER}"


def as_json(value: Any) -> str:
    """Return the JSON text of a value, as a parameter of type jsonb."""
    encoded: str = _encoder.encode(value).decode()
    return _NUL.sub(rf"\1{_SHOWN}", encoded) if "\\u0000" in encoded else encoded


def text(value: str) -> str:
    """Return a text as PostgreSQL can store it."""
    return value.replace("\0", _SHOWN) if "\0" in value else value


def _or_none(convert: Any) -> Any:
    return lambda value: None if value is None else convert(value)


def _json(name: str, type_: Any) -> Column:
    return Column(name, "jsonb", encode=as_json, decode=TolerantDecoder(type_).decode)


# --- Jobs and their history ---

JOBS: Columns[Job] = Columns(
    Column("id", "uuid", key=True),
    Column("name", "text"),
    Column("queue", "text"),
    Column("namespace", "text"),
    Column("priority", "smallint"),
    Column("owner", "text"),
    _json("labels", dict[str, str]),
    _json("policy", Policy),
    Column("state", "text", decode=State),
    Column("version", "integer"),
    Column("attempt", "integer"),
    Column("created_at", "timestamptz"),
    Column("due_at", "timestamptz"),
    Column("admitted_at", "timestamptz"),
    Column("waiting_since", "timestamptz"),
    Column("create_until", "timestamptz"),
    Column("started_at", "timestamptz"),
    Column("finished_at", "timestamptz"),
    Column("next_check_at", "timestamptz"),
    Column("reason", "text", encode=text),
    Column("explanation", "text", encode=text),
    Column("exit_code", "integer"),
    Column("rerun_of", "uuid"),
    Column("traceparent", "text"),
)
JOB_IDENTITIES = JOBS.only("id", "name")
"""The columns of a new job whose values differ from job to job."""
JOB_COMMON = JOBS.only(
    *("queue", "namespace", "priority", "owner", "labels", "policy", "created_at", "next_check_at", "rerun_of"),
    "traceparent",
)
"""The columns of a new job that most jobs of a submit share."""
JOB_DUE = JOBS.only("due_at")
"""Most jobs of a submit share it too, but the statement may change it."""
JOB_CHANGES = JOBS.only(
    *("id", "state", "version", "attempt", "due_at", "admitted_at", "create_until", "started_at", "finished_at"),
    *("next_check_at", "reason", "explanation", "exit_code", "waiting_since"),
)
"""The columns of a job that a decision may change."""
CANCELS: Columns[CancelRequest] = Columns(
    Column("cancel_requested_at", "timestamptz", field="at"),
    Column("cancel_by", "text", field="by"),
    Column("cancel_reason", "text", field="reason"),
    Column("cancel_grace_seconds", "integer", field="grace_seconds"),
)
JOB_ROWS: Columns[Any] = Columns(*JOBS.columns, *CANCELS.columns)
"""All columns of a job, as `job` reads them."""
TRANSITIONS: Columns[Transition] = Columns(
    Column("job_id", "uuid", key=True),
    Column("version", "integer", key=True),
    Column("attempt", "integer"),
    Column("from_state", "text", decode=_or_none(State)),
    Column("to_state", "text", decode=State),
    Column("at", "timestamptz", key=True),
    Column("reason", "text", encode=text),
    Column("explanation", "text", encode=text),
    Column("exit_code", "integer"),
)
ANOMALIES: Columns[Anomaly] = Columns(
    Column("job_id", "uuid", key=True),
    Column("attempt", "integer", key=True),
    Column("kind", "text", key=True),
    Column("detail", "text", encode=text),
    Column("at", "timestamptz"),
)

# --- Attempts ---

ATTEMPTS: Columns[Attempt] = Columns(
    Column("job_id", "uuid", key=True),
    Column("number", "integer", key=True),
    Column("namespace", "text"),
    Column("cluster_name", "text"),
    Column("cluster_uid", "text"),
    Column("created_at", "timestamptz"),
    Column("started_at", "timestamptz"),
    Column("finished_at", "timestamptz"),
    Column("node", "text"),
    Column("pod_name", "text"),
    Column("verdict", "jsonb", encode=_or_none(as_json), decode=_or_none(_verdict.decode)),
    Column("decided_at", "timestamptz"),
    Column("unhealthy_reason", "text", encode=text),
    Column("unhealthy_since", "timestamptz"),
    Column("delete_requested_at", "timestamptz"),
    Column("delete_grace_seconds", "integer"),
    Column("gone_at", "timestamptz"),
    Column("memory", "text"),
    _json("marks", Marks),
    _json("facts", AttemptFacts),
)
_LOG_PROGRESS: Columns[Attempt] = Columns(Column("logs", "text"), Column("logs_lost", "text"))
"""What `attempt_logs` says about an attempt. It is read together with the attempt, and the log-collector writes it."""

# --- Parked namespaces ---

PARKINGS: Columns[Parking] = Columns(
    Column("namespace", "text", key=True),
    Column("since", "timestamptz"),
    Column("probe_at", "timestamptz"),
    Column("tries", "integer"),
    Column("allowance", "integer"),
    Column("reason", "text", encode=text),
    Column("explanation", "text", encode=text),
)

# --- Messages and logs ---

MESSAGES: Columns[messages.Outgoing] = Columns(
    Column("delay_seconds", "double precision"),
    Column("priority", "smallint"),
    Column("body", "bytea", field="message", encode=messages.encode),
)
"""The input of a send, not a table: the database turns the delay into a time."""
LOG_WRITES: Columns[LogWrite] = Columns(
    Column("job_id", "uuid", field="key", encode=operator.itemgetter(0)),
    Column("attempt", "integer", field="key", encode=operator.itemgetter(1)),
    Column("status", "text"),
    Column("lost_reason", "text", encode=text),
    Column("fresh", "boolean"),
)
"""The input of a write of the log-collector, without the chunks."""
CHUNKS: Columns[Chunk] = Columns(
    Column("container", "text", key=True),
    Column("seq", "integer", key=True),
    Column("first_line", "bigint"),
    Column("lines", "bigint"),
    Column("first_byte", "bigint"),
    Column("bytes", "bigint", field="size_bytes"),
    Column("open_bytes", "bigint"),
    Column("continues", "boolean"),
    Column("sealed", "boolean"),
    Column("first_stamp", "bigint"),
    Column("last_stamp", "bigint"),
    Column("mark", "text"),
    Column("data", "bytea"),
)
CHUNK_HEADS: Columns[Chunk] = Columns(*CHUNKS.columns[:-1])
"""All columns of a chunk except its data."""
TOKENS: Columns[Token] = Columns(
    Column("token_hash", "bytea", key=True),
    Column("name", "text"),
    Column("prefix", "text"),
    Column("created_at", "timestamptz"),
    Column("expires_at", "timestamptz"),
    Column("revoked_at", "timestamptz"),
)

SETS: dict[str, Columns[Any]] = {
    "job_identities": JOB_IDENTITIES,
    "job_common": JOB_COMMON,
    "job_due": JOB_DUE,
    "job_changes": JOB_CHANGES,
    "job_rows": JOB_ROWS,
    "transitions": TRANSITIONS,
    "anomalies": ANOMALIES,
    "attempts": ATTEMPTS,
    "parkings": PARKINGS,
    "messages": MESSAGES,
    "log_writes": LOG_WRITES,
    "chunks": CHUNKS,
    "chunk_heads": CHUNK_HEADS,
    "tokens": TOKENS,
}
"""The sets that the statements in `queries/` use."""

# --- Readers of rows ---

_cancel = CANCELS.reader(CancelRequest)
_attempt: Columns[Attempt] = Columns(*ATTEMPTS.columns, *_LOG_PROGRESS.columns)

job = JOBS.reader(Job, cancel=lambda row: None if row["cancel_requested_at"] is None else _cancel(row))
attempt = _attempt.reader(Attempt)
loaded_attempt = _attempt.reader(Attempt, prefix="a_")
transition = TRANSITIONS.reader(Transition)
anomaly = ANOMALIES.reader(Anomaly)
parking = PARKINGS.reader(Parking)
chunk = CHUNKS.reader(Chunk)
token = TOKENS.reader(Token)


def spec(encoded: bytes | None) -> JobSpec | None:
    """Return the spec of its encoded form, or None."""
    return None if encoded is None else _spec.decode(encoded)

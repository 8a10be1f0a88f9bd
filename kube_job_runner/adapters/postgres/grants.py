"""The rights of each component in PostgreSQL, with the reason for each. No other module knows them.

`roles.py` makes GRANTs and the check at start from this table. The reference page is written from it, and a test compares it
with the database, right by right. A right names columns where a component may write only some of them: only the
messages-processor writes the state of a job, and only the web-server writes a cancel request.
"""

from __future__ import annotations

import msgspec

ALL = ("*",)
"""All columns of a table, including those of later migrations."""

Columns = tuple[str, ...]


class Rights(msgspec.Struct, frozen=True, kw_only=True):
    """The rights of a role on one table: the columns for each verb, and why it needs them."""

    why: str
    select: Columns = ()
    insert: Columns = ()
    update: Columns = ()
    delete: bool = False

    def columns(self) -> dict[str, Columns]:
        """Return the verbs that are allowed, with their columns. DELETE is always for the whole row."""
        verbs = {
            "SELECT": self.select,
            "INSERT": self.insert,
            "UPDATE": self.update,
            "DELETE": ALL if self.delete else (),
        }
        return {verb: columns for verb, columns in verbs.items() if columns}


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """The rights of one component by table, and the functions that it may call."""

    duty: str
    tables: dict[str, Rights]
    functions: tuple[str, ...] = ()


TABLES = (
    "anomalies",
    "attempt_logs",
    "attempts",
    "component_leases",
    "dead_letters",
    "idempotency_keys",
    "installation",
    "job_specs",
    "jobs",
    "log_chunks",
    "messages",
    "schema_migrations",
    "tokens",
    "transitions",
)
"""All tables. Partitions are not listed: PostgreSQL checks the rights on the parent."""

FUNCTIONS = ("maintain_transition_partitions(integer)",)
"""The functions that some role calls."""

_SEND: Columns = ("available_at", "priority", "body")
_LEASE: Columns = ("available_at", "lease_token", "deliveries")

_SCHEMA = {"schema_migrations": Rights(select=ALL, why="whether the schema fits the program")}
_INSTALLATION = {"installation": Rights(select=ALL, why="the id that marks its objects in the cluster")}
_LEASES = {
    "component_leases": Rights(
        select=ALL,
        insert=("component", "holder", "session", "expires_at"),
        update=("holder", "epoch", "session", "taken_at", "expires_at"),
        why="who leads; its row lock is the fence of every write",
    )
}

_WEB_SERVER = Role(
    duty="stores jobs, answers for them, and records cancel requests",
    tables={
        **_SCHEMA,
        "jobs": Rights(
            select=ALL,
            insert=(
                *("id", "priority", "name", "queue", "namespace", "owner", "labels", "policy", "created_at", "due_at"),
                *("next_check_at", "rerun_of", "traceparent"),
            ),
            update=("cancel_requested_at", "cancel_by", "cancel_reason", "cancel_grace_seconds", "version"),
            why="submit and cancel; no state is ever named here: a job begins as its defaults say",
        ),
        "job_specs": Rights(select=ALL, insert=ALL, why="submit, and run again"),
        "transitions": Rights(select=ALL, insert=("job_id", "at"), why="the first step of a job, which is the default"),
        "messages": Rights(insert=("priority", "body"), why="to say that there is work; none is read"),
        "idempotency_keys": Rights(select=ALL, insert=ALL, why="one key, one job"),
        "attempts": Rights(select=ALL, why="what became of a job"),
        "anomalies": Rights(select=ALL, why="what became of a job"),
        "attempt_logs": Rights(select=ALL, update=("wanted_at",), why="to wake the log-collector for a reader"),
        "log_chunks": Rights(select=ALL, why="logs for readers"),
        "tokens": Rights(select=ALL, why="who may enter; tokens are made by the owner of the database"),
    },
)

_PROCESSOR = Role(
    duty="moves jobs; the only one that writes the state of a job after its submit",
    tables={
        **_SCHEMA,
        **_INSTALLATION,
        "jobs": Rights(
            select=ALL,
            update=(
                *("state", "version", "attempt", "due_at", "admitted_at", "started_at", "finished_at", "next_check_at"),
                *("reason", "explanation", "exit_code"),
            ),
            why="the state, never what was asked for",
        ),
        "job_specs": Rights(select=ALL, why="what is created in the cluster"),
        "attempts": Rights(select=ALL, insert=ALL, update=ALL, why="what was created, and what was seen of it"),
        "attempt_logs": Rights(
            select=ALL,
            insert=("job_id", "attempt", "lost_reason"),
            update=("lost_reason",),
            why="the list of the log-collector",
        ),
        "transitions": Rights(insert=ALL, why="history, append-only"),
        "anomalies": Rights(insert=ALL, why="evidence against a terminal state, append-only"),
        "messages": Rights(select=ALL, insert=_SEND, update=_LEASE, delete=True, why="the queue"),
        "dead_letters": Rights(
            insert=("message_id", "sent_at", "deliveries", "priority", "body", "error"),
            why="messages taken out of circulation",
        ),
    },
)

_WATCHER_TABLES = {
    **_SCHEMA,
    **_INSTALLATION,
    **_LEASES,
    "attempts": Rights(
        select=("job_id", "number", "namespace", "cluster_uid", "gone_at"),
        why="what should be in the cluster, after a relist",
    ),
    "messages": Rights(insert=_SEND, why="to report what was seen"),
}

_COLLECTOR = Role(
    duty="stores logs before their cluster jobs are deleted",
    tables={
        **_SCHEMA,
        **_INSTALLATION,
        "jobs": Rights(
            select=("id", "state", "cancel_requested_at", "traceparent"), why="whether a job ends, and its trace"
        ),
        "attempts": Rights(
            select=(
                *("job_id", "number", "namespace", "pod_name", "started_at", "decided_at", "gone_at", "facts"),
                "delete_requested_at",
            ),
            why="where the pod is, and whether it has ended",
        ),
        "attempt_logs": Rights(
            select=ALL,
            update=("version", "status", "lost_reason", "done_at", "fresh_at", "leased_until", "lease_token"),
            why="its list",
        ),
        "log_chunks": Rights(select=ALL, insert=ALL, update=ALL, delete=True, why="logs"),
        "messages": Rights(insert=_SEND, why="a check of the job that waited for its log"),
    },
)

_SWEEPER = Role(
    duty="sends the checks that are due, removes by retention, compares the store with the cluster",
    functions=("maintain_transition_partitions(integer)",),
    tables={
        **_SCHEMA,
        **_INSTALLATION,
        **_LEASES,
        "jobs": Rights(
            select=(
                *("id", "state", "attempt", "next_check_at", "finished_at"),
                *("queue", "admitted_at", "cancel_requested_at"),
            ),
            update=("next_check_at",),
            delete=True,
            why="what is due, what is old, and how much waits",
        ),
        "job_specs": Rights(select=("job_id",), delete=True, why="retention; specs are not read"),
        "attempts": Rights(
            select=(*("job_id", "number", "namespace", "cluster_name", "cluster_uid", "facts", "gone_at"),),
            delete=True,
            why="retention, and what should be in the cluster",
        ),
        "attempt_logs": Rights(
            select=("job_id", "attempt", "done_at", "removed_at", "version"),
            update=("removed_at", "version"),
            delete=True,
            why="retention",
        ),
        "log_chunks": Rights(
            select=("job_id", "attempt", "container", "seq", "mark"), delete=True, why="retention; logs are not read"
        ),
        "transitions": Rights(select=("job_id",), delete=True, why="retention"),
        "anomalies": Rights(select=("job_id",), delete=True, why="retention"),
        "idempotency_keys": Rights(
            select=("owner", "key", "created_at"),
            update=("created_at",),
            delete=True,
            why="retention; a row lock asks for UPDATE on some column, and nothing is updated",
        ),
        "dead_letters": Rights(select=("id", "died_at"), delete=True, why="retention; bodies are not read"),
        "messages": Rights(
            select=("id", "priority", "available_at"),
            insert=_SEND,
            why="checks, what was found missing, and how much waits; bodies are not read",
        ),
    },
)

_RELAY = Role(
    duty="sends what lies in the outbox to SQS, then deletes it",
    tables={
        **_SCHEMA,
        **_INSTALLATION,
        "messages": Rights(select=ALL, update=_LEASE, delete=True, why="the outbox"),
        "dead_letters": Rights(
            insert=("message_id", "sent_at", "deliveries", "priority", "body", "error"),
            why="messages that the queue refuses",
        ),
    },
)

ROLES: dict[str, Role] = {
    "web-server": _WEB_SERVER,
    "messages-processor": _PROCESSOR,
    "job-status-processor": Role(duty="reports what it saw of Jobs", tables=_WATCHER_TABLES),
    "pod-events-processor": Role(duty="reports what it saw of Pods and Events", tables=_WATCHER_TABLES),
    "log-collector": _COLLECTOR,
    "sweeper": _SWEEPER,
    "outbox-relay": _RELAY,
}

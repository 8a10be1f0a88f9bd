"""The rights of each component in PostgreSQL, with the reason for each. No other module knows them.

`roles.py` makes GRANTs and the check at start from this table. The reference page is written from it, and a test compares it
with the database, right by right. A right names columns where a component may write only some of them: only the
messages-processor writes the state of a job, and only the web-server writes a cancel request.
"""

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
    "cluster_identity",
    "component_leases",
    "dead_letters",
    "idempotency_keys",
    "installation",
    "job_specs",
    "jobs",
    "log_chunks",
    "messages",
    "parked_namespaces",
    "schema_migrations",
    "tokens",
    "transitions",
    "watches",
)
"""All tables. Partitions are not listed: PostgreSQL checks the rights on the parent."""

FUNCTIONS = ("maintain_transition_partitions(integer)",)
"""The functions that some role calls."""

_SEND: Columns = ("available_at", "priority", "body")
_LEASE: Columns = ("available_at", "lease_token", "deliveries")

_SCHEMA = {"schema_migrations": Rights(select=ALL, why="to check that the schema matches the program")}
_INSTALLATION = {"installation": Rights(select=ALL, why="the id that marks its objects in the cluster")}
_CLUSTER = {
    "cluster_identity": Rights(
        select=ALL,
        insert=("kind", "evidence", "uid", "place"),
        why="the cluster that the database belongs to; the first contact binds it, and nobody else can change it",
    )
}
_LEASES = {
    "component_leases": Rights(
        select=ALL,
        insert=("component", "holder", "session", "expires_at"),
        update=("holder", "epoch", "session", "taken_at", "expires_at"),
        why="who leads; the lock of this row is the fence of every write",
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
            update=(
                *(
                    "cancel_requested_at",
                    "cancel_by",
                    "cancel_reason",
                    "cancel_grace_seconds",
                    "version",
                    "next_check_at",
                ),
            ),
            why="submit and cancel, which makes the job due; the first state of a job is a default of the table",
        ),
        "job_specs": Rights(select=ALL, insert=ALL, why="submit and rerun"),
        "transitions": Rights(
            select=ALL,
            insert=("job_id", "at"),
            why="the first transition of a job; its states are defaults of the table",
        ),
        "messages": Rights(insert=("priority", "body"), why="to send work; messages are not read"),
        "idempotency_keys": Rights(select=ALL, insert=ALL, why="one key, one job"),
        "attempts": Rights(select=ALL, why="to show the attempts of a job"),
        "anomalies": Rights(select=ALL, why="to explain a job"),
        "attempt_logs": Rights(select=ALL, update=("wanted_at",), why="to wake the log-collector for a reader"),
        "log_chunks": Rights(select=ALL, why="logs for readers"),
        "parked_namespaces": Rights(select=ALL, why="to say why jobs wait"),
        "tokens": Rights(select=ALL, why="authentication; the owner of the database creates tokens"),
    },
)

_PROCESSOR = Role(
    duty="decides about jobs; no other role writes the state of a job after its submit",
    tables={
        **_SCHEMA,
        **_INSTALLATION,
        **_CLUSTER,
        "jobs": Rights(
            select=ALL,
            update=(
                *("state", "version", "attempt", "due_at", "admitted_at", "create_until", "started_at", "finished_at"),
                *("next_check_at", "reason", "explanation", "exit_code", "waiting_since"),
            ),
            why="the state of a job, never the request of a user",
        ),
        "job_specs": Rights(select=ALL, why="what is created in the cluster"),
        "attempts": Rights(
            select=ALL, insert=ALL, update=ALL, why="what was created in the cluster, and what was observed"
        ),
        "attempt_logs": Rights(
            select=ALL,
            insert=("job_id", "attempt", "lost_reason", "ended_at"),
            update=("lost_reason", "done_at", "ended_at", "status", "version"),
            why="the work list of the log-collector; a program that runs again has more to collect",
        ),
        "parked_namespaces": Rights(
            select=ALL, insert=ALL, update=ALL, delete=True, why="namespaces in which the cluster refuses Jobs now"
        ),
        "transitions": Rights(insert=ALL, why="history, append-only"),
        "anomalies": Rights(insert=ALL, why="evidence against a terminal state, append-only"),
        "watches": Rights(select=ALL, why="when nobody watched the cluster"),
        "messages": Rights(select=ALL, insert=_SEND, update=_LEASE, delete=True, why="the queue"),
        "dead_letters": Rights(
            insert=("message_id", "sent_at", "deliveries", "priority", "body", "error"),
            why="messages that cannot be handled",
        ),
    },
)

_WATCHER_TABLES = {
    **_SCHEMA,
    **_INSTALLATION,
    **_CLUSTER,
    **_LEASES,
    "attempts": Rights(
        select=("job_id", "number", "namespace", "cluster_uid", "cluster_name", "facts", "gone_at"),
        why="what should be in the cluster, to compare with a list",
    ),
    "messages": Rights(insert=_SEND, why="to send observations"),
    "watches": Rights(
        select=ALL,
        insert=ALL,
        update=("known_until", "reported_at", "broken", "dark"),
        why="until when everything is known",
    ),
}

_COLLECTOR = Role(
    duty="stores logs before their cluster jobs are deleted",
    tables={
        **_SCHEMA,
        **_INSTALLATION,
        **_CLUSTER,
        "jobs": Rights(
            select=("id", "state", "cancel_requested_at", "traceparent"), why="whether a job is stopping, and its trace"
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
            update=(
                *("version", "status", "lost_reason", "done_at", "ended_at", "fresh_at", "leased_until"),
                "lease_token",
            ),
            why="its work list",
        ),
        "log_chunks": Rights(select=ALL, insert=ALL, update=ALL, delete=True, why="logs"),
        "messages": Rights(insert=_SEND, why="a check of the job that waited for its log"),
    },
)

_SWEEPER = Role(
    duty="sends due checks, removes old rows, compares the store with the cluster",
    functions=("maintain_transition_partitions(integer)",),
    tables={
        **_SCHEMA,
        **_INSTALLATION,
        **_CLUSTER,
        **_LEASES,
        "jobs": Rights(
            select=(
                *("id", "state", "attempt", "next_check_at", "finished_at"),
                *("queue", "admitted_at", "cancel_requested_at"),
            ),
            update=("next_check_at",),
            delete=True,
            why="due checks, retention, and the depth of the queue",
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
            select=("owner", "key", "created_at", "job_id"),
            update=("created_at",),
            delete=True,
            why="retention; a row lock needs UPDATE on some column, but nothing is updated",
        ),
        "dead_letters": Rights(select=("id", "died_at"), delete=True, why="retention; bodies are not read"),
        "messages": Rights(
            select=("priority", "available_at"),
            insert=_SEND,
            why="to send checks and observations, and to measure the depth of the queue; bodies are not read",
        ),
    },
)

_RELAY = Role(
    duty="sends the messages of the outbox to SQS, then deletes them",
    tables={
        **_SCHEMA,
        **_INSTALLATION,
        "messages": Rights(select=ALL, update=_LEASE, delete=True, why="the outbox"),
        "dead_letters": Rights(
            insert=("message_id", "sent_at", "deliveries", "priority", "body", "error"),
            why="messages that SQS refuses",
        ),
    },
)

ROLES: dict[str, Role] = {
    "web-server": _WEB_SERVER,
    "messages-processor": _PROCESSOR,
    "job-status-processor": Role(duty="sends observations of Jobs", tables=_WATCHER_TABLES),
    "pod-events-processor": Role(duty="sends observations of Pods and Events", tables=_WATCHER_TABLES),
    "log-collector": _COLLECTOR,
    "sweeper": _SWEEPER,
    "outbox-relay": _RELAY,
}

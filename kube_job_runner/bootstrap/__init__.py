"""The composition root: one builder per component, wired by explicit arguments. Nothing else names a concrete adapter.

CLI, SDK ──HTTP──> web-server ── one commit: job + spec + transition + message ──> PostgreSQL (store + queue, or outbox)
                                                                                        │ (SQS: outbox-relay sends it on)
    messages-processor: lease a batch -> load its jobs -> decide (pure) -> admit -> create -> one commit, ack
          │ create, delete                                                              ▲
          ▼                                                                             │ observations
    Kubernetes ──watch Jobs──> job-status-processor ────────────────────────────────────┤
               ──watch Pods──> pod-events-processor ────────────────────────────────────┘
               ──pod logs────> log-collector ── chunks ──> log store (PostgreSQL, S3) ──> web-server
    sweeper: what is due (`next_check_at`) -> Check messages; store and cluster compared -> orphans removed, zombies reported
"""

from __future__ import annotations

from kube_job_runner.bootstrap.builders import SystemClock
from kube_job_runner.bootstrap.commands import (
    check_queue,
    create_token,
    doctor,
    grant_roles,
    init_queue,
    list_tokens,
    migrate,
    revoke_token,
    roles_script,
    serve,
    up,
)
from kube_job_runner.bootstrap.components import COMPONENTS, RELAY, all_components
from kube_job_runner.bootstrap.traces import tracing

__all__ = [
    "COMPONENTS",
    "RELAY",
    "SystemClock",
    "all_components",
    "check_queue",
    "create_token",
    "doctor",
    "grant_roles",
    "init_queue",
    "list_tokens",
    "migrate",
    "revoke_token",
    "roles_script",
    "serve",
    "tracing",
    "up",
]

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

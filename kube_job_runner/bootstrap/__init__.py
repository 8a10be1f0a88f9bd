"""The composition root: it opens what a process needs, and wires its components by explicit arguments.

Nothing else names a concrete adapter. Import the module that you need: this package itself imports nothing.

CLI, SDK ──HTTP──> web-server ── one commit: job + spec + transition + message ──> PostgreSQL (store + queue, or outbox)
                                                                                        │ (SQS: outbox-relay sends it on)
    messages-processor: lease a batch -> load its jobs -> decide (pure) -> admit -> create -> one commit, ack
          │ create, delete                                                              ▲
          ▼                                                                             │ observations
    Kubernetes ──watch Jobs──> job-status-processor ────────────────────────────────────┤
               ──watch Pods──> pod-events-processor ────────────────────────────────────┘
               ──pod logs────> log-collector ── chunks ──> log store (PostgreSQL, S3) ──> web-server
    sweeper: what is due (`next_check_at`) -> Check messages; store and cluster compared -> orphans removed, zombies reported

- `components`: the components, one row each. `builders`: their services, and the parts that they share.
- `adapter_kinds`: which cluster and which queue the settings name. `traces`, `rules`: the other parts.
- `running`, `lifetime`: a process from its connections to its end.
- `commands`: the functions behind the commands of the server. `doctor_checks`: those of `kjr doctor`.
"""

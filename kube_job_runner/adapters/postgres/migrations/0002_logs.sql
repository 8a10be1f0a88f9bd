-- The logs of attempts: what the log-collector has to do, and the chunks that it stored.

-- One row for each attempt that has printed, or may have. `leased_until` and `lease_token` are the collector's that works on
-- it; `wanted_at` is when somebody last read it while it was not complete, `fresh_at` when it was last known to be up to date;
-- `version` grows with each change, for those who wait.
CREATE TABLE attempt_logs (
    job_id       uuid        NOT NULL,
    attempt      integer     NOT NULL,
    version      integer     NOT NULL DEFAULT 1,
    listed_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    done_at      timestamptz,
    leased_until timestamptz,
    wanted_at    timestamptz,
    fresh_at     timestamptz,
    lease_token  uuid,
    status       text        NOT NULL DEFAULT '' CHECK (status IN ('', 'following', 'stored', 'lost')),
    lost_reason  text        NOT NULL DEFAULT '',
    CONSTRAINT attempt_logs_pkey PRIMARY KEY (job_id, attempt),
    CONSTRAINT attempt_logs_done CHECK ((done_at IS NOT NULL) = (status IN ('stored', 'lost')))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000,
        autovacuum_vacuum_cost_delay = 0);

-- The work: as many rows as there are attempts that run, or whose log is not stored yet.
CREATE INDEX attempt_logs_undone ON attempt_logs (job_id, attempt) WHERE done_at IS NULL;

-- Stretches of logs, and marks where something is missing (`mark` has the words). `data` is compressed already; it is NULL in
-- a mark, and where the body lies in an object store.
CREATE TABLE log_chunks (
    job_id      uuid    NOT NULL,
    first_line  bigint  NOT NULL,
    first_byte  bigint  NOT NULL,
    bytes       bigint  NOT NULL,
    open_bytes  bigint  NOT NULL,
    first_stamp bigint  NOT NULL,
    last_stamp  bigint  NOT NULL,
    lines       bigint  NOT NULL,
    attempt     integer NOT NULL,
    seq         integer NOT NULL,
    continues   boolean NOT NULL,
    sealed      boolean NOT NULL,
    container   text    NOT NULL,
    mark        text    NOT NULL DEFAULT '',
    data        bytea,
    CONSTRAINT log_chunks_pkey PRIMARY KEY (job_id, attempt, container, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

ALTER TABLE log_chunks ALTER COLUMN data SET STORAGE EXTERNAL;

-- Attempts that were in the cluster before there was a collector.
INSERT INTO attempt_logs (job_id, attempt)
SELECT job_id, number FROM attempts WHERE started_at IS NOT NULL AND cluster_uid IS NOT NULL AND gone_at IS NULL;

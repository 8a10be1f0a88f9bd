-- The first schema: jobs and their history, the queue, idempotency keys, tokens.
-- No foreign keys: rows of one job are written in one transaction and removed in one, and a key check per row would cost
-- more than the insert itself.

-- The hot row: narrow, so that a change of state rewrites little; the wide spec lies beside it.
CREATE TABLE jobs (
    id                  uuid        NOT NULL,
    created_at          timestamptz NOT NULL,
    due_at              timestamptz NOT NULL,
    started_at          timestamptz,
    finished_at         timestamptz,
    next_check_at       timestamptz,
    cancel_requested_at timestamptz,
    version             integer     NOT NULL CHECK (version > 0),
    attempt             integer     NOT NULL CHECK (attempt >= 0),
    exit_code           integer,
    priority            smallint    NOT NULL,
    state               text        NOT NULL CHECK (state IN
                            ('queued', 'starting', 'running', 'stopping', 'succeeded', 'failed', 'cancelled')),
    name                text        NOT NULL,
    queue               text        NOT NULL,
    namespace           text        NOT NULL,
    owner               text        NOT NULL,
    reason              text        NOT NULL DEFAULT '',
    explanation         text        NOT NULL DEFAULT '',
    cancel_by           text        NOT NULL DEFAULT '',
    cancel_reason       text        NOT NULL DEFAULT '',
    labels              jsonb       NOT NULL DEFAULT '{}',
    policy              jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT jobs_pkey PRIMARY KEY (id)
) WITH (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 2000,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_vacuum_cost_delay = 0
);

-- Job ids are UUIDv7, so "by id" is "by submit time". `succeeded` is the bulk and needs no index of its own.
CREATE INDEX jobs_by_state ON jobs (state, id) WHERE state <> 'succeeded';
CREATE INDEX jobs_to_check ON jobs (next_check_at) WHERE next_check_at IS NOT NULL;
CREATE INDEX jobs_by_queue ON jobs (queue, id);
CREATE INDEX jobs_by_name ON jobs (name, id);
CREATE INDEX jobs_finished ON jobs (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_by_label ON jobs USING gin (labels) WHERE labels <> '{}';

-- The second lock of "a terminal state never changes"; the first is the lifecycle table of the program.
CREATE FUNCTION jobs_refuse_change_of_terminal_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'job % is % and cannot become %', OLD.id, OLD.state, NEW.state
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'jobs_terminal_state';
END
$$;

CREATE TRIGGER jobs_terminal_state BEFORE UPDATE ON jobs FOR EACH ROW
    WHEN (OLD.state IN ('succeeded', 'failed', 'cancelled') AND NEW.state <> OLD.state)
    EXECUTE FUNCTION jobs_refuse_change_of_terminal_state();

-- What the user asked for, exactly as encoded at submit.
CREATE TABLE job_specs (
    job_id uuid  NOT NULL,
    spec   bytea NOT NULL,
    CONSTRAINT job_specs_pkey PRIMARY KEY (job_id)
);

-- One run of a job each: one cluster job.
CREATE TABLE attempts (
    job_id              uuid        NOT NULL,
    created_at          timestamptz,
    started_at          timestamptz,
    finished_at         timestamptz,
    decided_at          timestamptz,
    unhealthy_since     timestamptz,
    delete_requested_at timestamptz,
    gone_at             timestamptz,
    number              integer     NOT NULL CHECK (number > 0),
    namespace           text        NOT NULL,
    cluster_name        text        NOT NULL,
    cluster_uid         text,
    node                text        NOT NULL DEFAULT '',
    pod_name            text        NOT NULL DEFAULT '',
    unhealthy_reason    text        NOT NULL DEFAULT '',
    verdict             jsonb,
    facts               jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT attempts_pkey PRIMARY KEY (job_id, number)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

-- The cluster jobs that should exist: what a relist is compared with.
CREATE INDEX attempts_in_cluster ON attempts (job_id, number) INCLUDE (cluster_uid)
    WHERE cluster_uid IS NOT NULL AND gone_at IS NULL;

-- The history, append-only, one partition a month; a row that fits no partition lands in the default one.
CREATE TABLE transitions (
    job_id      uuid        NOT NULL,
    at          timestamptz NOT NULL,
    version     integer     NOT NULL,
    attempt     integer     NOT NULL,
    exit_code   integer,
    from_state  text,
    to_state    text        NOT NULL,
    reason      text        NOT NULL DEFAULT '',
    explanation text        NOT NULL DEFAULT '',
    CONSTRAINT transitions_pkey PRIMARY KEY (job_id, version, at)
) PARTITION BY RANGE (at);

CREATE TABLE transitions_default PARTITION OF transitions DEFAULT;

-- Make the partitions of this month and of `ahead` more, and drop empty ones that ended over two months ago.
-- A month whose rows are in the default partition already stays there: attaching would have to move them.
CREATE FUNCTION maintain_transition_partitions(ahead integer DEFAULT 2) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    this_month timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
    first_day  timestamp;
    begins     timestamptz;
    ends       timestamptz;
    title      text;
    past       record;
    filled     boolean;
    changed    integer := 0;
BEGIN
    FOR i IN 0 .. ahead LOOP
        first_day := this_month + make_interval(months => i);
        begins := first_day AT TIME ZONE 'UTC';
        ends := (first_day + interval '1 month') AT TIME ZONE 'UTC';
        title := 'transitions_' || to_char(first_day, 'YYYY_MM');
        CONTINUE WHEN to_regclass(title) IS NOT NULL;
        SELECT EXISTS (SELECT FROM transitions_default WHERE at >= begins AND at < ends) INTO filled;
        CONTINUE WHEN filled;
        -- ATTACH takes a lesser lock on the parent than CREATE .. PARTITION OF: readers and writers go on.
        EXECUTE format('CREATE TABLE %I (LIKE transitions INCLUDING DEFAULTS)', title);
        EXECUTE format('ALTER TABLE transitions ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', title, begins, ends);
        changed := changed + 1;
    END LOOP;
    FOR past IN SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'transitions'::regclass AND c.relname ~ '^transitions_[0-9]{4}_[0-9]{2}$'
        AND to_date(right(c.relname, 7), 'YYYY_MM') < this_month - interval '3 months'
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %I)', past.relname) INTO filled;
        CONTINUE WHEN filled;
        EXECUTE format('DROP TABLE %I', past.relname);
        changed := changed + 1;
    END LOOP;
    RETURN changed;
END
$$;

SELECT maintain_transition_partitions();

-- Outbox and queue in one: a message may be received when `available_at` has passed; a receiver moves that time to the
-- end of its lease and puts its token in, exactly as a visibility timeout works.
CREATE TABLE messages (
    id           bigint      GENERATED ALWAYS AS IDENTITY,
    available_at timestamptz NOT NULL DEFAULT now(),
    sent_at      timestamptz NOT NULL DEFAULT now(),
    lease_token  uuid,
    deliveries   integer     NOT NULL DEFAULT 0,
    priority     smallint    NOT NULL DEFAULT 0,
    body         bytea       NOT NULL,
    CONSTRAINT messages_pkey PRIMARY KEY (id)
) WITH (
    autovacuum_vacuum_scale_factor = 0.0,
    autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_insert_scale_factor = 0.0,
    autovacuum_vacuum_insert_threshold = 20000,
    autovacuum_analyze_scale_factor = 0.0,
    autovacuum_analyze_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0
);

CREATE INDEX messages_ready ON messages (priority DESC, available_at, id);

-- Messages taken out of circulation, with why, for a person to look at.
CREATE TABLE dead_letters (
    id         bigint      GENERATED ALWAYS AS IDENTITY,
    message_id bigint      NOT NULL,
    sent_at    timestamptz NOT NULL,
    died_at    timestamptz NOT NULL DEFAULT now(),
    deliveries integer     NOT NULL,
    priority   smallint    NOT NULL,
    body       bytea       NOT NULL,
    error      text        NOT NULL,
    CONSTRAINT dead_letters_pkey PRIMARY KEY (id)
);

-- What was answered to which idempotency key of whom.
CREATE TABLE idempotency_keys (
    owner        text        NOT NULL,
    key          text        NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    job_id       uuid        NOT NULL,
    request_hash bytea       NOT NULL,
    response     bytea       NOT NULL,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (owner, key)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- Evidence that came after a terminal state and contradicts it: kept once, changing nothing.
CREATE TABLE anomalies (
    job_id  uuid        NOT NULL,
    at      timestamptz NOT NULL,
    attempt integer     NOT NULL,
    kind    text        NOT NULL,
    detail  text        NOT NULL,
    CONSTRAINT anomalies_pkey PRIMARY KEY (job_id, attempt, kind)
);

-- API tokens: the SHA-256 of the secret, never the secret.
CREATE TABLE tokens (
    token_hash bytea       NOT NULL,
    name       text        NOT NULL,
    prefix     text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    CONSTRAINT tokens_pkey PRIMARY KEY (token_hash)
);

CREATE INDEX tokens_by_name ON tokens (name);

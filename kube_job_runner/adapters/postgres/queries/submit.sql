-- A marker in braces stands for a list of columns or parameters; see `columns.expand`.

-- name: insert_jobs
-- Store jobs with their specs, first transitions and one message for all, except those whose idempotency key is taken. It is
-- one statement for a whole submit. It returns which keys it took, by their jobs, and waits for another transaction that
-- holds one of the keys; keys are always taken in the same order. A job that was stored before is left as it is, so a caller
-- that got no answer can make the same call again. The first state, version and attempt of a job are defaults of the tables:
-- the role that runs this statement may not set them. A job that is due at once is due by the database's clock. The caller's
-- clock may be ahead, and the job would wait for the next round.
WITH input AS MATERIALIZED (
    SELECT {job_identities.names}, {job_common.filled}, {job_due.filled}, spec, key, request_hash, response
    FROM unnest({job_identities.arrays}, {job_common.arrays}, {job_due.arrays},
                $1::bytea[], $3::text[], $4::bytea[], $5::bytea[])
        AS i ({job_identities.names}, {job_common.names}, {job_due.names}, spec, key, request_hash, response)
), reserved AS (
    INSERT INTO idempotency_keys (owner, key, job_id, request_hash, response)
    SELECT owner, key, id, request_hash, response FROM input WHERE key IS NOT NULL ORDER BY owner, key
    ON CONFLICT (owner, key) DO NOTHING
    RETURNING job_id
), stored AS (
    INSERT INTO jobs ({job_identities.names}, {job_common.names}, due_at)
    SELECT {job_identities.names}, {job_common.names},
           CASE WHEN due_at <= created_at THEN least(due_at, clock_timestamp()) ELSE due_at END
    FROM input WHERE key IS NULL OR id IN (SELECT job_id FROM reserved)
    ON CONFLICT (id) DO NOTHING
    RETURNING id
), fresh AS (
    SELECT id, spec, priority, created_at FROM input JOIN stored USING (id)
), specs AS (
    INSERT INTO job_specs (job_id, spec) SELECT id, spec FROM fresh
), history AS (
    INSERT INTO transitions (job_id, at) SELECT id, created_at FROM fresh
), sent AS (
    INSERT INTO messages (priority, body) SELECT max(priority), $2::bytea FROM fresh HAVING count(*) > 0
)
SELECT (SELECT array_agg(job_id) FROM reserved) AS taken, pg_notify('kjr_messages', '')

-- name: read_keys
-- What was stored under idempotency keys.
SELECT k.owner, k.key, k.job_id, k.request_hash, k.response
FROM unnest($1::text[], $2::text[]) AS i (owner, key) JOIN idempotency_keys k USING (owner, key)

-- name: request_cancel
-- Record a cancel request on a job that has not ended: the first one, or one that gives less grace than those before it. The
-- job is due from now on. So if the message of the request is lost, the sweeper sends another one within seconds.
UPDATE jobs
SET cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp()),
    cancel_by = CASE WHEN cancel_requested_at IS NULL THEN $2 ELSE cancel_by END,
    cancel_reason = CASE WHEN cancel_requested_at IS NULL THEN $3 ELSE cancel_reason END,
    cancel_grace_seconds = $4, version = version + 1, next_check_at = least(next_check_at, clock_timestamp())
WHERE id = $1 AND state NOT IN ('succeeded', 'failed', 'cancelled')
  AND (cancel_requested_at IS NULL
       OR $4 < coalesce(cancel_grace_seconds, (policy ->> 'stop_grace_seconds')::integer, $5))
RETURNING {job_rows.names}

-- name: send_cancel
-- Send the message of a cancel request, with the hints.
WITH sent AS (INSERT INTO messages (priority, body) VALUES ($1, $2))
SELECT pg_notify('kjr_messages', ''), pg_notify('kjr_jobs', '')

-- name: send_due_checks
-- Send a Check for jobs that are due, and look again later should it be lost.
WITH due AS (
    SELECT id FROM jobs WHERE next_check_at <= now() ORDER BY next_check_at LIMIT $1 FOR UPDATE SKIP LOCKED
), rearmed AS (
    UPDATE jobs j SET next_check_at = now() + $2 * interval '1 second' FROM due WHERE j.id = due.id RETURNING j.id
), sent AS (
    INSERT INTO messages (priority, body)
    SELECT $3, convert_to(format('{"type":"check","job_id":"%s"}', id), 'UTF8') FROM rearmed RETURNING 1
)
SELECT count(*) AS sent, CASE WHEN count(*) > 0 THEN pg_notify('kjr_messages', '')::text END FROM sent

-- name: expire_idempotency_keys
-- Forget old idempotency keys.
DELETE FROM idempotency_keys k USING (
    SELECT owner, key FROM idempotency_keys WHERE created_at < now() - $1 * interval '1 second'
    ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED
) old WHERE k.owner = old.owner AND k.key = old.key

-- name: old_jobs
-- Jobs that ended long ago and whose cluster jobs are all gone.
SELECT j.id FROM jobs j
WHERE j.finished_at < now() - $1 * interval '1 second'
  AND NOT EXISTS (SELECT FROM attempts a WHERE a.job_id = j.id AND a.cluster_uid IS NOT NULL AND a.gone_at IS NULL)
ORDER BY j.finished_at LIMIT $2 FOR UPDATE SKIP LOCKED

-- name: delete_jobs
-- Remove jobs with all that belongs to them.
WITH a AS (DELETE FROM attempts WHERE job_id = ANY($1::uuid[])),
     s AS (DELETE FROM job_specs WHERE job_id = ANY($1::uuid[])),
     t AS (DELETE FROM transitions WHERE job_id = ANY($1::uuid[])),
     x AS (DELETE FROM anomalies WHERE job_id = ANY($1::uuid[]))
DELETE FROM jobs WHERE id = ANY($1::uuid[])

-- name: maintain_partitions
-- Make the partitions of the coming months.
SELECT maintain_transition_partitions()

-- name: depth
-- How full things are, for metrics.
SELECT (SELECT count(*) FROM messages) AS messages,
       (SELECT extract(epoch FROM now() - min(available_at))::double precision FROM messages
        WHERE available_at <= now() AND lease_token IS NULL) AS oldest_message_seconds,
       (SELECT count(*) FROM dead_letters) AS dead_letters

-- name: live_jobs
-- Jobs that have not ended, by state.
SELECT state, count(*) AS jobs FROM jobs WHERE state IN ('queued', 'starting', 'running', 'stopping') GROUP BY state

-- name: due_jobs
-- Jobs whose next look is due: take them, and look again later should the check be lost.
WITH due AS (
    SELECT id FROM jobs WHERE next_check_at <= now() ORDER BY next_check_at LIMIT $1 FOR UPDATE SKIP LOCKED
)
UPDATE jobs j SET next_check_at = now() + $2 * interval '1 second' FROM due WHERE j.id = due.id RETURNING j.id

-- name: expire_idempotency_keys
-- Forget old idempotency keys.
WITH old AS (
    SELECT owner, key FROM idempotency_keys WHERE created_at < now() - $1 * interval '1 second'
    ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED
)
DELETE FROM idempotency_keys k USING old WHERE k.owner = old.owner AND k.key = old.key

-- name: old_jobs
-- Jobs that ended long ago and whose cluster jobs are all gone.
SELECT j.id FROM jobs j
WHERE j.finished_at < now() - $1 * interval '1 second' AND j.state IN ('succeeded', 'failed', 'cancelled')
  AND NOT EXISTS (SELECT FROM attempts a WHERE a.job_id = j.id AND a.cluster_uid IS NOT NULL AND a.gone_at IS NULL)
  AND NOT EXISTS (SELECT FROM log_chunks c WHERE c.job_id = j.id)
ORDER BY j.finished_at LIMIT $2 FOR UPDATE SKIP LOCKED

-- name: delete_jobs
-- Remove jobs with all that belongs to them.
WITH l AS (DELETE FROM attempt_logs WHERE job_id = ANY($1::uuid[])),
     a AS (DELETE FROM attempts WHERE job_id = ANY($1::uuid[])),
     s AS (DELETE FROM job_specs WHERE job_id = ANY($1::uuid[])),
     t AS (DELETE FROM transitions WHERE job_id = ANY($1::uuid[])),
     x AS (DELETE FROM anomalies WHERE job_id = ANY($1::uuid[]))
DELETE FROM jobs WHERE id = ANY($1::uuid[])

-- name: maintain_partitions
-- Make the partitions of the coming months, drop empty old ones.
SELECT maintain_transition_partitions()

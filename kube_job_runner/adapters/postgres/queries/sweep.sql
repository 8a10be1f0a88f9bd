-- name: due_jobs
-- Take jobs whose next check is due. They are checked again later, in case this check is lost.
WITH due AS (
    SELECT id FROM jobs WHERE next_check_at <= now() ORDER BY next_check_at LIMIT $1 FOR UPDATE SKIP LOCKED
)
UPDATE jobs j SET next_check_at = now() + $2 * interval '1 second' FROM due WHERE j.id = due.id RETURNING j.id

-- name: expire_idempotency_keys
-- Remove the idempotency keys of jobs that ended long ago, or that no longer exist. A key lives at least as long as its job: a
-- client that repeats its submit must find the job that still waits or runs.
WITH old AS (
    SELECT k.owner, k.key FROM idempotency_keys k
    WHERE k.created_at < now() - $1 * interval '1 second'
      AND (SELECT j.finished_at IS NULL OR j.finished_at >= now() - $1 * interval '1 second'
           FROM jobs j WHERE j.id = k.job_id) IS NOT TRUE
    ORDER BY k.created_at LIMIT $2 FOR UPDATE OF k SKIP LOCKED
)
DELETE FROM idempotency_keys k USING old WHERE k.owner = old.owner AND k.key = old.key

-- name: old_jobs
-- Jobs that ended long ago, and of which no cluster job and no log is left.
SELECT j.id FROM jobs j
WHERE j.finished_at < now() - $1 * interval '1 second' AND j.state IN ('succeeded', 'failed', 'cancelled')
  AND NOT EXISTS (SELECT FROM attempts a WHERE a.job_id = j.id AND a.cluster_uid IS NOT NULL AND a.gone_at IS NULL)
  AND NOT EXISTS (SELECT FROM log_chunks c WHERE c.job_id = j.id)
ORDER BY j.finished_at LIMIT $2 FOR UPDATE SKIP LOCKED

-- name: delete_jobs
-- Remove jobs with all their rows.
WITH l AS (DELETE FROM attempt_logs WHERE job_id = ANY($1::uuid[])),
     a AS (DELETE FROM attempts WHERE job_id = ANY($1::uuid[])),
     s AS (DELETE FROM job_specs WHERE job_id = ANY($1::uuid[])),
     t AS (DELETE FROM transitions WHERE job_id = ANY($1::uuid[])),
     x AS (DELETE FROM anomalies WHERE job_id = ANY($1::uuid[]))
DELETE FROM jobs WHERE id = ANY($1::uuid[])

-- name: old_transitions
-- Walk over the transitions by job id, which is the order of the submits. Remove the whole history of jobs on this page that
-- ended long ago. The walk ends at the ids of that time, because a job is submitted before it ends.
WITH page AS MATERIALIZED (
    SELECT job_id FROM transitions
    WHERE job_id > $3 AND job_id < (
        lpad(to_hex((extract(epoch FROM now() - ($1 - 60) * interval '1 second') * 1000)::bigint), 12, '0') || repeat('f', 20)
    )::uuid
    ORDER BY job_id LIMIT $2
), old AS MATERIALIZED (
    SELECT j.id FROM (SELECT DISTINCT job_id FROM page) p JOIN jobs j ON j.id = p.job_id
    WHERE j.finished_at < now() - $1 * interval '1 second' AND j.state IN ('succeeded', 'failed', 'cancelled')
), gone AS (
    DELETE FROM transitions t USING old WHERE t.job_id = old.id RETURNING t.job_id
)
SELECT (SELECT count(*) FROM page) AS seen, (SELECT job_id FROM page ORDER BY job_id DESC LIMIT 1) AS last,
       (SELECT count(*) FROM gone) AS deleted

-- name: old_dead_letters
-- Remove old dead letters. Their numbers increase with time.
WITH page AS MATERIALIZED (SELECT id, died_at FROM dead_letters ORDER BY id LIMIT $2)
DELETE FROM dead_letters d USING page p WHERE d.id = p.id AND p.died_at < now() - $1 * interval '1 second'

-- name: vacuum_behind
-- The table with the most dead rows, among those with at least half as many dead rows as live ones.
SELECT relname FROM pg_stat_user_tables
WHERE schemaname = current_schema() AND n_dead_tup > $1 AND n_dead_tup > n_live_tup / 2 AND relname <> 'messages'
ORDER BY n_dead_tup DESC LIMIT 1

-- name: maintain_partitions
-- Create the partitions of the coming months, and drop empty old ones.
SELECT maintain_transition_partitions()

-- name: writable
-- Whether this server accepts writes.
SELECT NOT pg_is_in_recovery() AND NOT current_setting('transaction_read_only')::boolean AS writable

-- name: live_jobs
-- Jobs that have not ended, by state, each counted up to a limit.
SELECT s.state, (SELECT count(*) FROM (SELECT FROM jobs j WHERE j.state = s.state AND j.state <> 'succeeded' LIMIT $1) c)
    AS jobs
FROM unnest(ARRAY['queued', 'starting', 'running', 'stopping']) AS s (state)

-- name: jobs_by_queue
-- Jobs that have not ended, by queue and state. Waiting jobs are counted from their index alone, up to a limit. Jobs in
-- flight are few, because the limits of admission bound them.
SELECT queue, state, count(*) AS jobs FROM (
    (SELECT queue, 'queued' AS state FROM jobs
     WHERE state = 'queued' AND admitted_at IS NULL AND cancel_requested_at IS NULL LIMIT $1)
    UNION ALL
    (SELECT queue, state FROM jobs
     WHERE admitted_at IS NOT NULL AND state IN ('queued', 'starting', 'running', 'stopping') LIMIT $1)
) live GROUP BY queue, state

-- name: ended_jobs
-- Jobs that have ended, by state, as of the last ANALYZE: an exact count would read the whole table.
SELECT v.state, (v.frequency * greatest(c.reltuples, 0))::bigint AS jobs
FROM pg_class c
JOIN pg_stats s ON s.schemaname = c.relnamespace::regnamespace::text AND s.tablename = c.relname AND s.attname = 'state'
CROSS JOIN LATERAL unnest(s.most_common_vals::text::text[], s.most_common_freqs) AS v (state, frequency)
WHERE c.oid = 'jobs'::regclass AND v.state IN ('succeeded', 'failed', 'cancelled')

-- name: messages
-- The number of messages (counted up to a limit), how long the oldest receivable one has waited, and the dead letters.
SELECT (SELECT count(*) FROM (SELECT FROM messages LIMIT $1) m) AS messages,
       coalesce((SELECT extract(epoch FROM now() - min(due.available_at)) FROM (
           SELECT (SELECT m.available_at FROM messages m WHERE m.priority = p.priority ORDER BY m.available_at LIMIT 1)
           FROM (SELECT DISTINCT priority FROM (SELECT priority FROM messages LIMIT $1) f) p
       ) AS due (available_at) WHERE due.available_at <= now()), 0)::double precision AS oldest_seconds,
       (SELECT count(*) FROM (SELECT FROM dead_letters LIMIT $1) d) AS dead_letters

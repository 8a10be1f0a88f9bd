-- A marker in braces stands for a list of columns or parameters; see `columns.expand`.

-- name: get_job
-- One job.
SELECT {job_rows.names} FROM jobs WHERE id = $1

-- name: get_spec
-- The JSON text of the spec of a job.
SELECT spec FROM job_specs WHERE job_id = $1

-- name: list_attempts
-- The attempts of a job, the oldest first.
SELECT {attempts.of:a}, CASE WHEN l.removed_at IS NULL THEN coalesce(l.status, '') ELSE 'lost' END AS logs,
       CASE WHEN l.removed_at IS NULL THEN coalesce(l.lost_reason, '')
            ELSE to_char(l.removed_at AT TIME ZONE 'UTC', '"removed by retention on "YYYY-MM-DD') END AS logs_lost
FROM attempts a LEFT JOIN attempt_logs l ON l.job_id = a.job_id AND l.attempt = a.number
WHERE a.job_id = $1 ORDER BY a.number

-- name: list_transitions
-- The history of a job, the oldest first.
SELECT {transitions.names} FROM transitions WHERE job_id = $1 ORDER BY version, at

-- name: versions
-- The versions of jobs that somebody waits for.
SELECT id, version FROM jobs WHERE id = ANY($1::uuid[])

-- name: queue_standing
-- How many jobs are ahead of a waiting job in its queue, counted up to a limit, and how many are in flight. The jobs ahead
-- are two ranges of the index: those of its own priority, and those of higher ones. So nothing behind the job is read.
SELECT m.queue,
       (SELECT count(*) FROM (
           (SELECT FROM jobs j
            WHERE j.state = 'queued' AND j.admitted_at IS NULL AND j.cancel_requested_at IS NULL
            AND j.queue = m.queue AND j.priority = m.priority AND (j.due_at, j.id) < (m.due_at, m.id) LIMIT $2)
           UNION ALL
           (SELECT FROM jobs j
            WHERE j.state = 'queued' AND j.admitted_at IS NULL AND j.cancel_requested_at IS NULL
            AND j.queue = m.queue AND j.priority > m.priority AND j.due_at <= now() LIMIT $2)
           LIMIT $2
       ) a) AS ahead,
       (SELECT count(*) FROM jobs j
        WHERE j.admitted_at IS NOT NULL AND j.state IN ('queued', 'starting', 'running', 'stopping')
        AND j.queue = m.queue) AS queue_in_flight,
       (SELECT count(*) FROM jobs j
        WHERE j.admitted_at IS NOT NULL AND j.state IN ('queued', 'starting', 'running', 'stopping')) AS total_in_flight,
       (SELECT count(*) FROM jobs j WHERE j.waiting_since IS NOT NULL AND j.queue = m.queue) AS queue_without_room,
       p.namespace, p.reason, p.explanation
FROM jobs m LEFT JOIN parked_namespaces p ON p.namespace = m.namespace
WHERE m.id = $1 AND m.state = 'queued' AND m.admitted_at IS NULL AND m.cancel_requested_at IS NULL AND m.due_at <= now()

-- name: list_anomalies
-- The evidence that contradicts the terminal state of a job, the oldest first.
SELECT {anomalies.names} FROM anomalies WHERE job_id = $1 ORDER BY at, attempt, kind

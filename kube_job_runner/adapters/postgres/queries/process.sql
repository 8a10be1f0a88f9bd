-- A marker in braces stands for a list of columns or parameters; see `columns.expand`.

-- name: load
-- Jobs with all their attempts, and for queued jobs with their specs and why their namespace is parked, as of one snapshot and
-- with the time of the database. There is one row even without a job, for the time.
SELECT n.now, {job_rows.of:j}, s.spec AS encoded_spec, p.reason AS parked_reason, p.explanation AS parked_explanation,
       {attempts.prefixed:a}, coalesce(l.status, '') AS a_logs, coalesce(l.lost_reason, '') AS a_logs_lost
FROM (SELECT clock_timestamp() AS now) n
LEFT JOIN jobs j ON j.id = ANY($1::uuid[])
LEFT JOIN job_specs s ON s.job_id = j.id AND j.state = 'queued'
LEFT JOIN parked_namespaces p ON p.namespace = j.namespace AND j.state = 'queued'
LEFT JOIN attempts a ON a.job_id = j.id
LEFT JOIN attempt_logs l ON l.job_id = a.job_id AND l.attempt = a.number

-- name: lock_jobs
-- Lock the rows of a batch, always in the same order, and return their versions.
SELECT id, version FROM jobs WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE

-- name: apply
-- Write everything that was decided in a batch except the attempts. Acknowledge its messages, and send the new ones and the
-- hints.
WITH changed AS (
    UPDATE jobs j SET {job_changes.set:c}
    FROM unnest({job_changes.arrays}) AS c ({job_changes.names})
    WHERE j.id = c.id
), history AS (
    INSERT INTO transitions ({transitions.names})
    SELECT {transitions.names} FROM unnest({transitions.arrays}) AS t ({transitions.names})
), evidence AS (
    INSERT INTO anomalies ({anomalies.names})
    SELECT {anomalies.names} FROM unnest({anomalies.arrays}) AS a ({anomalies.names})
    ON CONFLICT DO NOTHING
), sent AS (
    INSERT INTO messages (available_at, priority, body)
    SELECT now() + m.delay_seconds * interval '1 second', m.priority, m.body
    FROM unnest({messages.arrays}) AS m ({messages.names})
), acknowledged AS (
    DELETE FROM messages m USING unnest($1::bigint[], $2::uuid[]) AS a (id, token)
    WHERE m.id = a.id AND m.lease_token = a.token
)
SELECT pg_notify(channel, '') FROM unnest($3::text[]) AS n (channel)

-- name: put_attempts
-- Write attempts, new or changed. An attempt that has printed something, or may have, is put on the list of the
-- log-collector. If the wait for its log was given up, the reason is recorded there by the commit that sends the delete.
WITH input AS MATERIALIZED (
    SELECT {attempts.names}, logged, logs_lost
    FROM unnest({attempts.arrays}, $1::boolean[], $2::text[]) AS a ({attempts.names}, logged, logs_lost)
), listed AS (
    INSERT INTO attempt_logs (job_id, attempt, lost_reason)
    SELECT job_id, number, logs_lost FROM input WHERE logged
    ON CONFLICT DO NOTHING
), noted AS (
    UPDATE attempt_logs l SET lost_reason = i.logs_lost FROM input i
    WHERE i.logs_lost <> '' AND l.job_id = i.job_id AND l.attempt = i.number AND l.done_at IS NULL
)
INSERT INTO attempts ({attempts.names}) SELECT {attempts.names} FROM input
ON CONFLICT (job_id, number) DO UPDATE SET {attempts.set:excluded}

-- name: collect_again
-- Put the logs of attempts, by job and number, back on the list of the log-collector: the program runs again, in a new pod.
UPDATE attempt_logs l SET done_at = NULL, status = 'following', lost_reason = '', version = l.version + 1
FROM unnest($1::uuid[], $2::integer[]) AS k (job_id, number)
WHERE l.job_id = k.job_id AND l.attempt = k.number AND l.done_at IS NOT NULL AND l.removed_at IS NULL

-- name: lock_admissions
-- Allow one admission at a time, until the end of the transaction. It is a separate statement: the snapshot of the next one
-- must be taken after the lock, or it would not see what the last holder admitted. A holder that stops in the middle is
-- disconnected soon.
SELECT set_config('idle_in_transaction_session_timeout', '5s', true),
       pg_advisory_xact_lock(hashtextextended('kjr admission', 0))

-- name: admit
-- Admit waiting jobs that are due, the most urgent and oldest first, as far as the limits allow; return them with their
-- specs. The queues, and the priorities in each queue, are found by skipping from one to the next, and only as many rows of
-- each are read as there is room for. So neither a full queue with a million rows nor retries that are not due yet are
-- scanned. Ids are passed on as arrays, because the planner expects those to be short. For a LIMIT that it does not know, it
-- expects a tenth of the table and reads all of it. Queues in which a job finds no
-- room in the cluster do not get the last slots ($7). While namespaces are parked it admits nothing and says so: then
-- `admit_around` does it.
WITH RECURSIVE in_flight AS MATERIALIZED (
    SELECT queue, count(*) AS jobs FROM jobs
    WHERE admitted_at IS NOT NULL AND state IN ('queued', 'starting', 'running', 'stopping') GROUP BY queue
), parked AS MATERIALIZED (
    SELECT EXISTS (SELECT FROM parked_namespaces) AS any
), crowded AS MATERIALIZED (
    SELECT DISTINCT queue FROM jobs WHERE waiting_since IS NOT NULL
), room AS MATERIALIZED (
    SELECT CASE WHEN (SELECT p.any FROM parked p) THEN 0
                ELSE greatest(0, least($1::bigint, $2::bigint - coalesce(sum(jobs), 0))) END::bigint AS jobs,
           $2::bigint - coalesce(sum(jobs), 0) - $7::bigint AS of_crowded
    FROM in_flight
), names AS (
    (SELECT queue FROM jobs WHERE state = 'queued' AND admitted_at IS NULL AND cancel_requested_at IS NULL
     AND (SELECT jobs FROM room) > 0 ORDER BY queue DESC LIMIT 1)
    UNION ALL
    SELECT (SELECT j.queue FROM jobs j
            WHERE j.state = 'queued' AND j.admitted_at IS NULL AND j.cancel_requested_at IS NULL AND j.queue < n.queue
            ORDER BY j.queue DESC LIMIT 1)
    FROM names n WHERE n.queue IS NOT NULL
), open AS MATERIALIZED (
    SELECT n.queue, least(room.jobs, coalesce(l.jobs, $4::bigint) - coalesce(f.jobs, 0)) AS room,
           c.queue IS NOT NULL AS crowded
    FROM names n CROSS JOIN room
    LEFT JOIN crowded c ON c.queue = n.queue
    LEFT JOIN unnest($5::text[], $6::bigint[]) AS l (queue, jobs) ON l.queue = n.queue
    LEFT JOIN in_flight f ON f.queue = n.queue
    WHERE n.queue IS NOT NULL
), heads AS MATERIALIZED (
    SELECT head.id, head.priority, head.due_at, open.crowded,
           row_number() OVER (PARTITION BY open.crowded ORDER BY head.priority DESC, head.due_at, head.id) AS nth
    FROM open CROSS JOIN LATERAL (
        WITH RECURSIVE levels AS (
            (SELECT j.priority FROM jobs j
             WHERE j.state = 'queued' AND j.admitted_at IS NULL AND j.cancel_requested_at IS NULL AND j.queue = open.queue
             ORDER BY j.priority DESC LIMIT 1)
            UNION ALL
            SELECT (SELECT j.priority FROM jobs j
                    WHERE j.state = 'queued' AND j.admitted_at IS NULL AND j.cancel_requested_at IS NULL
                    AND j.queue = open.queue AND j.priority < l.priority ORDER BY j.priority DESC LIMIT 1)
            FROM levels l WHERE l.priority IS NOT NULL
        )
        SELECT due.id, levels.priority, due.due_at FROM levels CROSS JOIN LATERAL (
            SELECT j.id, j.due_at FROM jobs j
            WHERE j.state = 'queued' AND j.admitted_at IS NULL AND j.cancel_requested_at IS NULL
            AND j.queue = open.queue AND j.priority = levels.priority AND j.due_at <= statement_timestamp()
            ORDER BY j.due_at, j.id LIMIT open.room
        ) AS due
        ORDER BY levels.priority DESC, due.due_at, due.id LIMIT open.room
    ) AS head
    WHERE open.room > 0
), picked AS MATERIALIZED (
    SELECT id FROM heads WHERE NOT crowded OR nth <= (SELECT of_crowded FROM room)
    ORDER BY priority DESC, due_at, id LIMIT (SELECT jobs FROM room)
), locked AS MATERIALIZED (
    SELECT id FROM jobs
    WHERE id = ANY(ARRAY(SELECT id FROM picked)) AND state = 'queued' AND admitted_at IS NULL AND cancel_requested_at IS NULL
    ORDER BY id FOR UPDATE
), admitted AS (
    UPDATE jobs j
    SET admitted_at = statement_timestamp(), version = j.version + 1,
        create_until = clock_timestamp() + $3::double precision * interval '1 second',
        next_check_at = clock_timestamp() + $3::double precision * interval '1 second'
    WHERE j.id = ANY(ARRAY(SELECT id FROM locked))
    RETURNING {job_rows.of:j}
)
SELECT n.now, {job_rows.of:j}, (SELECT s.spec FROM job_specs s WHERE s.job_id = j.id) AS encoded_spec,
       (SELECT p.any FROM parked p) AS parked
FROM (SELECT clock_timestamp() AS now) n LEFT JOIN admitted j ON true

-- name: attempts_of
-- All attempts of some jobs.
SELECT {attempts.of:a}, coalesce(l.status, '') AS logs, coalesce(l.lost_reason, '') AS logs_lost
FROM attempts a LEFT JOIN attempt_logs l ON l.job_id = a.job_id AND l.attempt = a.number
WHERE a.job_id = ANY($1::uuid[]) ORDER BY a.job_id, a.number

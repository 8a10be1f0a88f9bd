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
-- log-collector. If the wait for its log was given up, the reason is recorded there by the commit that sends the delete. That it
-- has ended is noted there too. Nothing of this waits for a log-collector that writes to the row at this moment (ON CONFLICT
-- alone would): the log-collector then notes the end itself.
WITH input AS MATERIALIZED (
    SELECT {attempts.names}, logged, logs_lost
    FROM unnest({attempts.arrays}, $1::boolean[], $2::text[]) AS a ({attempts.names}, logged, logs_lost)
), listed AS (
    INSERT INTO attempt_logs (job_id, attempt, lost_reason, ended_at)
    SELECT i.job_id, i.number, i.logs_lost, coalesce(i.decided_at, i.gone_at) FROM input i
    WHERE i.logged AND NOT EXISTS (SELECT FROM attempt_logs l WHERE l.job_id = i.job_id AND l.attempt = i.number)
    ON CONFLICT DO NOTHING
), ending AS MATERIALIZED (
    SELECT l.job_id, l.attempt, coalesce(i.decided_at, i.gone_at) AS ended_at
    FROM attempt_logs l JOIN input i ON i.job_id = l.job_id AND i.number = l.attempt
    WHERE l.done_at IS NULL AND l.ended_at IS NULL AND i.logs_lost = '' AND coalesce(i.decided_at, i.gone_at) IS NOT NULL
    ORDER BY l.job_id, l.attempt FOR UPDATE OF l SKIP LOCKED
), ended AS (
    UPDATE attempt_logs l SET ended_at = e.ended_at FROM ending e WHERE l.job_id = e.job_id AND l.attempt = e.attempt
), noted AS (
    UPDATE attempt_logs l SET lost_reason = i.logs_lost, ended_at = coalesce(l.ended_at, i.decided_at, i.gone_at)
    FROM input i
    WHERE i.logs_lost <> '' AND l.job_id = i.job_id AND l.attempt = i.number AND l.done_at IS NULL
)
INSERT INTO attempts ({attempts.names}) SELECT {attempts.names} FROM input
ON CONFLICT (job_id, number) DO UPDATE SET {attempts.set:excluded}

-- name: collect_again
-- Put the logs of attempts, by job and number, back on the list of the log-collector: the program runs again, in a new pod.
UPDATE attempt_logs l SET done_at = NULL, ended_at = NULL, status = 'following', lost_reason = '', version = l.version + 1
FROM unnest($1::uuid[], $2::integer[]) AS k (job_id, number)
WHERE l.job_id = k.job_id AND l.attempt = k.number AND l.done_at IS NOT NULL AND l.removed_at IS NULL

-- name: lock_admissions
-- Allow one admission at a time, until the end of the transaction. It is a separate statement: the snapshot of the next one
-- must be taken after the lock, or it would not see what the last holder admitted. A holder that stops in the middle is
-- disconnected soon.
SELECT set_config('idle_in_transaction_session_timeout', '3s', true), set_config('lock_timeout', '5s', true),
       pg_advisory_xact_lock(hashtextextended('kjr admission', 0))

-- name: admit
-- Admit waiting jobs that are due, the most urgent and oldest first, as far as the limits allow; return them with their specs.
--
-- The line of all queues is read in the order of admission, priority by priority, until there is no more room (`front`). Queues
-- without room are left out. So the cost follows the room, not the number of queues, and retries that are not due yet are not
-- scanned. If the front of the line belongs to queues that may admit few jobs or none, reading stops after 1000 more rows. Then
-- the queues are visited one by one ($9 of them, from $8 down), by skipping from name to name, and only as many rows of each are
-- read as there is room for. `visited_to` says where the next admission must continue.
--
-- Queues in which a job finds no room in the cluster (`crowded`) do not get the last slots ($7). While namespaces are parked, this
-- admits nothing and says so: then `admit_around` does it.
--
-- Ids are passed on as arrays, because the planner expects those to be short. For a LIMIT that it does not know, it expects a
-- tenth of the table and reads all of it. A job whose row somebody else has locked is left to the next admission: a
-- transaction that is frozen must not hold up all the others.
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
), limited AS MATERIALIZED (
    SELECT coalesce(l.queue, f.queue) AS queue, coalesce(l.jobs, $4::bigint) - coalesce(f.jobs, 0) AS room
    FROM unnest($5::text[], $6::bigint[]) AS l (queue, jobs) FULL JOIN in_flight f ON f.queue = l.queue
    WHERE coalesce(l.jobs, $4::bigint) IS NOT NULL
), closed AS MATERIALIZED (
    SELECT queue FROM limited WHERE room <= 0
    UNION SELECT queue FROM crowded WHERE (SELECT of_crowded FROM room) <= 0
), levels AS (
    (SELECT -j.priority AS rank FROM jobs j WHERE j.state = 'queued' AND j.admitted_at IS NULL AND j.cancel_requested_at IS NULL
     AND (SELECT jobs FROM room) > 0 ORDER BY -j.priority LIMIT 1)
    UNION ALL
    SELECT (SELECT -j.priority FROM jobs j
            WHERE j.state = 'queued' AND j.admitted_at IS NULL AND j.cancel_requested_at IS NULL AND -j.priority > l.rank
            ORDER BY -j.priority LIMIT 1)
    FROM levels l WHERE l.rank IS NOT NULL
), line AS MATERIALIZED (
    SELECT due.id, due.queue, (-levels.rank)::smallint AS priority, due.due_at FROM levels CROSS JOIN LATERAL (
        SELECT j.id, j.queue, j.due_at FROM jobs j
        WHERE j.state = 'queued' AND j.admitted_at IS NULL AND j.cancel_requested_at IS NULL
        AND -j.priority = levels.rank AND j.due_at <= statement_timestamp()
        ORDER BY j.due_at, j.id LIMIT 1000 + (SELECT jobs FROM room)
    ) AS due
    LIMIT 1000 + (SELECT jobs FROM room)
), front AS MATERIALIZED (
    SELECT line.id, line.queue, line.priority, line.due_at FROM line WHERE line.queue <> ALL (ARRAY(SELECT queue FROM closed))
    LIMIT (SELECT jobs FROM room)
), placed AS MATERIALIZED (
    SELECT queue, row_number() OVER (PARTITION BY queue ORDER BY priority DESC, due_at, id) AS place FROM front
), usable AS MATERIALIZED (
    SELECT count(*) FILTER (WHERE c.queue IS NULL)
           + least(count(*) FILTER (WHERE c.queue IS NOT NULL), greatest(0, (SELECT of_crowded FROM room))) AS jobs
    FROM placed p LEFT JOIN limited l ON l.queue = p.queue LEFT JOIN crowded c ON c.queue = p.queue
    WHERE p.place <= coalesce(l.room, $4, p.place)
), enough AS MATERIALIZED (
    SELECT CASE
        WHEN (SELECT jobs FROM usable) >= (SELECT jobs FROM room) THEN true
        WHEN (SELECT count(*) FROM front) >= (SELECT jobs FROM room) THEN false
        ELSE (SELECT count(*) FROM line) < 1000 + (SELECT jobs FROM room)
    END AS yes
), names AS (
    (SELECT j.queue, 1 AS visited FROM jobs j
     WHERE j.state = 'queued' AND j.admitted_at IS NULL AND j.cancel_requested_at IS NULL
     AND NOT (SELECT yes FROM enough) AND ($8::text IS NULL OR j.queue < $8) ORDER BY j.queue DESC LIMIT 1)
    UNION ALL
    SELECT (SELECT j.queue FROM jobs j
            WHERE j.state = 'queued' AND j.admitted_at IS NULL AND j.cancel_requested_at IS NULL AND j.queue < n.queue
            ORDER BY j.queue DESC LIMIT 1), n.visited + 1
    FROM names n WHERE n.queue IS NOT NULL AND n.visited < $9::integer
), open AS MATERIALIZED (
    SELECT n.queue, least(room.jobs, coalesce(l.room, $4::bigint)) AS room
    FROM names n CROSS JOIN room LEFT JOIN limited l ON l.queue = n.queue
    WHERE n.queue IS NOT NULL AND n.queue <> ALL (ARRAY(SELECT queue FROM closed))
), heads AS MATERIALIZED (
    SELECT head.id, open.queue, head.priority, head.due_at FROM open CROSS JOIN LATERAL (
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
), ranked AS MATERIALIZED (
    SELECT c.id, c.queue, c.priority, c.due_at,
           row_number() OVER (PARTITION BY c.queue ORDER BY c.priority DESC, c.due_at, c.id) AS place
    FROM (SELECT id, queue, priority, due_at FROM front UNION SELECT id, queue, priority, due_at FROM heads) c
), fitting AS MATERIALIZED (
    SELECT r.id, r.priority, r.due_at, c.queue IS NOT NULL AS crowded,
           row_number() OVER (PARTITION BY c.queue IS NOT NULL ORDER BY r.priority DESC, r.due_at, r.id) AS nth
    FROM ranked r LEFT JOIN limited l ON l.queue = r.queue LEFT JOIN crowded c ON c.queue = r.queue
    WHERE r.place <= coalesce(l.room, $4, r.place)
), picked AS MATERIALIZED (
    SELECT id FROM fitting WHERE NOT crowded OR nth <= (SELECT of_crowded FROM room)
    ORDER BY priority DESC, due_at, id LIMIT (SELECT jobs FROM room)
), locked AS MATERIALIZED (
    SELECT id FROM jobs
    WHERE id = ANY(ARRAY(SELECT id FROM picked)) AND state = 'queued' AND admitted_at IS NULL AND cancel_requested_at IS NULL
    ORDER BY id FOR UPDATE SKIP LOCKED
), admitted AS (
    UPDATE jobs j
    SET admitted_at = statement_timestamp(), version = j.version + 1,
        create_until = clock_timestamp() + $3::double precision * interval '1 second',
        next_check_at = clock_timestamp() + $3::double precision * interval '1 second'
    WHERE j.id = ANY(ARRAY(SELECT id FROM locked))
    RETURNING {job_rows.of:j}
)
SELECT n.now, {job_rows.of:j}, (SELECT s.spec FROM job_specs s WHERE s.job_id = j.id) AS encoded_spec,
       (SELECT p.any FROM parked p) AS parked, (SELECT queue FROM names WHERE visited = $9::integer) AS visited_to
FROM (SELECT clock_timestamp() AS now) n LEFT JOIN admitted j ON true

-- name: attempts_of
-- All attempts of some jobs.
SELECT {attempts.of:a}, coalesce(l.status, '') AS logs, coalesce(l.lost_reason, '') AS logs_lost
FROM attempts a LEFT JOIN attempt_logs l ON l.job_id = a.job_id AND l.attempt = a.number
WHERE a.job_id = ANY($1::uuid[]) ORDER BY a.job_id, a.number

-- name: load
-- Jobs with their specs where these may be needed and all attempts, as of one snapshot, with the one clock; one row even
-- when there is no job, for the clock's sake.
SELECT n.now, j.*, s.spec AS encoded_spec,
       a.job_id AS a_job_id, a.number AS a_number, a.namespace AS a_namespace, a.cluster_name AS a_cluster_name,
       a.cluster_uid AS a_cluster_uid, a.created_at AS a_created_at, a.started_at AS a_started_at,
       a.finished_at AS a_finished_at, a.node AS a_node, a.pod_name AS a_pod_name, a.verdict AS a_verdict,
       a.decided_at AS a_decided_at, a.unhealthy_reason AS a_unhealthy_reason, a.unhealthy_since AS a_unhealthy_since,
       a.delete_requested_at AS a_delete_requested_at, a.gone_at AS a_gone_at, a.memory AS a_memory,
       a.marks AS a_marks, a.delete_grace_seconds AS a_delete_grace_seconds, a.facts AS a_facts,
       l.status AS a_logs, l.lost_reason AS a_logs_lost
FROM (SELECT clock_timestamp() AS now) n
LEFT JOIN jobs j ON j.id = ANY($1::uuid[])
LEFT JOIN job_specs s ON s.job_id = j.id AND j.state = 'queued'
LEFT JOIN attempts a ON a.job_id = j.id
LEFT JOIN attempt_logs l ON l.job_id = a.job_id AND l.attempt = a.number

-- name: lock_jobs
-- Lock the rows of a batch, always in the same order, and tell their versions.
SELECT id, version FROM jobs WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE

-- name: apply
-- Write all that was decided in a batch but the attempts, acknowledge its messages, send the new ones and the hints.
WITH changed AS (
    UPDATE jobs j
    SET state = c.state, version = c.version, attempt = c.attempt, due_at = c.due_at,
        admitted_at = c.admitted_at, started_at = c.started_at, finished_at = c.finished_at,
        next_check_at = c.next_check_at, reason = c.reason, explanation = c.explanation, exit_code = c.exit_code
    FROM unnest($1::uuid[], $2::text[], $3::integer[], $4::integer[], $5::timestamptz[], $6::timestamptz[],
                $7::timestamptz[], $8::timestamptz[], $9::timestamptz[], $10::text[], $11::text[], $12::integer[])
        AS c (id, state, version, attempt, due_at, admitted_at, started_at, finished_at, next_check_at, reason, explanation,
              exit_code)
    WHERE j.id = c.id
), history AS (
    INSERT INTO transitions (job_id, version, attempt, from_state, to_state, at, reason, explanation, exit_code)
    SELECT * FROM unnest($13::uuid[], $14::integer[], $15::integer[], $16::text[], $17::text[], $18::timestamptz[],
                         $19::text[], $20::text[], $21::integer[])
), strange AS (
    INSERT INTO anomalies (job_id, attempt, kind, detail, at)
    SELECT * FROM unnest($22::uuid[], $23::integer[], $24::text[], $25::text[], $26::timestamptz[])
    ON CONFLICT DO NOTHING
), sent AS (
    INSERT INTO messages (available_at, priority, body)
    SELECT now() + m.delay_seconds * interval '1 second', m.priority, m.body
    FROM unnest($27::double precision[], $28::smallint[], $29::bytea[]) AS m (delay_seconds, priority, body)
), acknowledged AS (
    DELETE FROM messages m USING unnest($30::bigint[], $31::uuid[]) AS a (id, token)
    WHERE m.id = a.id AND m.lease_token = a.token
)
SELECT pg_notify(channel, '') FROM unnest($32::text[]) AS n (channel)

-- name: put_attempts
-- Write attempts, new or changed. One that has printed, or may have, is put on the log-collector's list; why the wait for
-- its log was given up is noted there by the commit that sends the delete.
WITH input AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[],
            $8::timestamptz[], $9::text[], $10::text[], $11::text[], $12::timestamptz[], $13::text[], $14::timestamptz[],
            $15::timestamptz[], $16::timestamptz[], $17::text[], $18::text[], $19::text[], $20::integer[],
            $21::boolean[], $22::text[])
    AS a (job_id, number, namespace, cluster_name, cluster_uid, created_at, started_at, finished_at, node, pod_name,
          verdict, decided_at, unhealthy_reason, unhealthy_since, delete_requested_at, gone_at, facts, memory, marks,
          delete_grace_seconds, logged, logs_lost)
), listed AS (
    INSERT INTO attempt_logs (job_id, attempt, lost_reason)
    SELECT job_id, number, logs_lost FROM input WHERE logged
    ON CONFLICT DO NOTHING
), noted AS (
    UPDATE attempt_logs l SET lost_reason = i.logs_lost FROM input i
    WHERE i.logs_lost <> '' AND l.job_id = i.job_id AND l.attempt = i.number AND l.done_at IS NULL
)
INSERT INTO attempts (job_id, number, namespace, cluster_name, cluster_uid, created_at, started_at, finished_at, node,
                      pod_name, verdict, decided_at, unhealthy_reason, unhealthy_since, delete_requested_at, gone_at, facts,
                      memory, marks, delete_grace_seconds)
SELECT job_id, number, namespace, cluster_name, cluster_uid, created_at, started_at, finished_at, node, pod_name,
       verdict::jsonb, decided_at, unhealthy_reason, unhealthy_since, delete_requested_at, gone_at, facts::jsonb, memory,
       marks::jsonb, delete_grace_seconds
FROM input
ON CONFLICT (job_id, number) DO UPDATE
SET namespace = excluded.namespace, cluster_name = excluded.cluster_name, cluster_uid = excluded.cluster_uid,
    created_at = excluded.created_at, started_at = excluded.started_at, finished_at = excluded.finished_at,
    node = excluded.node, pod_name = excluded.pod_name, verdict = excluded.verdict, decided_at = excluded.decided_at,
    unhealthy_reason = excluded.unhealthy_reason, unhealthy_since = excluded.unhealthy_since,
    delete_requested_at = excluded.delete_requested_at, gone_at = excluded.gone_at, facts = excluded.facts,
    memory = excluded.memory, marks = excluded.marks, delete_grace_seconds = excluded.delete_grace_seconds

-- name: lock_admissions
-- One admission at a time, until the end of the transaction. A statement of its own: the next one's snapshot must be taken
-- when the lock is held, or it would not see what the holder before admitted. A holder that is lost on the way is cut off soon.
SELECT set_config('idle_in_transaction_session_timeout', '5s', true),
       pg_advisory_xact_lock(hashtextextended('kjr admission', 0))

-- name: admit
-- Admit waiting jobs that are due, the most urgent and oldest first, as far as the limits allow; with their specs. Queues and
-- the priorities in each are found by skipping from one to the next, and of each only as many rows are read as there is room
-- for: neither a full queue with a million rows nor retries that are not due yet are walked over. Ids go on as arrays, because
-- the planner takes those for short: of a LIMIT that it cannot know it expects a tenth of the table, and reads all of it.
WITH RECURSIVE in_flight AS MATERIALIZED (
    SELECT queue, count(*) AS jobs FROM jobs
    WHERE admitted_at IS NOT NULL AND state IN ('queued', 'starting', 'running', 'stopping') GROUP BY queue
), room AS MATERIALIZED (
    SELECT greatest(0, least($1::bigint, $2::bigint - coalesce(sum(jobs), 0)))::bigint AS jobs FROM in_flight
), names AS (
    (SELECT queue FROM jobs WHERE state = 'queued' AND admitted_at IS NULL AND cancel_requested_at IS NULL
     AND (SELECT jobs FROM room) > 0 ORDER BY queue DESC LIMIT 1)
    UNION ALL
    SELECT (SELECT j.queue FROM jobs j
            WHERE j.state = 'queued' AND j.admitted_at IS NULL AND j.cancel_requested_at IS NULL AND j.queue < n.queue
            ORDER BY j.queue DESC LIMIT 1)
    FROM names n WHERE n.queue IS NOT NULL
), open AS MATERIALIZED (
    SELECT n.queue, least(room.jobs, coalesce(l.jobs, $4::bigint) - coalesce(f.jobs, 0)) AS room
    FROM names n CROSS JOIN room
    LEFT JOIN unnest($5::text[], $6::bigint[]) AS l (queue, jobs) ON l.queue = n.queue
    LEFT JOIN in_flight f ON f.queue = n.queue
    WHERE n.queue IS NOT NULL
), picked AS MATERIALIZED (
    SELECT head.id FROM open CROSS JOIN LATERAL (
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
    ORDER BY head.priority DESC, head.due_at, head.id LIMIT (SELECT jobs FROM room)
), locked AS MATERIALIZED (
    SELECT id FROM jobs
    WHERE id = ANY(ARRAY(SELECT id FROM picked)) AND state = 'queued' AND admitted_at IS NULL AND cancel_requested_at IS NULL
    ORDER BY id FOR UPDATE
), admitted AS (
    UPDATE jobs j
    SET admitted_at = statement_timestamp(), version = j.version + 1,
        next_check_at = clock_timestamp() + $3::double precision * interval '1 second'
    WHERE j.id = ANY(ARRAY(SELECT id FROM locked))
    RETURNING j.*
)
SELECT n.now, j.*, (SELECT s.spec FROM job_specs s WHERE s.job_id = j.id) AS encoded_spec
FROM (SELECT clock_timestamp() AS now) n LEFT JOIN admitted j ON true

-- name: attempts_of
-- All attempts of some jobs.
SELECT a.*, l.status AS logs, l.lost_reason AS logs_lost
FROM attempts a LEFT JOIN attempt_logs l ON l.job_id = a.job_id AND l.attempt = a.number
WHERE a.job_id = ANY($1::uuid[]) ORDER BY a.job_id, a.number

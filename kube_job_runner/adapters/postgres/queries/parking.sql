-- name: lock_parked
-- The parked ones among some namespaces, locked, with the time of the database. There is one row even without any.
SELECT n.now, {parkings.of:p} FROM (SELECT clock_timestamp() AS now) n
LEFT JOIN LATERAL (
    SELECT {parkings.names} FROM parked_namespaces WHERE namespace = ANY($1::text[]) ORDER BY namespace FOR UPDATE
) p ON true

-- name: park
-- Park namespaces, or write how they are parked now.
INSERT INTO parked_namespaces ({parkings.names})
SELECT {parkings.names} FROM unnest({parkings.arrays}) AS i ({parkings.names})
ON CONFLICT (namespace) DO UPDATE SET {parkings.set:excluded}

-- name: open
-- Open namespaces.
DELETE FROM parked_namespaces WHERE namespace = ANY($1::text[])

-- name: forget
-- Remove parked namespaces that no job waits for, and those that refused pods ($1) and in which no Job waits for its pod now.
-- A Job that is held back on purpose ($2), or whose pod waits for a node, says nothing about the quota.
DELETE FROM parked_namespaces p WHERE p.namespace IN (
    SELECT o.namespace FROM parked_namespaces o
    WHERE (o.probe_at <= now() AND NOT EXISTS (
        SELECT FROM jobs j
        WHERE j.state = 'queued' AND j.admitted_at IS NULL AND j.cancel_requested_at IS NULL AND j.namespace = o.namespace))
    OR (o.reason = $1 AND NOT EXISTS (
        SELECT FROM jobs j
        WHERE j.waiting_since IS NOT NULL AND j.namespace = o.namespace AND NOT EXISTS (
            SELECT FROM attempts a WHERE a.job_id = j.id AND a.number = j.attempt
            AND (a.pod_name <> '' OR a.unhealthy_reason = ANY($2::text[])))))
    FOR UPDATE SKIP LOCKED)

-- name: admit_around
-- As `admit`, while namespaces are parked: their jobs are passed over, except that of one whose time has come as many are
-- admitted as its allowance says. The lines of jobs, one per namespace and queue, are found by skipping from one to the next;
-- of a parked namespace only the first line is looked at. So a parked namespace with a million jobs costs one step.
WITH RECURSIVE in_flight AS MATERIALIZED (
    SELECT queue, count(*) AS jobs FROM jobs
    WHERE admitted_at IS NOT NULL AND state IN ('queued', 'starting', 'running', 'stopping') GROUP BY queue
), crowded AS MATERIALIZED (
    SELECT DISTINCT queue FROM jobs WHERE waiting_since IS NOT NULL
), room AS MATERIALIZED (
    SELECT greatest(0, least($1::bigint, $2::bigint - coalesce(sum(jobs), 0)))::bigint AS jobs,
           $2::bigint - coalesce(sum(jobs), 0) - $7::bigint AS of_crowded
    FROM in_flight
), parked AS MATERIALIZED (
    SELECT namespace, CASE WHEN probe_at <= statement_timestamp() THEN allowance ELSE 0 END AS allowance FROM parked_namespaces
), lines AS (
    (SELECT namespace, queue FROM jobs
     WHERE state = 'queued' AND admitted_at IS NULL AND cancel_requested_at IS NULL AND (SELECT jobs FROM room) > 0
     ORDER BY namespace DESC, queue DESC LIMIT 1)
    UNION ALL
    SELECT next.namespace, next.queue FROM lines l CROSS JOIN LATERAL (
        SELECT j.namespace, j.queue FROM jobs j
        WHERE j.state = 'queued' AND j.admitted_at IS NULL AND j.cancel_requested_at IS NULL
        AND (j.namespace, j.queue) < (l.namespace, CASE WHEN EXISTS (
            SELECT FROM parked p WHERE p.namespace = l.namespace AND p.allowance = 0) THEN '' ELSE l.queue END)
        ORDER BY j.namespace DESC, j.queue DESC LIMIT 1
    ) next
), open AS MATERIALIZED (
    SELECT n.namespace, n.queue, coalesce(l.jobs, $4::bigint, room.jobs + coalesce(f.jobs, 0)) - coalesce(f.jobs, 0) AS of_queue,
           coalesce(p.allowance, room.jobs) AS of_namespace, room.jobs AS of_all, p.namespace IS NOT NULL AS probe,
           c.queue IS NOT NULL AS crowded
    FROM lines n CROSS JOIN room
    LEFT JOIN unnest($5::text[], $6::bigint[]) AS l (queue, jobs) ON l.queue = n.queue
    LEFT JOIN in_flight f ON f.queue = n.queue
    LEFT JOIN parked p ON p.namespace = n.namespace
    LEFT JOIN crowded c ON c.queue = n.queue
), heads AS MATERIALIZED (
    SELECT open.namespace, open.queue, open.of_queue, open.of_namespace, open.probe, open.crowded, head.id, head.priority, head.due_at
    FROM open CROSS JOIN LATERAL (
        WITH RECURSIVE levels AS (
            (SELECT j.priority FROM jobs j
             WHERE j.state = 'queued' AND j.admitted_at IS NULL AND j.cancel_requested_at IS NULL
             AND j.namespace = open.namespace AND j.queue = open.queue ORDER BY j.priority DESC LIMIT 1)
            UNION ALL
            SELECT (SELECT j.priority FROM jobs j
                    WHERE j.state = 'queued' AND j.admitted_at IS NULL AND j.cancel_requested_at IS NULL
                    AND j.namespace = open.namespace AND j.queue = open.queue AND j.priority < l.priority
                    ORDER BY j.priority DESC LIMIT 1)
            FROM levels l WHERE l.priority IS NOT NULL
        )
        SELECT due.id, levels.priority, due.due_at FROM levels CROSS JOIN LATERAL (
            SELECT j.id, j.due_at FROM jobs j
            WHERE j.state = 'queued' AND j.admitted_at IS NULL AND j.cancel_requested_at IS NULL
            AND j.namespace = open.namespace AND j.queue = open.queue AND j.priority = levels.priority
            AND j.due_at <= statement_timestamp()
            ORDER BY j.due_at, j.id LIMIT least(open.of_all, open.of_queue, open.of_namespace)
        ) AS due
        ORDER BY levels.priority DESC, due.due_at, due.id LIMIT least(open.of_all, open.of_queue, open.of_namespace)
    ) AS head
    WHERE least(open.of_all, open.of_queue, open.of_namespace) > 0
), allowed AS (
    SELECT h.namespace, h.queue, h.of_queue, h.of_namespace, h.probe, h.crowded, h.id, h.priority, h.due_at,
           row_number() OVER (PARTITION BY h.namespace ORDER BY h.priority DESC, h.due_at, h.id) AS nth FROM heads h
), fitting AS (
    SELECT a.queue, a.of_queue, a.probe, a.crowded, a.id, a.priority, a.due_at,
           row_number() OVER (PARTITION BY a.queue ORDER BY a.priority DESC, a.due_at, a.id) AS nth_of_queue
    FROM allowed a WHERE NOT a.probe OR a.nth <= a.of_namespace
), in_limits AS (
    SELECT f.id, f.probe, f.crowded, f.priority, f.due_at,
           row_number() OVER (PARTITION BY f.crowded ORDER BY f.priority DESC, f.due_at, f.id) AS nth_crowded
    FROM fitting f WHERE f.nth_of_queue <= f.of_queue
), picked AS MATERIALIZED (
    SELECT id, probe FROM in_limits WHERE NOT crowded OR nth_crowded <= (SELECT of_crowded FROM room)
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
), begun AS (
    UPDATE parked_namespaces p SET probe_at = statement_timestamp() + $3::double precision * interval '1 second'
    WHERE p.namespace IN (SELECT a.namespace FROM admitted a)
)
SELECT n.now, {job_rows.of:j}, (SELECT s.spec FROM job_specs s WHERE s.job_id = j.id) AS encoded_spec,
       (SELECT p.probe FROM picked p WHERE p.id = j.id) AS probe
FROM (SELECT clock_timestamp() AS now) n LEFT JOIN admitted j ON true

-- name: load
-- Jobs with their specs where these may be needed and all attempts, as of one snapshot, with the one clock; one row even
-- when there is no job, for the clock's sake.
SELECT n.now, j.*, s.spec AS encoded_spec,
       a.job_id AS a_job_id, a.number AS a_number, a.namespace AS a_namespace, a.cluster_name AS a_cluster_name,
       a.cluster_uid AS a_cluster_uid, a.created_at AS a_created_at, a.started_at AS a_started_at,
       a.finished_at AS a_finished_at, a.node AS a_node, a.pod_name AS a_pod_name, a.verdict AS a_verdict,
       a.decided_at AS a_decided_at, a.unhealthy_reason AS a_unhealthy_reason, a.unhealthy_since AS a_unhealthy_since,
       a.delete_requested_at AS a_delete_requested_at, a.gone_at AS a_gone_at, a.facts AS a_facts,
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
    SET state = c.state, version = c.version, attempt = c.attempt, due_at = c.due_at, started_at = c.started_at,
        finished_at = c.finished_at, next_check_at = c.next_check_at, reason = c.reason, explanation = c.explanation,
        exit_code = c.exit_code
    FROM unnest($1::uuid[], $2::text[], $3::integer[], $4::integer[], $5::timestamptz[], $6::timestamptz[],
                $7::timestamptz[], $8::timestamptz[], $9::text[], $10::text[], $11::integer[])
        AS c (id, state, version, attempt, due_at, started_at, finished_at, next_check_at, reason, explanation, exit_code)
    WHERE j.id = c.id
), history AS (
    INSERT INTO transitions (job_id, version, attempt, from_state, to_state, at, reason, explanation, exit_code)
    SELECT * FROM unnest($12::uuid[], $13::integer[], $14::integer[], $15::text[], $16::text[], $17::timestamptz[],
                         $18::text[], $19::text[], $20::integer[])
), strange AS (
    INSERT INTO anomalies (job_id, attempt, kind, detail, at)
    SELECT * FROM unnest($21::uuid[], $22::integer[], $23::text[], $24::text[], $25::timestamptz[])
    ON CONFLICT DO NOTHING
), sent AS (
    INSERT INTO messages (available_at, priority, body)
    SELECT now() + m.delay_seconds * interval '1 second', m.priority, m.body
    FROM unnest($26::double precision[], $27::smallint[], $28::bytea[]) AS m (delay_seconds, priority, body)
), acknowledged AS (
    DELETE FROM messages m USING unnest($29::bigint[], $30::uuid[]) AS a (id, token)
    WHERE m.id = a.id AND m.lease_token = a.token
)
SELECT pg_notify(channel, '') FROM unnest($31::text[]) AS n (channel)

-- name: put_attempts
-- Write attempts, new or changed. One that has printed, or may have, is put on the log-collector's list; why the wait for
-- its log was given up is noted there by the commit that sends the delete.
WITH input AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[],
            $8::timestamptz[], $9::text[], $10::text[], $11::text[], $12::timestamptz[], $13::text[], $14::timestamptz[],
            $15::timestamptz[], $16::timestamptz[], $17::text[], $18::boolean[], $19::text[])
    AS a (job_id, number, namespace, cluster_name, cluster_uid, created_at, started_at, finished_at, node, pod_name,
          verdict, decided_at, unhealthy_reason, unhealthy_since, delete_requested_at, gone_at, facts, logged, logs_lost)
), listed AS (
    INSERT INTO attempt_logs (job_id, attempt, lost_reason)
    SELECT job_id, number, logs_lost FROM input WHERE logged
    ON CONFLICT DO NOTHING
), noted AS (
    UPDATE attempt_logs l SET lost_reason = i.logs_lost FROM input i
    WHERE i.logs_lost <> '' AND l.job_id = i.job_id AND l.attempt = i.number AND l.done_at IS NULL
)
INSERT INTO attempts (job_id, number, namespace, cluster_name, cluster_uid, created_at, started_at, finished_at, node,
                      pod_name, verdict, decided_at, unhealthy_reason, unhealthy_since, delete_requested_at, gone_at, facts)
SELECT job_id, number, namespace, cluster_name, cluster_uid, created_at, started_at, finished_at, node, pod_name,
       verdict::jsonb, decided_at, unhealthy_reason, unhealthy_since, delete_requested_at, gone_at, facts::jsonb
FROM input
ON CONFLICT (job_id, number) DO UPDATE
SET namespace = excluded.namespace, cluster_name = excluded.cluster_name, cluster_uid = excluded.cluster_uid,
    created_at = excluded.created_at, started_at = excluded.started_at, finished_at = excluded.finished_at,
    node = excluded.node, pod_name = excluded.pod_name, verdict = excluded.verdict, decided_at = excluded.decided_at,
    unhealthy_reason = excluded.unhealthy_reason, unhealthy_since = excluded.unhealthy_since,
    delete_requested_at = excluded.delete_requested_at, gone_at = excluded.gone_at, facts = excluded.facts

-- name: known_cluster_jobs
-- The cluster jobs that should exist.
SELECT job_id, number, cluster_uid FROM attempts WHERE cluster_uid IS NOT NULL AND gone_at IS NULL

-- name: count_in_flight
-- How many jobs are in the cluster now.
SELECT count(*) AS jobs FROM jobs WHERE state IN ('starting', 'running', 'stopping')

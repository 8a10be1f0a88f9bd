-- name: lock_watches
-- The watches of a kind, and the time. The lock lets two watchers join their reports one after the other.
SELECT n.now, w.kind, w.namespace, w.known_until, w.reported_at, w.broken, w.dark
FROM (SELECT clock_timestamp() AS now) n
LEFT JOIN LATERAL (
    SELECT kind, namespace, known_until, reported_at, broken, dark FROM watches WHERE kind = $1 ORDER BY namespace FOR UPDATE
) w ON true

-- name: put_watches
-- Keep what is known of some watches.
INSERT INTO watches (kind, namespace, known_until, reported_at, broken, dark)
SELECT w.kind, w.namespace, w.known_until, w.reported_at, w.broken, w.dark
FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::boolean[], $6::jsonb[])
    AS w (kind, namespace, known_until, reported_at, broken, dark)
ON CONFLICT (kind, namespace) DO UPDATE
SET known_until = excluded.known_until, reported_at = excluded.reported_at, broken = excluded.broken, dark = excluded.dark

-- name: watches
-- What is known of all watches.
SELECT kind, namespace, known_until, reported_at, broken, dark FROM watches

-- name: known_pods
-- The pods that were seen and not seen to be gone, of cluster jobs that should exist.
SELECT a.job_id, a.number AS attempt, a.namespace, p.pod ->> 'uid' AS uid
FROM attempts a CROSS JOIN LATERAL jsonb_array_elements(a.facts -> 'pods') AS p (pod)
WHERE a.cluster_uid IS NOT NULL AND a.gone_at IS NULL AND NOT coalesce((p.pod ->> 'gone')::boolean, false)

-- name: known_cluster_jobs
-- The cluster jobs that should exist.
SELECT job_id, number AS attempt, namespace, cluster_uid, cluster_name FROM attempts WHERE cluster_uid IS NOT NULL AND gone_at IS NULL

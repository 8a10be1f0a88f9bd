-- name: installation
-- The id of this installation.
SELECT id FROM installation

-- name: recorded_cluster_jobs
-- A page of the cluster jobs that should exist.
SELECT job_id, number AS attempt, namespace, cluster_name, cluster_uid,
       ARRAY(SELECT p ->> 'uid' FROM jsonb_array_elements(facts -> 'pods') AS p
             WHERE NOT coalesce((p ->> 'gone')::boolean, false)) AS pod_uids
FROM attempts
WHERE cluster_uid IS NOT NULL AND gone_at IS NULL AND (job_id, number) > ($1::uuid, $2::integer)
ORDER BY job_id, number LIMIT $3

-- name: claims
-- What the rows say about some attempts.
SELECT k.job_id, k.number, j.state IN ('succeeded', 'failed', 'cancelled') AS job_ended, j.attempt AS job_attempt,
       a.cluster_uid, a.gone_at IS NOT NULL AS gone
FROM unnest($1::uuid[], $2::integer[]) AS k (job_id, number)
JOIN jobs j ON j.id = k.job_id
LEFT JOIN attempts a ON a.job_id = k.job_id AND a.number = k.number

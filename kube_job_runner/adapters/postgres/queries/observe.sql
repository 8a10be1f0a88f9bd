-- name: known_cluster_jobs
-- The cluster jobs that should exist.
SELECT job_id, number AS attempt, namespace, cluster_uid FROM attempts WHERE cluster_uid IS NOT NULL AND gone_at IS NULL

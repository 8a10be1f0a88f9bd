-- name: bound
-- The identities that this database is bound to, the first one first.
SELECT kind, evidence, uid, place FROM cluster_identity ORDER BY found_at, kind, evidence

-- name: bind
-- Bind this database to an identity, unless it is bound to one of another kind.
INSERT INTO cluster_identity (kind, evidence, uid, place)
SELECT $1, $2, $3, $4 WHERE NOT EXISTS (SELECT FROM cluster_identity WHERE kind <> $1)
ON CONFLICT DO NOTHING

-- name: in_cluster
-- A page of the jobs of which something may be in the cluster, by id.
SELECT id FROM jobs j
WHERE id > $1 AND (
    (admitted_at IS NOT NULL AND state IN ('queued', 'starting', 'running', 'stopping'))
    OR EXISTS (SELECT FROM attempts a WHERE a.job_id = j.id AND a.cluster_uid IS NOT NULL AND a.gone_at IS NULL)
) ORDER BY id LIMIT $2

-- name: count_live
-- How many jobs may be in the cluster and have not ended, and how many wait for admission.
SELECT count(*) FILTER (WHERE admitted_at IS NOT NULL) AS live, count(*) FILTER (WHERE admitted_at IS NULL) AS waiting
FROM jobs WHERE state IN ('queued', 'starting', 'running', 'stopping')

-- name: forget
-- Remove all identities.
DELETE FROM cluster_identity

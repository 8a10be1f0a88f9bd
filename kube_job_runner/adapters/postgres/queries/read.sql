-- name: get_job
-- One job.
SELECT * FROM jobs WHERE id = $1

-- name: get_spec
-- The encoded spec of a job.
SELECT spec FROM job_specs WHERE job_id = $1

-- name: list_attempts
-- The attempts of a job, oldest first.
SELECT a.*, l.status AS logs, l.lost_reason AS logs_lost
FROM attempts a LEFT JOIN attempt_logs l ON l.job_id = a.job_id AND l.attempt = a.number
WHERE a.job_id = $1 ORDER BY a.number

-- name: list_transitions
-- The history of a job, oldest first.
SELECT * FROM transitions WHERE job_id = $1 ORDER BY version, at

-- name: versions
-- The versions of jobs that somebody waits for.
SELECT id, version FROM jobs WHERE id = ANY($1::uuid[])

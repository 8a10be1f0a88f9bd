-- A marker in braces stands for a list of columns or parameters; see `columns.expand`.

-- name: claim
-- Lease work: attempts that have ended, and live ones to be followed (stopping, read, or running for long enough; of those, the
-- oldest jobs first). Each part reads an index of what it looks for, in order, up to its limit. So the cost follows what can be
-- claimed, not what is live. OFFSET 0 has the attempts looked up one by one: the attempts of all jobs that ended long ago would be
-- walked over in a merge. `ended_at` only says where to look: the attempt itself says whether it has ended. Whether a pod has
-- ended before its attempt is decided is not read from its facts here: they would be unpacked for every running attempt.
WITH ended AS (
    SELECT l.job_id, l.attempt
    FROM attempt_logs l
    CROSS JOIN LATERAL (
        SELECT FROM attempts a JOIN jobs j ON j.id = a.job_id
        WHERE a.job_id = l.job_id AND a.number = l.attempt
          AND ((a.decided_at IS NOT NULL AND j.state <> 'stopping') OR (a.gone_at IS NOT NULL AND a.pod_name <> ''))
        OFFSET 0
    ) AS a
    WHERE l.done_at IS NULL AND l.ended_at IS NOT NULL
      AND (l.leased_until IS NULL OR l.leased_until <= clock_timestamp())
    ORDER BY l.ended_at LIMIT $3
), stopping AS (
    SELECT l.job_id, l.attempt, 0 AS rank, l.wanted_at
    FROM jobs j
    CROSS JOIN LATERAL (
        SELECT l.job_id, l.attempt, l.wanted_at
        FROM attempt_logs l
        JOIN attempts a ON a.job_id = l.job_id AND a.number = l.attempt
        WHERE l.job_id = j.id AND l.done_at IS NULL
          AND (l.leased_until IS NULL OR l.leased_until <= clock_timestamp())
          AND a.gone_at IS NULL AND (a.pod_name <> '' OR a.decided_at IS NOT NULL) OFFSET 0
    ) AS l
    WHERE j.state = 'stopping'
    ORDER BY j.id LIMIT $4
), wanted AS (
    SELECT l.job_id, l.attempt, 1 AS rank, l.wanted_at
    FROM attempt_logs l
    CROSS JOIN LATERAL (
        SELECT FROM attempts a
        WHERE a.job_id = l.job_id AND a.number = l.attempt AND a.decided_at IS NULL AND a.gone_at IS NULL
          AND a.pod_name <> '' OFFSET 0
    ) AS a
    WHERE l.done_at IS NULL AND l.wanted_at > now() - interval '60 seconds'
      AND (l.leased_until IS NULL OR l.leased_until <= clock_timestamp())
    ORDER BY l.wanted_at DESC LIMIT $4
), running AS (
    SELECT l.job_id, l.attempt, 2 AS rank, l.wanted_at
    FROM attempt_logs l
    CROSS JOIN LATERAL (
        SELECT FROM attempts a
        WHERE a.job_id = l.job_id AND a.number = l.attempt AND a.decided_at IS NULL AND a.gone_at IS NULL
          AND a.pod_name <> '' AND a.started_at <= clock_timestamp() - $5 * interval '1 second' OFFSET 0
    ) AS a
    WHERE l.done_at IS NULL AND (l.leased_until IS NULL OR l.leased_until <= clock_timestamp())
    ORDER BY l.job_id, l.attempt LIMIT $4
), picked AS (
    SELECT job_id, attempt FROM ended
    UNION ALL
    (SELECT job_id, attempt
     FROM (SELECT job_id, attempt, rank, wanted_at FROM stopping
           UNION ALL SELECT job_id, attempt, rank, wanted_at FROM wanted
           UNION ALL SELECT job_id, attempt, rank, wanted_at FROM running) AS live
     GROUP BY job_id, attempt ORDER BY min(rank), max(wanted_at) DESC NULLS LAST, job_id, attempt LIMIT $4)
), locked AS MATERIALIZED (
    SELECT l.job_id, l.attempt FROM attempt_logs l JOIN picked USING (job_id, attempt)
    WHERE l.done_at IS NULL AND (l.leased_until IS NULL OR l.leased_until <= clock_timestamp())
    ORDER BY l.job_id, l.attempt FOR UPDATE OF l SKIP LOCKED
)
UPDATE attempt_logs l SET lease_token = $1, leased_until = clock_timestamp() + $2 * interval '1 second'
FROM locked WHERE l.job_id = locked.job_id AND l.attempt = locked.attempt
RETURNING l.job_id, l.attempt

-- name: mark_ended
-- Note which attempts have ended, where the commit that ended them did not. It reads each undone log, so it is run seldom.
WITH missed AS MATERIALIZED (
    SELECT l.job_id, l.attempt, coalesce(a.decided_at, a.gone_at) AS ended_at
    FROM attempt_logs l
    JOIN attempts a ON a.job_id = l.job_id AND a.number = l.attempt
    WHERE l.done_at IS NULL AND l.ended_at IS NULL AND coalesce(a.decided_at, a.gone_at) IS NOT NULL
    ORDER BY l.job_id, l.attempt FOR UPDATE OF l SKIP LOCKED
)
UPDATE attempt_logs l SET ended_at = missed.ended_at
FROM missed WHERE l.job_id = missed.job_id AND l.attempt = missed.attempt

-- name: work
-- The state of attempts whose log is being collected.
SELECT l.job_id, l.attempt, l.status, l.lost_reason, a.namespace, a.pod_name, a.decided_at, a.facts,
       j.traceparent, clock_timestamp() AS now,
       (a.decided_at IS NOT NULL AND j.state <> 'stopping') OR a.gone_at IS NOT NULL
           OR coalesce(a.facts->'pods'->-1->>'phase', '') IN ('Succeeded', 'Failed')
           OR coalesce((a.facts->'pods'->-1->>'gone')::boolean, false) AS ended,
       j.cancel_requested_at IS NOT NULL OR j.state = 'stopping' AS stopping,
       coalesce(l.wanted_at > clock_timestamp() - interval '60 seconds', false) AS wanted,
       coalesce(l.wanted_at > coalesce(l.fresh_at, '-infinity'), false) AS stale
FROM attempt_logs l
JOIN attempts a ON a.job_id = l.job_id AND a.number = l.attempt
JOIN jobs j ON j.id = l.job_id
JOIN unnest($1::uuid[], $2::integer[]) AS k (job_id, attempt) ON k.job_id = l.job_id AND k.attempt = l.attempt
WHERE l.lease_token = $3 AND l.done_at IS NULL

-- name: renew
-- Extend leases that are still held.
WITH held AS MATERIALIZED (
    SELECT l.job_id, l.attempt FROM attempt_logs l
    JOIN unnest($1::uuid[], $2::integer[]) AS k (job_id, attempt) USING (job_id, attempt)
    WHERE l.lease_token = $3 AND l.done_at IS NULL
    ORDER BY l.job_id, l.attempt FOR UPDATE OF l
)
UPDATE attempt_logs l SET leased_until = clock_timestamp() + $4 * interval '1 second'
FROM held WHERE l.job_id = held.job_id AND l.attempt = held.attempt

-- name: release
-- Give leases back.
WITH held AS MATERIALIZED (
    SELECT l.job_id, l.attempt FROM attempt_logs l
    JOIN unnest($1::uuid[], $2::integer[]) AS k (job_id, attempt) USING (job_id, attempt)
    WHERE l.lease_token = $3
    ORDER BY l.job_id, l.attempt FOR UPDATE OF l
)
UPDATE attempt_logs l SET leased_until = clock_timestamp() + $4 * interval '1 second', lease_token = NULL
FROM held WHERE l.job_id = held.job_id AND l.attempt = held.attempt

-- name: stored
-- The stored chunks of a container; the data only of the last chunk, if it may grow.
SELECT {chunk_heads.names}, CASE WHEN NOT sealed THEN data END AS data
FROM log_chunks WHERE job_id = $1 AND attempt = $2 AND container = $3 ORDER BY seq

-- name: chunks_since
-- The chunks with lines that are not older than a stamp.
SELECT {chunks.names} FROM log_chunks
WHERE job_id = $1 AND attempt = $2 AND container = $3 AND last_stamp >= $4 AND mark = '' ORDER BY seq

-- name: hold
-- Lock and update those of these attempts whose lease is held. A status that ends the work gives the lease back.
WITH input AS MATERIALIZED (
    SELECT {log_writes.names} FROM unnest({log_writes.arrays}) AS i ({log_writes.names})
), held AS MATERIALIZED (
    SELECT l.job_id, l.attempt FROM attempt_logs l JOIN input USING (job_id, attempt)
    WHERE l.lease_token = $1 AND l.done_at IS NULL
    ORDER BY l.job_id, l.attempt FOR UPDATE OF l
)
UPDATE attempt_logs l
SET version = l.version + 1, status = coalesce(i.status, l.status),
    lost_reason = CASE WHEN i.status IS NOT NULL THEN i.lost_reason ELSE l.lost_reason END,
    done_at = CASE WHEN i.status IN ('stored', 'lost') THEN clock_timestamp() END,
    fresh_at = CASE WHEN i.fresh THEN clock_timestamp() ELSE l.fresh_at END
FROM held JOIN input i USING (job_id, attempt)
WHERE l.job_id = held.job_id AND l.attempt = held.attempt
RETURNING l.job_id, l.attempt

-- name: put_chunks
-- Store chunks, new or grown.
INSERT INTO log_chunks (job_id, attempt, {chunks.names})
SELECT job_id, attempt, {chunks.names}
FROM unnest($1::uuid[], $2::integer[], {chunks.arrays}) AS c (job_id, attempt, {chunks.names})
ON CONFLICT (job_id, attempt, container, seq) DO UPDATE SET {chunks.set:excluded}

-- name: drop_chunks
-- Remove chunks that the size limit leaves out.
DELETE FROM log_chunks c
USING unnest($1::uuid[], $2::integer[], $3::text[], $4::integer[]) AS d (job_id, attempt, container, seq)
WHERE c.job_id = d.job_id AND c.attempt = d.attempt AND c.container = d.container AND c.seq = d.seq

-- name: to_check
-- Jobs whose stop, or whose removal from the cluster, waited for what has just been stored.
SELECT DISTINCT a.job_id
FROM unnest($1::uuid[], $2::integer[], $3::boolean[]) AS k (job_id, attempt, done)
JOIN attempts a ON a.job_id = k.job_id AND a.number = k.attempt
JOIN jobs j ON j.id = k.job_id
WHERE a.delete_requested_at IS NULL AND a.gone_at IS NULL AND a.decided_at IS NOT NULL
  AND (j.state = 'stopping' OR (k.done AND a.decided_at <= clock_timestamp() - $4 * interval '1 second'))

-- name: log_state
-- The state of the log of an attempt.
SELECT version, status, lost_reason, removed_at, coalesce(fresh_at >= wanted_at, false) AS fresh
FROM attempt_logs WHERE job_id = $1 AND attempt = $2

-- name: want_log
-- Record that somebody reads a log that is not complete, and wake the collector.
WITH wanted AS (
    UPDATE attempt_logs SET wanted_at = clock_timestamp() WHERE job_id = $1 AND attempt = $2 AND done_at IS NULL
    RETURNING job_id
)
SELECT pg_notify('kjr_jobs', '') FROM wanted

-- name: containers
-- The containers of an attempt with stored chunks.
SELECT container, coalesce(max(first_line + lines - 1) FILTER (WHERE mark = ''), 0) AS lines,
       coalesce(max(first_byte + bytes) FILTER (WHERE mark = ''), 0) AS total_bytes
FROM log_chunks WHERE job_id = $1 AND attempt = $2 GROUP BY container ORDER BY container

-- name: chunk_of_line
-- The last chunk that begins at or before a line.
SELECT seq FROM log_chunks
WHERE job_id = $1 AND attempt = $2 AND container = $3 AND mark = '' AND first_line <= $4 AND lines > 0
ORDER BY seq DESC LIMIT 1

-- name: chunk_of_stamp
-- The first chunk with a line that is not older than a stamp.
SELECT seq FROM log_chunks
WHERE job_id = $1 AND attempt = $2 AND container = $3 AND mark = '' AND last_stamp >= $4
ORDER BY seq LIMIT 1

-- name: read_chunks
-- Chunks with their data.
SELECT {chunks.names} FROM log_chunks
WHERE job_id = $1 AND attempt = $2 AND container = $3 AND seq >= $4 ORDER BY seq LIMIT $5

-- name: log_versions
-- The versions of logs that somebody waits for.
SELECT l.job_id, l.attempt, l.version FROM attempt_logs l
JOIN unnest($1::uuid[], $2::integer[]) AS k (job_id, attempt) USING (job_id, attempt)

-- name: old_chunks
-- Remove chunks of jobs that ended long ago.
WITH old AS (
    SELECT c.job_id, c.attempt, c.container, c.seq
    FROM (SELECT j.id FROM jobs j
          WHERE j.finished_at < now() - $1 * interval '1 second' AND j.state IN ('succeeded', 'failed', 'cancelled')
            AND EXISTS (SELECT FROM log_chunks c WHERE c.job_id = j.id)
          ORDER BY j.finished_at LIMIT $2) j
    JOIN log_chunks c ON c.job_id = j.id
    LIMIT $2
)
DELETE FROM log_chunks c USING old
WHERE c.job_id = old.job_id AND c.attempt = old.attempt AND c.container = old.container AND c.seq = old.seq
RETURNING c.job_id, c.attempt, c.container, c.seq, c.mark

-- name: logs_to_expire
-- Logs that have been complete for long enough, the oldest first.
SELECT job_id, attempt FROM attempt_logs
WHERE done_at < now() - $1 * interval '1 second' AND done_at IS NOT NULL AND removed_at IS NULL
ORDER BY done_at LIMIT $2 FOR UPDATE SKIP LOCKED

-- name: expire_chunks
-- Remove chunks of logs, at most so many.
WITH old AS MATERIALIZED (
    SELECT c.job_id, c.attempt, c.container, c.seq
    FROM unnest($1::uuid[], $2::integer[]) AS k (job_id, attempt)
    JOIN log_chunks c ON c.job_id = k.job_id AND c.attempt = k.attempt
    LIMIT $3
)
DELETE FROM log_chunks c USING old
WHERE c.job_id = old.job_id AND c.attempt = old.attempt AND c.container = old.container AND c.seq = old.seq
RETURNING c.job_id, c.attempt, c.container, c.seq, c.mark

-- name: mark_expired
-- Record that logs were removed, for those that have no chunk left.
UPDATE attempt_logs l SET removed_at = now(), version = l.version + 1
FROM unnest($1::uuid[], $2::integer[]) AS k (job_id, attempt)
WHERE l.job_id = k.job_id AND l.attempt = k.attempt
  AND NOT EXISTS (SELECT FROM log_chunks c WHERE c.job_id = k.job_id AND c.attempt = k.attempt)

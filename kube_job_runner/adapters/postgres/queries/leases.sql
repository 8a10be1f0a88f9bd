-- name: acquire
-- Take a lease that was given back, has expired, or belongs to a connection that has ended. A lease that somebody holds is
-- only read, not locked.
WITH taken AS (
    UPDATE component_leases l
    SET holder = $2, epoch = l.epoch + 1, session = pg_backend_pid(), taken_at = clock_timestamp(),
        expires_at = clock_timestamp() + $3 * interval '1 second'
    WHERE l.component = $1
      AND (l.expires_at <= clock_timestamp() OR NOT EXISTS (SELECT FROM pg_stat_activity s WHERE s.pid = l.session))
    RETURNING l.epoch
), made AS (
    INSERT INTO component_leases (component, holder, session, expires_at)
    SELECT $1, $2, pg_backend_pid(), clock_timestamp() + $3 * interval '1 second'
    WHERE NOT EXISTS (SELECT FROM component_leases l WHERE l.component = $1)
    ON CONFLICT DO NOTHING
    RETURNING epoch
)
SELECT epoch FROM taken UNION ALL SELECT epoch FROM made

-- name: renew
-- Extend a lease that nobody else has taken. The connection may be a new one.
UPDATE component_leases SET session = pg_backend_pid(), expires_at = clock_timestamp() + $3 * interval '1 second'
WHERE component = $1 AND epoch = $2 RETURNING epoch

-- name: release
-- Give a lease back, so that another process can take it at once.
UPDATE component_leases SET expires_at = '-infinity' WHERE component = $1 AND epoch = $2

-- name: fence
-- The first statement of every transaction of a leader. It locks the lease until the end of the transaction: no write of the
-- former leader comes after the first read of the next one. A leader that stops in the middle is disconnected soon, so that
-- another can take over.
SELECT set_config('idle_in_transaction_session_timeout', '5s', true)
FROM component_leases WHERE component = $1 AND epoch = $2 FOR SHARE

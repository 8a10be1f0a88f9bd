-- name: acquire
-- Take a lease that was given back, has run out, or was taken on a connection that is gone. One that somebody holds is only
-- read, not locked.
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
-- Move the end of a lease that nobody else has taken; the connection may be another by now.
UPDATE component_leases SET session = pg_backend_pid(), expires_at = clock_timestamp() + $3 * interval '1 second'
WHERE component = $1 AND epoch = $2 RETURNING epoch

-- name: release
-- Give a lease back, for another to take at once.
UPDATE component_leases SET expires_at = '-infinity' WHERE component = $1 AND epoch = $2

-- name: fence
-- The first statement of every transaction of a leader: it holds the lease as it is until the end of the transaction, so
-- that no write of the one before comes after the first look of the next. A holder that is stopped in the middle is cut off
-- soon, or nobody could take over.
SELECT set_config('idle_in_transaction_session_timeout', '5s', true)
FROM component_leases WHERE component = $1 AND epoch = $2 FOR SHARE

-- name: now
-- The time of the database.
SELECT clock_timestamp() AS now

-- name: lacking
-- Those of these rights on these tables that our role lacks.
SELECT t.name AS table, r.name AS right FROM unnest($1::text[]) AS t (name) CROSS JOIN unnest($2::text[]) AS r (name)
WHERE to_regclass(t.name) IS NOT NULL AND NOT has_table_privilege(t.name, r.name)

-- name: backlog
-- The number of dead letters (counted up to a limit), and how long the oldest due message has waited.
SELECT (SELECT count(*) FROM (SELECT FROM dead_letters LIMIT 1000) d) AS dead,
       coalesce(extract(epoch FROM now() - min(available_at)), 0)::double precision AS oldest
FROM (SELECT available_at FROM messages WHERE available_at <= now() LIMIT 100000) m

-- name: durability
-- The settings that can lose what was committed. `reset_val` is the default of this session, before we changed it.
SELECT s.name, s.reset_val AS value, s.source, r.risk
FROM pg_settings s JOIN (VALUES
    ('fsync', 'a crash of the machine can destroy the database'),
    ('full_page_writes', 'a crash of the machine can destroy pages'),
    ('synchronous_commit', 'a crash of the server can lose commits of other programs; kube-job-runner sets it to on for itself')
) AS r (name, risk) ON r.name = s.name
WHERE s.reset_val = 'off'

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

-- name: create_table
-- Create the table of applied migrations.
CREATE TABLE IF NOT EXISTS schema_migrations (
    number     integer     NOT NULL PRIMARY KEY,
    name       text        NOT NULL,
    checksum   text        NOT NULL,
    compatible boolean     NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)

-- name: exists
-- Whether the schema was ever made.
SELECT to_regclass('schema_migrations') IS NOT NULL

-- name: may_migrate
-- Whether our role may change the schema: as the owner of the tables, or, without tables, as a role that may create them.
SELECT coalesce((SELECT pg_has_role(c.relowner, 'USAGE') FROM pg_class c WHERE c.oid = to_regclass('schema_migrations')),
                has_schema_privilege(current_schema(), 'CREATE'), false)

-- name: applied
-- The applied migrations, in order.
SELECT number, name, checksum, compatible FROM schema_migrations ORDER BY number

-- name: record
-- Record a migration as applied.
INSERT INTO schema_migrations (number, name, checksum, compatible) VALUES ($1, $2, $3, $4)

-- name: try_lock
-- Try to take the lock for changes of the schema.
SELECT pg_try_advisory_lock($1)

-- name: unlock
-- Release that lock.
SELECT pg_advisory_unlock($1)

-- name: own_timeouts
-- A migration takes as long as it needs, whatever the defaults of the server, the database or the role are. A parameter that this
-- server does not have is left out. Each transaction bounds its own waits for locks.
SELECT set_config(s.name, v.value, false)
FROM (VALUES ('statement_timeout', '0'), ('transaction_timeout', '0'), ('lock_timeout', '0'),
             ('idle_in_transaction_session_timeout', '60s')) AS v (name, value) JOIN pg_settings s ON s.name = v.name

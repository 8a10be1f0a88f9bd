-- compatible
-- What retention and least-privilege roles need: when a log was removed, with the index that finds the oldest logs still kept;
-- and a sweeper that keeps up the partitions of the history without owning a table.
SET lock_timeout = '20s';
ALTER TABLE attempt_logs ADD COLUMN IF NOT EXISTS removed_at timestamptz;
RESET lock_timeout;
DROP INDEX CONCURRENTLY IF EXISTS attempt_logs_kept;
CREATE INDEX CONCURRENTLY attempt_logs_kept ON attempt_logs (done_at) WHERE done_at IS NOT NULL AND removed_at IS NULL;
-- It makes and drops tables, so it runs with its owner's rights: names are looked up in our own schema only, by whoever calls it.
DO $$ BEGIN EXECUTE format('ALTER FUNCTION maintain_transition_partitions(integer) SECURITY DEFINER SET search_path = %I, pg_temp', current_schema()); END $$;
REVOKE EXECUTE ON FUNCTION maintain_transition_partitions(integer) FROM PUBLIC;

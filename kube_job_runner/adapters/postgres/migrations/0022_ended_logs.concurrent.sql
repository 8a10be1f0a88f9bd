-- compatible
-- What the log-collector may claim is found without a look at each live attempt. `ended_at` is when the attempt of an undone log
-- was decided, or its cluster job was gone. The processor writes it. The log-collector fills what others left out.
SET lock_timeout = '20s';
ALTER TABLE attempt_logs ADD COLUMN IF NOT EXISTS ended_at timestamptz;
RESET lock_timeout;
DROP INDEX CONCURRENTLY IF EXISTS attempt_logs_ended;
CREATE INDEX CONCURRENTLY attempt_logs_ended ON attempt_logs (ended_at) WHERE done_at IS NULL AND ended_at IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS attempt_logs_wanted;
CREATE INDEX CONCURRENTLY attempt_logs_wanted ON attempt_logs (wanted_at) WHERE done_at IS NULL AND wanted_at IS NOT NULL;

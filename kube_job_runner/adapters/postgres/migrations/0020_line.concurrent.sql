-- compatible
-- The line of all queues, in the order of admission.
DROP INDEX CONCURRENTLY IF EXISTS jobs_line;
CREATE INDEX CONCURRENTLY jobs_line ON jobs (priority DESC, due_at, id) INCLUDE (queue)
    WHERE state = 'queued' AND admitted_at IS NULL AND cancel_requested_at IS NULL;

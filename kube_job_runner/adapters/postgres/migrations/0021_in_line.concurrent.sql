-- compatible
-- The line of all queues, in the order of admission. It is ordered by the negative priority, so that only a statement that asks
-- for this very order uses it: the planner must not walk over the line of all queues to find the jobs of one.
DROP INDEX CONCURRENTLY IF EXISTS jobs_line;
DROP INDEX CONCURRENTLY IF EXISTS jobs_in_line;
CREATE INDEX CONCURRENTLY jobs_in_line ON jobs ((-priority), due_at, id) INCLUDE (queue)
    WHERE state = 'queued' AND admitted_at IS NULL AND cancel_requested_at IS NULL;

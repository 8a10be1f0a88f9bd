-- compatible
-- The lines of each namespace, in the order of admission: while a namespace is parked, its jobs are passed over.
DROP INDEX CONCURRENTLY IF EXISTS jobs_waiting_by_namespace;
CREATE INDEX CONCURRENTLY jobs_waiting_by_namespace ON jobs (namespace DESC, queue DESC, priority DESC, due_at, id)
    WHERE state = 'queued' AND admitted_at IS NULL AND cancel_requested_at IS NULL;

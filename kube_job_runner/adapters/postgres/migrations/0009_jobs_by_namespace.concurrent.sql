-- compatible
-- Jobs of one namespace, newest first.
DROP INDEX CONCURRENTLY IF EXISTS jobs_by_namespace;
CREATE INDEX CONCURRENTLY jobs_by_namespace ON jobs (namespace, id);

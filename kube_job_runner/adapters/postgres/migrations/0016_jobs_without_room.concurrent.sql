-- compatible
-- Jobs that wait for room in the cluster: their queues do not get the last slots.
DROP INDEX CONCURRENTLY IF EXISTS jobs_without_room;
CREATE INDEX CONCURRENTLY jobs_without_room ON jobs (queue) WHERE waiting_since IS NOT NULL;

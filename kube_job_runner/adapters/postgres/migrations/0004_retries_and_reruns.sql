-- What an attempt was given, which steps it passed and how hard it was deleted; a cancel's own grace; what a job runs again.
ALTER TABLE attempts ADD COLUMN memory text NOT NULL DEFAULT '', ADD COLUMN marks jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN delete_grace_seconds integer;
ALTER TABLE jobs ADD COLUMN cancel_grace_seconds integer, ADD COLUMN rerun_of uuid;
CREATE INDEX jobs_by_rerun ON jobs (rerun_of, id) WHERE rerun_of IS NOT NULL;

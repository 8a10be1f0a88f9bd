-- What an attempt was given and which steps it passed; a cancel's own grace; which job a job runs again.
ALTER TABLE attempts ADD COLUMN memory text NOT NULL DEFAULT '', ADD COLUMN marks jsonb NOT NULL DEFAULT '{}';
ALTER TABLE jobs ADD COLUMN cancel_grace_seconds integer, ADD COLUMN rerun_of uuid;
CREATE INDEX jobs_by_rerun ON jobs (rerun_of, id) WHERE rerun_of IS NOT NULL;

-- Jobs that failed for one reason, newest first.
CREATE INDEX jobs_by_reason ON jobs (reason, id) WHERE state = 'failed';

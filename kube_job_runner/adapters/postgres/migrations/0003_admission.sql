-- Admission: a queued job waits until the limits have room for it. Not compatible with older programs: their processors
-- create what was never admitted.
ALTER TABLE jobs ADD COLUMN admitted_at timestamptz;

-- What is in the cluster now was let in when it was created.
UPDATE jobs SET admitted_at = coalesce(started_at, created_at) WHERE state IN ('starting', 'running', 'stopping');

-- The line of each queue, in the order of admission. Queue and priority run down together, so that one comparison of both
-- skips to the next.
CREATE INDEX jobs_waiting ON jobs (queue DESC, priority DESC, due_at, id)
    WHERE state = 'queued' AND admitted_at IS NULL AND cancel_requested_at IS NULL;

-- What counts against the limits.
CREATE INDEX jobs_in_flight ON jobs (queue)
    WHERE admitted_at IS NOT NULL AND state IN ('queued', 'starting', 'running', 'stopping');

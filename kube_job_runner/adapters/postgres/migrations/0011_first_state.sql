-- compatible
-- How every job begins, so that the role that stores jobs needs no right to say so, and can say nothing else.
ALTER TABLE jobs ALTER COLUMN state SET DEFAULT 'queued';
ALTER TABLE jobs ALTER COLUMN version SET DEFAULT 1;
ALTER TABLE jobs ALTER COLUMN attempt SET DEFAULT 0;
ALTER TABLE transitions ALTER COLUMN to_state SET DEFAULT 'queued';
ALTER TABLE transitions ALTER COLUMN version SET DEFAULT 1;
ALTER TABLE transitions ALTER COLUMN attempt SET DEFAULT 0;

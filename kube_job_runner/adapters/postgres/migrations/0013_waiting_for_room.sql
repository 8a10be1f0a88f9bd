-- compatible
-- Since when the cluster job of an attempt waits for room, or is suspended.
ALTER TABLE jobs ADD COLUMN waiting_since timestamptz;

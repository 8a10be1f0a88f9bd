-- compatible
-- The trace that a job belongs to, as a W3C `traceparent`: that of the request that stored it. NULL: none.
ALTER TABLE jobs ADD COLUMN traceparent text;

-- compatible
-- Until when a processor may send a create of the job's next attempt whose outcome is not recorded. NULL: there is none. A
-- job that was cancelled ends only after it, so no create can follow the end.
ALTER TABLE jobs ADD COLUMN create_until timestamptz;

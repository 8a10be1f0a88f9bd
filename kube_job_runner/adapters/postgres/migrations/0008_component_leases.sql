-- compatible
-- Who leads: of each component of which only one works at a time, the process that does. `epoch` grows with every change of
-- hands and fences the writes of whoever led before; `session` is the connection that the holder renews on: when that is
-- gone, so is the holder, and nobody waits for the lease's end.
CREATE TABLE component_leases (
    component  text        NOT NULL,
    holder     text        NOT NULL,
    epoch      bigint      NOT NULL DEFAULT 1 CHECK (epoch > 0),
    session    integer     NOT NULL,
    taken_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    CONSTRAINT component_leases_pkey PRIMARY KEY (component)
) WITH (fillfactor = 50);

-- compatible
-- Namespaces in which the cluster refuses every new Job for now, one row each.
CREATE TABLE parked_namespaces (
    namespace   text        NOT NULL,
    since       timestamptz NOT NULL,
    probe_at    timestamptz NOT NULL,
    tries       integer     NOT NULL,
    allowance   integer     NOT NULL CHECK (allowance > 0),
    reason      text        NOT NULL,
    explanation text        NOT NULL,
    CONSTRAINT parked_namespaces_pkey PRIMARY KEY (namespace)
);

-- compatible
-- The cluster that this database belongs to, as its components found it at their first contact. A component adds a row, and
-- only `kjr rebind` replaces them. `evidence` names the object in the cluster that `uid` belongs to.
CREATE TABLE cluster_identity (
    kind     text        NOT NULL,
    evidence text        NOT NULL,
    uid      text        NOT NULL,
    place    text        NOT NULL DEFAULT '',
    found_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT cluster_identity_pkey PRIMARY KEY (kind, evidence)
);

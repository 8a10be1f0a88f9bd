-- compatible
-- Who we are: one id, drawn once for this database. Every object in the cluster carries it, so that the sweep for orphans
-- takes only what was made for this very database, and never what belongs to another installation of the same name.
CREATE TABLE installation (
    id       uuid    NOT NULL DEFAULT gen_random_uuid(),
    only_one boolean NOT NULL DEFAULT true CHECK (only_one),
    CONSTRAINT installation_pkey PRIMARY KEY (only_one)
);

INSERT INTO installation DEFAULT VALUES;

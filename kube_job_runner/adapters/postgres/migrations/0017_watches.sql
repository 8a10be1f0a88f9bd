-- compatible
-- Until when everything is known of one kind in one namespace ('*': in all), and when nobody watched: the newest dark times, as
-- pairs of seconds since 1970. One small row per watch, written every few seconds by its watcher, read once a batch.
CREATE TABLE watches (
    kind        text        NOT NULL,
    namespace   text        NOT NULL,
    known_until timestamptz NOT NULL,
    reported_at timestamptz NOT NULL,
    broken      boolean     NOT NULL DEFAULT false,
    dark        jsonb       NOT NULL DEFAULT '[]',
    CONSTRAINT watches_pkey PRIMARY KEY (kind, namespace)
) WITH (fillfactor = 50);

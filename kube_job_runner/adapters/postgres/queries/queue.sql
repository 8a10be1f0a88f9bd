-- A marker in braces stands for a list of columns or parameters; see `columns.expand`.

-- name: send
-- Put messages on the queue, with hints on the given channels.
WITH sent AS (
    INSERT INTO messages (available_at, priority, body)
    SELECT now() + m.delay_seconds * interval '1 second', m.priority, m.body
    FROM unnest({messages.arrays}) AS m ({messages.names})
)
SELECT pg_notify(channel, '') FROM unnest($1::text[]) AS n (channel)

-- name: receive
-- Lease messages: hide them until the end of the lease, and mark them with its token. A message that has a token already comes
-- from a receiver that said nothing about it. Each priority is read separately, so
-- that many hidden or delayed messages of a high priority are not scanned to reach a low one.
WITH RECURSIVE levels AS (
    (SELECT priority FROM messages ORDER BY priority DESC LIMIT 1)
    UNION ALL
    SELECT (SELECT m.priority FROM messages m WHERE m.priority < l.priority ORDER BY m.priority DESC LIMIT 1)
    FROM levels l WHERE l.priority IS NOT NULL
), picked AS MATERIALIZED (
    SELECT due.id, due.unfinished FROM levels CROSS JOIN LATERAL (
        SELECT m.id, m.lease_token IS NOT NULL AS unfinished FROM messages m
        WHERE m.priority = levels.priority AND m.available_at <= now()
        ORDER BY m.available_at, m.id LIMIT $1 FOR UPDATE SKIP LOCKED
    ) AS due
    LIMIT $1
)
UPDATE messages m
SET available_at = now() + $2 * interval '1 second', lease_token = $3, deliveries = m.deliveries + 1
FROM picked WHERE m.id = picked.id
RETURNING m.id, m.body, m.deliveries, picked.unfinished

-- name: ack
-- Remove messages whose lease is still the given one.
DELETE FROM messages m USING unnest($1::bigint[], $2::uuid[]) AS a (id, token)
WHERE m.id = a.id AND m.lease_token = a.token

-- name: extend
-- Move the end of leases that are still the given ones. Zero seconds gives the messages back.
WITH held AS (
    SELECT m.id FROM messages m JOIN unnest($1::bigint[], $2::uuid[]) AS a (id, token)
        ON m.id = a.id AND m.lease_token = a.token
    ORDER BY m.id FOR UPDATE OF m
), moved AS (
    UPDATE messages m SET available_at = now() + $3 * interval '1 second' FROM held WHERE m.id = held.id
)
SELECT pg_notify(channel, '') FROM unnest($4::text[]) AS n (channel)

-- name: give_back
-- Let messages whose lease is still the given one come back after a delay. A delivery that is not counted leaves the message as
-- it was before: with its count, and with a token if it was unfinished.
WITH held AS (
    SELECT m.id, a.unfinished FROM messages m
    JOIN unnest($1::bigint[], $2::uuid[], $3::boolean[]) AS a (id, token, unfinished)
        ON m.id = a.id AND m.lease_token = a.token
    ORDER BY m.id FOR UPDATE OF m
), moved AS (
    UPDATE messages m
    SET available_at = now() + $4 * interval '1 second',
        deliveries = CASE WHEN $5 THEN m.deliveries ELSE m.deliveries - 1 END,
        lease_token = CASE WHEN held.unfinished AND NOT $5 THEN gen_random_uuid() END
    FROM held WHERE m.id = held.id
)
SELECT pg_notify(channel, '') FROM unnest($6::text[]) AS n (channel)

-- name: undo_receives
-- Undo leases whose receiver never got the answer: it knows their tokens only. This reads the whole queue, and is rare.
UPDATE messages SET available_at = now(), deliveries = deliveries - 1, lease_token = NULL WHERE lease_token = ANY($1::uuid[])

-- name: dead_letter
-- Move messages to the dead letters, with their error.
WITH dead AS (
    DELETE FROM messages m USING unnest($1::bigint[], $2::uuid[]) AS a (id, token)
    WHERE m.id = a.id AND m.lease_token = a.token
    RETURNING m.id, m.sent_at, m.deliveries, m.priority, m.body
)
INSERT INTO dead_letters (message_id, sent_at, deliveries, priority, body, error)
SELECT id, sent_at, deliveries, priority, body, $3 FROM dead

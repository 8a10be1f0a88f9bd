-- name: send
-- Put messages on the queue.
WITH sent AS (
    INSERT INTO messages (available_at, priority, body)
    SELECT now() + m.delay_seconds * interval '1 second', m.priority, m.body
    FROM unnest($1::double precision[], $2::smallint[], $3::bytea[]) AS m (delay_seconds, priority, body)
)
SELECT pg_notify('kjr_messages', '')

-- name: receive
-- Lease messages: hide them until the lease's end, and mark them with its token.
WITH picked AS (
    SELECT id FROM messages WHERE available_at <= now()
    ORDER BY priority DESC, available_at, id LIMIT $1 FOR UPDATE SKIP LOCKED
)
UPDATE messages m
SET available_at = now() + $2 * interval '1 second', lease_token = $3, deliveries = m.deliveries + 1
FROM picked WHERE m.id = picked.id
RETURNING m.id, m.body, m.deliveries

-- name: ack
-- Remove messages whose lease is still the one given.
DELETE FROM messages m USING unnest($1::bigint[], $2::uuid[]) AS a (id, token)
WHERE m.id = a.id AND m.lease_token = a.token

-- name: extend
-- Move the end of leases that are still the ones given; zero seconds gives the messages back.
WITH moved AS (
    UPDATE messages m SET available_at = now() + $3 * interval '1 second'
    FROM (SELECT m2.id FROM messages m2 JOIN unnest($1::bigint[], $2::uuid[]) AS a (id, token)
          ON m2.id = a.id AND m2.lease_token = a.token ORDER BY m2.id FOR UPDATE OF m2) held
    WHERE m.id = held.id RETURNING m.id
)
SELECT CASE WHEN $3 = 0 AND count(*) > 0 THEN pg_notify('kjr_messages', '')::text END FROM moved

-- name: dead_letter
-- Take messages out of circulation, with their error.
WITH dead AS (
    DELETE FROM messages m USING unnest($1::bigint[], $2::uuid[]) AS a (id, token)
    WHERE m.id = a.id AND m.lease_token = a.token RETURNING m.*
)
INSERT INTO dead_letters (message_id, sent_at, deliveries, priority, body, error)
SELECT id, sent_at, deliveries, priority, body, $3 FROM dead

-- Statements of SqliteEventQueue.

-- name: put
INSERT INTO events (target, due, document, payload) VALUES (?, ?, ?, ?);

-- name: due
-- Only the index is walked over those that are taken.
SELECT sequence, due, document, payload FROM events WHERE sequence IN (
    SELECT sequence FROM events INDEXED BY events_due
    WHERE target = ? AND due <= ?
    AND NOT EXISTS (SELECT 1 FROM taken WHERE taken.sequence = events.sequence)
    ORDER BY due, sequence LIMIT ?
) ORDER BY due, sequence;

-- name: next_due
SELECT due FROM events INDEXED BY events_due
WHERE target = ? AND NOT EXISTS (SELECT 1 FROM taken WHERE taken.sequence = events.sequence)
ORDER BY due, sequence LIMIT 1;

-- name: mark
INSERT INTO taken (sequence) SELECT value FROM json_each(?);

-- name: unmark
DELETE FROM taken WHERE sequence IN (SELECT value FROM json_each(?));

-- name: release
UPDATE events SET due = ?, document = ? WHERE sequence = ?;

-- name: delete
DELETE FROM events WHERE sequence IN (SELECT value FROM json_each(?));

-- name: marked
SELECT sequence, document FROM events WHERE sequence IN (SELECT sequence FROM taken);

-- name: note
UPDATE events SET document = ? WHERE sequence = ?;

-- name: unmark_all
DELETE FROM taken;

-- name: count
SELECT count(*) FROM events;

-- name: backlogs
SELECT target, count(*), min(due) FROM events GROUP BY target;

-- name: summary
SELECT target, total, running, (SELECT json_extract(document, '$.accepted_at') FROM events WHERE sequence = oldest)
FROM (
    SELECT target, count(*) AS total, count(taken.sequence) AS running, min(events.sequence) AS oldest
    FROM events INDEXED BY events_due LEFT JOIN taken USING (sequence)
    WHERE substr(target, 1, length(?1)) = ?1 GROUP BY target
);

-- name: queued
SELECT events.sequence, target, due, document, length(payload), taken.sequence IS NOT NULL
FROM events LEFT JOIN taken USING (sequence)
WHERE events.sequence > ? AND substr(target, 1, length(?2)) = ?2
ORDER BY events.sequence LIMIT ?;

-- name: queued_by_id
SELECT events.sequence, target, document, payload FROM events LEFT JOIN taken USING (sequence)
WHERE substr(target, 1, length(?1)) = ?1 AND json_extract(document, '$.request_id') = ? AND taken.sequence IS NULL;

-- name: cancel
DELETE FROM events WHERE sequence = ?1 AND NOT EXISTS (SELECT 1 FROM taken WHERE sequence = ?1);

-- name: bury
INSERT INTO dead_letters (request_id, account, region, name, at, destination, document, payload, response)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: dead_letters
-- The first one, and those behind it as long as all of them together stay small.
SELECT sequence, document, payload, response FROM dead_letters WHERE sequence IN (
    SELECT sequence FROM (
        SELECT sequence, sum(size) OVER (ORDER BY sequence) AS total, size FROM (
            SELECT sequence, length(payload) + length(document) + ifnull(length(response), 0) AS size
            FROM dead_letters
            WHERE account = ?1 AND region = ?2 AND (?3 IS NULL OR name = ?3) AND sequence > ?4
            ORDER BY sequence LIMIT ?5
        )
    ) WHERE total - size < ?6
) ORDER BY sequence;

-- name: dead_letter
SELECT sequence, document, payload, response FROM dead_letters
WHERE account = ? AND region = ? AND request_id = ?
ORDER BY sequence DESC LIMIT 1;

-- name: forget
DELETE FROM dead_letters WHERE sequence = ?;

-- name: destinations
SELECT DISTINCT destination, account, region, name FROM dead_letters WHERE destination IS NOT NULL;

-- name: undelivered
-- The same.
SELECT sequence, document, payload, response FROM dead_letters WHERE sequence IN (
    SELECT sequence FROM (
        SELECT sequence, sum(size) OVER (ORDER BY sequence) AS total, size FROM (
            SELECT sequence, length(payload) + length(document) + ifnull(length(response), 0) AS size
            FROM dead_letters
            WHERE destination = ?1 AND sequence > ?2
            AND (?3 IS NULL OR (account, region, name) = (?3, ?4, ?5))
            ORDER BY sequence LIMIT ?6
        )
    ) WHERE total - size < ?7
) ORDER BY sequence;

-- name: delivered
DELETE FROM dead_letters WHERE sequence IN (SELECT value FROM json_each(?));

-- name: undeliverable
UPDATE dead_letters
SET destination = NULL, document = json_set(document, '$.state', 'dead', '$.delivery_error', ?)
WHERE sequence = ?;

-- name: purged
SELECT request_id FROM dead_letters
WHERE account = ? AND region = ? AND (?3 IS NULL OR name = ?3) ORDER BY sequence;

-- name: purge
DELETE FROM dead_letters WHERE account = ? AND region = ? AND (?3 IS NULL OR name = ?3);

-- name: expire
DELETE FROM dead_letters WHERE at < ?;

-- Statements of SqliteIdentityStore.

-- name: all
SELECT kind, document, sealed FROM identities;

-- name: create
-- Changes no row when the name is taken.
INSERT INTO identities (account, kind, name, document, access_key_id, sealed)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING;

-- name: load
SELECT kind, document, sealed FROM identities
WHERE account = ? AND kind = ? AND name = ?;

-- name: replace
UPDATE identities
SET document = ?, access_key_id = ?, sealed = ?
WHERE account = ? AND kind = ? AND name = ?;

-- name: delete
DELETE FROM identities
WHERE account = ? AND kind = ? AND name = ?;

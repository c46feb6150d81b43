-- Statements of SqliteFunctionStore. Names are compared by bytes (SQLite's default
-- collation), which is the order of ListFunctions.

-- name: create
-- Changes no row when the key is taken.
INSERT INTO functions (account, region, name, revision_id, settled, code_bytes, document)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING;

-- name: load
SELECT document FROM functions
WHERE account = ? AND region = ? AND name = ?;

-- name: replace
-- Compare-and-set: changes no row when another revision is stored, or none.
UPDATE functions
SET revision_id = ?, settled = ?, code_bytes = ?, document = ?
WHERE account = ? AND region = ? AND name = ? AND revision_id = ?;

-- name: delete
DELETE FROM functions
WHERE account = ? AND region = ? AND name = ?;

-- name: page
SELECT document FROM functions
WHERE account = ? AND region = ? AND name > ?
ORDER BY name LIMIT ?;

-- name: usage
SELECT count(*), coalesce(sum(code_bytes), 0) FROM functions
WHERE account = ? AND region = ?;

-- name: unsettled
SELECT document FROM functions WHERE settled = 0;

-- name: elsewhere
SELECT account, region, name FROM functions
WHERE name = ? ORDER BY account, region LIMIT 10;

-- name: package_hashes
-- Both documents of a head count: the old one may still be running.
SELECT json_extract(document, '$.latest.code.sha256') FROM functions
UNION
SELECT json_extract(document, '$.serving.code.sha256') FROM functions
WHERE json_extract(document, '$.serving') IS NOT NULL;

-- Statements of SqliteFunctionStore. Names are compared by bytes (SQLite's default
-- collation), which is the order of ListFunctions.

-- name: create
-- Changes no row when the key is taken.
INSERT INTO functions (
    account, region, name, number, revision_id, settled, code_bytes, reserved, document, sealed
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING;

-- name: load
SELECT document, sealed FROM functions
WHERE account = ? AND region = ? AND name = ? AND number = ?;

-- name: replace
-- Compare-and-set: changes no row when another revision is stored, or none.
UPDATE functions
SET revision_id = ?, settled = ?, code_bytes = ?, reserved = ?, document = ?, sealed = ?
WHERE account = ? AND region = ? AND name = ? AND number = ? AND revision_id = ?;

-- name: delete
DELETE FROM functions
WHERE account = ? AND region = ? AND name = ?;

-- name: delete_version
DELETE FROM functions
WHERE account = ? AND region = ? AND name = ? AND number = ?;

-- name: page
SELECT document, sealed FROM functions
WHERE account = ? AND region = ? AND number = 0 AND name > ?
ORDER BY name LIMIT ?;

-- name: page_all
SELECT document, sealed FROM functions
WHERE account = ? AND region = ? AND (name, number) > (?, ?)
ORDER BY name, number LIMIT ?;

-- name: versions
SELECT document, sealed FROM functions
WHERE account = ? AND region = ? AND name = ? AND number > ?
ORDER BY number LIMIT ?;

-- name: usage
SELECT functions, code_bytes, reserved FROM usage
WHERE account = ? AND region = ?;

-- name: reserved
SELECT document, sealed FROM functions WHERE reserved IS NOT NULL;

-- name: unsettled
SELECT document, sealed FROM functions WHERE settled = 0;

-- name: elsewhere
SELECT account, region, name FROM functions
WHERE name = ? AND number = 0 ORDER BY account, region LIMIT 10;

-- name: package_hashes
-- Both documents of a head count: the old one may still be running.
SELECT json_extract(document, '$.latest.code.sha256') FROM functions
UNION
SELECT json_extract(document, '$.serving.code.sha256') FROM functions
WHERE json_extract(document, '$.serving') IS NOT NULL;

-- name: exists
SELECT 1 FROM functions
WHERE account = ? AND region = ? AND name = ? AND number = ?;

-- name: create_alias
-- Changes no row when the name is taken.
INSERT INTO aliases (account, region, name, alias, revision_id, number, other_number, document)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING;

-- name: load_alias
SELECT document FROM aliases
WHERE account = ? AND region = ? AND name = ? AND alias = ?;

-- name: replace_alias
-- Compare-and-set, as above.
UPDATE aliases
SET revision_id = ?, number = ?, other_number = ?, document = ?
WHERE account = ? AND region = ? AND name = ? AND alias = ? AND revision_id = ?;

-- name: delete_alias
DELETE FROM aliases
WHERE account = ? AND region = ? AND name = ? AND alias = ?;

-- name: delete_aliases
DELETE FROM aliases
WHERE account = ? AND region = ? AND name = ?;

-- name: aliases
SELECT document FROM aliases
WHERE account = ? AND region = ? AND name = ? AND alias > ?
ORDER BY alias LIMIT ?;

-- name: aliases_of_version
SELECT document FROM aliases
WHERE account = ? AND region = ? AND name = ? AND (number = ? OR other_number = ?) AND alias > ?
ORDER BY alias LIMIT ?;

-- name: references
SELECT alias FROM aliases
WHERE account = ? AND region = ? AND name = ? AND (number = ? OR other_number = ?)
ORDER BY alias;

-- name: put_event_config
INSERT INTO event_configs (account, region, name, qualifier, document)
VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET document = excluded.document;

-- name: load_event_config
SELECT document FROM event_configs
WHERE account = ? AND region = ? AND name = ? AND qualifier = ?;

-- name: delete_event_config
DELETE FROM event_configs
WHERE account = ? AND region = ? AND name = ? AND qualifier = ?;

-- name: event_configs
SELECT document FROM event_configs
WHERE account = ? AND region = ? AND name = ? AND qualifier > ?
ORDER BY qualifier LIMIT ?;

-- name: put_provisioned
INSERT INTO provisioned (account, region, name, qualifier, requested, document)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET requested = excluded.requested, document = excluded.document;

-- name: load_provisioned
SELECT document FROM provisioned
WHERE account = ? AND region = ? AND name = ? AND qualifier = ?;

-- name: delete_provisioned
DELETE FROM provisioned
WHERE account = ? AND region = ? AND name = ? AND qualifier = ?;

-- name: provisioned
SELECT document FROM provisioned
WHERE account = ? AND region = ? AND name = ? AND qualifier > ?
ORDER BY qualifier LIMIT ?;

-- name: with_provisioned
SELECT DISTINCT account, region, name FROM provisioned;

-- name: provisioned_versions
-- Each with the version that it is for at the moment.
SELECT provisioned.document, coalesce(aliases.number, CAST(provisioned.qualifier AS INTEGER))
FROM provisioned LEFT JOIN aliases ON aliases.account = provisioned.account
    AND aliases.region = provisioned.region AND aliases.name = provisioned.name
    AND aliases.alias = provisioned.qualifier
WHERE provisioned.account = ? AND provisioned.region = ? AND provisioned.name = ?;

-- name: total_provisioned
SELECT coalesce(sum(requested), 0) FROM provisioned
WHERE account = ? AND region = ? AND name = ?;

-- name: total_unreserved_provisioned
SELECT coalesce(sum(requested), 0) FROM provisioned JOIN functions USING (account, region, name)
WHERE account = ? AND region = ? AND number = 0 AND reserved IS NULL;

-- name: reserved_of
SELECT reserved FROM functions
WHERE account = ? AND region = ? AND name = ? AND number = 0;

-- name: create_policy
-- Changes no row when there is one.
INSERT INTO policies (account, region, name, qualifier, revision_id, document)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING;

-- name: load_policy
SELECT document, revision_id FROM policies
WHERE account = ? AND region = ? AND name = ? AND qualifier = ?;

-- name: replace_policy
-- Compare-and-set, as above.
UPDATE policies
SET revision_id = ?, document = ?
WHERE account = ? AND region = ? AND name = ? AND qualifier = ? AND revision_id = ?;

-- name: delete_policy
-- The same.
DELETE FROM policies
WHERE account = ? AND region = ? AND name = ? AND qualifier = ? AND revision_id = ?;

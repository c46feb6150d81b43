-- Users and roles: one row each. The document is the identity as JSON, without its secret.
CREATE TABLE identities (
    account       TEXT NOT NULL,
    -- user or role.
    kind          TEXT NOT NULL,
    name          TEXT NOT NULL,
    document      TEXT NOT NULL,
    -- Of users alone: their key, and its secret, sealed (storage/stored_identities.py).
    access_key_id TEXT UNIQUE,
    sealed        BLOB,
    PRIMARY KEY (account, kind, name)
);

-- As on AWS, no two differ in case alone.
CREATE UNIQUE INDEX identities_name ON identities (account, kind, name COLLATE NOCASE);

-- Published versions beside $LATEST, and aliases.
CREATE TABLE heads (
    account     TEXT    NOT NULL,
    region      TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    -- 0 for $LATEST, else the published version's number.
    number      INTEGER NOT NULL,
    revision_id TEXT    NOT NULL,
    -- 0 while an activation or an update is under way.
    settled     INTEGER NOT NULL,
    -- Size of the package that the head shows.
    code_bytes  INTEGER NOT NULL,
    document    TEXT    NOT NULL,
    PRIMARY KEY (account, region, name, number)
);

INSERT INTO heads (account, region, name, number, revision_id, settled, code_bytes, document)
SELECT account, region, name, 0, revision_id, settled, code_bytes, document FROM functions;

DROP TABLE functions;
ALTER TABLE heads RENAME TO functions;

-- However many versions there are, $LATEST is found without walking over them.
CREATE UNIQUE INDEX functions_latest ON functions (account, region, name) WHERE number = 0;
CREATE INDEX functions_name ON functions (name) WHERE number = 0;
CREATE INDEX functions_unsettled ON functions (settled) WHERE settled = 0;

-- What an account has stored, kept up by every write: it is asked for at each upload.
CREATE TABLE usage (
    account    TEXT    NOT NULL,
    region     TEXT    NOT NULL,
    functions  INTEGER NOT NULL,
    code_bytes INTEGER NOT NULL,
    PRIMARY KEY (account, region)
);

INSERT INTO usage SELECT account, region, count(*), sum(code_bytes) FROM functions GROUP BY account, region;

CREATE TRIGGER functions_inserted AFTER INSERT ON functions BEGIN
    INSERT INTO usage VALUES (NEW.account, NEW.region, NEW.number = 0, NEW.code_bytes)
    ON CONFLICT DO UPDATE SET
        functions = functions + excluded.functions, code_bytes = code_bytes + excluded.code_bytes;
END;

CREATE TRIGGER functions_updated AFTER UPDATE OF code_bytes ON functions BEGIN
    UPDATE usage SET code_bytes = code_bytes + NEW.code_bytes - OLD.code_bytes
    WHERE account = NEW.account AND region = NEW.region;
END;

CREATE TRIGGER functions_deleted AFTER DELETE ON functions BEGIN
    UPDATE usage SET functions = functions - (OLD.number = 0), code_bytes = code_bytes - OLD.code_bytes
    WHERE account = OLD.account AND region = OLD.region;
END;

CREATE TABLE aliases (
    account      TEXT    NOT NULL,
    region       TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    alias        TEXT    NOT NULL,
    revision_id  TEXT    NOT NULL,
    -- The numbers of the versions that it points to, derived from the document.
    number       INTEGER NOT NULL,
    other_number INTEGER,
    document     TEXT    NOT NULL,
    PRIMARY KEY (account, region, name, alias)
);

CREATE INDEX aliases_number ON aliases (account, region, name, number);
CREATE INDEX aliases_other_number ON aliases (account, region, name, other_number)
WHERE other_number IS NOT NULL;

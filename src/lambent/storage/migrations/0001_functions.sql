-- Function heads. The document is the head as JSON; the columns beside it are what
-- statements search by, each derived from the document when it is written.
CREATE TABLE functions (
    account     TEXT    NOT NULL,
    region      TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    revision_id TEXT    NOT NULL,
    -- 0 while an activation or an update is under way.
    settled     INTEGER NOT NULL,
    -- Size of the package that $LATEST shows.
    code_bytes  INTEGER NOT NULL,
    document    TEXT    NOT NULL,
    PRIMARY KEY (account, region, name)
);

CREATE INDEX functions_unsettled ON functions (settled) WHERE settled = 0;
CREATE INDEX functions_usage ON functions (account, region, code_bytes);
CREATE INDEX functions_name ON functions (name);

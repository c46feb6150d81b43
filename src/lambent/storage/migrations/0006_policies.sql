-- Resource policies: one row for each function, version or alias that has one.
CREATE TABLE policies (
    account     TEXT NOT NULL,
    region      TEXT NOT NULL,
    name        TEXT NOT NULL,
    -- A version's number or an alias's name; empty for the function itself.
    qualifier   TEXT NOT NULL,
    revision_id TEXT NOT NULL,
    document    TEXT NOT NULL,
    PRIMARY KEY (account, region, name, qualifier)
);

-- It goes with what it belongs to, however that is deleted.
CREATE TRIGGER functions_deleted_policies AFTER DELETE ON functions BEGIN
    DELETE FROM policies
    WHERE account = OLD.account AND region = OLD.region AND name = OLD.name
        AND qualifier = CASE OLD.number WHEN 0 THEN '' ELSE CAST(OLD.number AS TEXT) END;
END;

CREATE TRIGGER aliases_deleted_policies AFTER DELETE ON aliases BEGIN
    DELETE FROM policies
    WHERE account = OLD.account AND region = OLD.region AND name = OLD.name AND qualifier = OLD.alias;
END;

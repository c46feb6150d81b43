-- Provisioned concurrency of versions and aliases.
CREATE TABLE provisioned (
    account   TEXT    NOT NULL,
    region    TEXT    NOT NULL,
    name      TEXT    NOT NULL,
    -- A version's number, or an alias, which is never a number.
    qualifier TEXT    NOT NULL,
    -- Environments, a member of the document.
    requested INTEGER NOT NULL,
    document  TEXT    NOT NULL,
    PRIMARY KEY (account, region, name, qualifier)
);

-- It goes with what it belongs to, however that is deleted.
CREATE TRIGGER functions_deleted_provisioned AFTER DELETE ON functions BEGIN
    DELETE FROM provisioned
    WHERE account = OLD.account AND region = OLD.region AND name = OLD.name
        AND qualifier = CAST(OLD.number AS TEXT);
END;

CREATE TRIGGER aliases_deleted_provisioned AFTER DELETE ON aliases BEGIN
    DELETE FROM provisioned
    WHERE account = OLD.account AND region = OLD.region AND name = OLD.name AND qualifier = OLD.alias;
END;

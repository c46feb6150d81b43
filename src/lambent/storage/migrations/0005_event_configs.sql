-- How events of a function, version or alias are tried: one row each, where any was set.
CREATE TABLE event_configs (
    account   TEXT NOT NULL,
    region    TEXT NOT NULL,
    name      TEXT NOT NULL,
    -- $LATEST, a version's number or an alias's name.
    qualifier TEXT NOT NULL,
    document  TEXT NOT NULL,
    PRIMARY KEY (account, region, name, qualifier)
);

-- It goes with what it belongs to, however that is deleted.
CREATE TRIGGER functions_deleted_event_configs AFTER DELETE ON functions BEGIN
    DELETE FROM event_configs
    WHERE account = OLD.account AND region = OLD.region AND name = OLD.name
        AND qualifier = CASE OLD.number WHEN 0 THEN '$LATEST' ELSE CAST(OLD.number AS TEXT) END;
END;

CREATE TRIGGER aliases_deleted_event_configs AFTER DELETE ON aliases BEGIN
    DELETE FROM event_configs
    WHERE account = OLD.account AND region = OLD.region AND name = OLD.name AND qualifier = OLD.alias;
END;

-- Reserved concurrency, a member of the document of $LATEST; NULL where none is reserved.
ALTER TABLE functions ADD COLUMN reserved INTEGER;
CREATE INDEX functions_reserved ON functions (account, region) WHERE reserved IS NOT NULL;

-- The sum of it joins what is kept up for each account.
ALTER TABLE usage ADD COLUMN reserved INTEGER NOT NULL DEFAULT 0;

DROP TRIGGER functions_inserted;
DROP TRIGGER functions_updated;
DROP TRIGGER functions_deleted;

CREATE TRIGGER functions_inserted AFTER INSERT ON functions BEGIN
    INSERT INTO usage
    VALUES (NEW.account, NEW.region, NEW.number = 0, NEW.code_bytes, coalesce(NEW.reserved, 0))
    ON CONFLICT DO UPDATE SET
        functions = functions + excluded.functions,
        code_bytes = code_bytes + excluded.code_bytes,
        reserved = reserved + excluded.reserved;
END;

CREATE TRIGGER functions_updated AFTER UPDATE OF code_bytes, reserved ON functions BEGIN
    UPDATE usage SET
        code_bytes = code_bytes + NEW.code_bytes - OLD.code_bytes,
        reserved = reserved + coalesce(NEW.reserved, 0) - coalesce(OLD.reserved, 0)
    WHERE account = NEW.account AND region = NEW.region;
END;

CREATE TRIGGER functions_deleted AFTER DELETE ON functions BEGIN
    UPDATE usage SET
        functions = functions - (OLD.number = 0),
        code_bytes = code_bytes - OLD.code_bytes,
        reserved = reserved - coalesce(OLD.reserved, 0)
    WHERE account = OLD.account AND region = OLD.region;
END;

-- Accepted events that have not come to their end. A row changes only when its event is to
-- be tried again: large payloads are not written twice.
CREATE TABLE events (
    -- In the order of acceptance.
    sequence INTEGER PRIMARY KEY,
    -- Account, region, function and qualifier, each on a line of its own.
    target   TEXT NOT NULL,
    -- Seconds since the epoch.
    due      REAL NOT NULL,
    document TEXT NOT NULL,
    payload  BLOB NOT NULL
);

CREATE INDEX events_due ON events (target, due, sequence);

-- Those that run at the moment: after a crash they are taken again, and that is counted.
CREATE TABLE taken (
    sequence INTEGER PRIMARY KEY
);

CREATE TABLE dead_letters (
    -- Never given twice: who holds the number of one that is gone must not meet another.
    sequence   INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id TEXT NOT NULL,
    account    TEXT NOT NULL,
    region     TEXT NOT NULL,
    name       TEXT NOT NULL,
    at         REAL NOT NULL,
    document   TEXT NOT NULL,
    payload    BLOB NOT NULL
);

CREATE INDEX dead_letters_function ON dead_letters (account, region, name, sequence);
CREATE INDEX dead_letters_request ON dead_letters (request_id);
CREATE INDEX dead_letters_at ON dead_letters (at);

-- What is sealed of a head (storage/stored_heads.py); NULL where it has nothing of that kind.
ALTER TABLE functions ADD COLUMN sealed BLOB;

-- How far storage/sealed_columns.py has come: one row, or none while values may lie in documents.
CREATE TABLE sealing (
    -- Names the key with which all that is sealed here is sealed.
    key_id BLOB    NOT NULL,
    -- 0 while what was there before may still stand in free pages or in the log.
    wiped  INTEGER NOT NULL
);

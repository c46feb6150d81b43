-- What the function answered, as JSON: it may be long, and is copied and not read. Letters of older
-- servers have it in their document.
ALTER TABLE dead_letters ADD COLUMN response BLOB;

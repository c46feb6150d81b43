-- Where a letter is to be sent, a member of its document; NULL once nothing is sent any more.
ALTER TABLE dead_letters ADD COLUMN destination TEXT;

UPDATE dead_letters SET destination = json_extract(document, '$.destination')
WHERE json_extract(document, '$.state') = 'undelivered';

CREATE INDEX dead_letters_destination ON dead_letters (destination, sequence) WHERE destination IS NOT NULL;

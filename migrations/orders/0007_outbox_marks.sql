-- How far a bucket is done with: what lies at or below this id was settled, and no transaction in progress can still bring a row there.
-- The oldest row of a blocked key is never below it. The holder writes it now and then, so that whoever takes the bucket over need not read through
-- all the rows that died before: as long as somebody keeps a snapshot, as a backup does, no vacuum can remove them, and there may be millions.
ALTER TABLE outbox_lease ADD COLUMN mark bigint NOT NULL DEFAULT 0;

-- How far a bucket is done with: no row of it with a lower or equal id waits, or will ever come, but for those of blocked keys. The
-- holder writes it now and then, so that whoever takes the bucket over need not read through all the rows that died before: as
-- long as somebody keeps a transaction open, no vacuum can remove them, and there may be millions.
ALTER TABLE outbox_lease ADD COLUMN mark bigint NOT NULL DEFAULT 0;

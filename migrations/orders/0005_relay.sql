-- Several relays share the buckets.
--
-- A relay registers here and prolongs its registration twice a second. A bucket is free when its owner has none that is
-- still good. So renewing all leases is one update of one row: were each lease a row with a time of its own, a long
-- transaction elsewhere, during which no dead version can be removed, would slow every renewal down.
CREATE TABLE outbox_relay (
    owner      uuid        PRIMARY KEY,
    expires_at timestamptz NOT NULL
);

-- A relay of the version before this one can no longer take leases and says so; its buckets go to the new ones at once.
ALTER TABLE outbox_lease DROP COLUMN expires_at;
UPDATE outbox_lease SET owner = NULL;

-- An operator releases a key; the relay that holds its bucket removes the row and reads the bucket from its beginning.
-- Were the row removed by the operator, the relay could meet a new event of the key before the old ones.
ALTER TABLE outbox_blocked ADD COLUMN released boolean NOT NULL DEFAULT false;

-- Events that an operator decided not to publish: what an audit needs in order to account for them.
CREATE TABLE outbox_skipped (
    event_id     uuid        PRIMARY KEY,
    topic        text        NOT NULL,
    aggregate_id uuid        NOT NULL,
    sequence     bigint      NOT NULL,
    event_type   text        NOT NULL,
    payload      json        NOT NULL,
    created_at   timestamptz NOT NULL,
    -- Why Kafka refused it.
    reason       text        NOT NULL,
    skipped_at   timestamptz NOT NULL DEFAULT now(),
    skipped_by   text        NOT NULL,
    -- Why it may be left out.
    skipped_why  text        NOT NULL
);

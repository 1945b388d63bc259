-- The outbox: events that are committed and not yet acknowledged by Kafka. Rows are inserted with the business change,
-- read by the relay in the order of `id` per bucket, and deleted once acknowledged. It is empty when all is well.
--
-- Writing an event, from any language, in the transaction of the change it reports:
--
--   WITH changed AS (UPDATE orders SET last_sequence = last_sequence + 1 WHERE id = $1 RETURNING id, last_sequence)
--   INSERT INTO outbox (topic, aggregate_id, sequence, event_id, event_type, source, traceparent, payload)
--   SELECT 'order.events', id, last_sequence, $2, 'OrderPaid', '/my-shop/payments', $3, $4 FROM changed;
--
-- The insert selects from the statement that locked (or created) the aggregate's row, so that ids of one aggregate follow
-- its commit order. The database fills in bucket, id and created_at.
CREATE TABLE outbox (
    -- Share of the key space, 0..63. Relays lease buckets. Adding 64 rows to outbox_lease and widening the expression
    -- would move keys between buckets: the number is a constant of this schema.
    bucket       smallint    NOT NULL GENERATED ALWAYS AS
                 ((('x' || substr(md5(aggregate_id::text), 1, 2))::bit(8)::integer % 64)::smallint) STORED,
    -- CACHE 1: a session that caches ids would hand out old ones late.
    id           bigint      NOT NULL GENERATED ALWAYS AS IDENTITY (CACHE 1),
    topic        text        NOT NULL,
    -- Key of the Kafka record.
    aggregate_id uuid        NOT NULL,
    sequence     bigint      NOT NULL,
    event_id     uuid        NOT NULL,
    event_type   text        NOT NULL,
    -- CloudEvents `source`: who decided it.
    source       text        NOT NULL,
    -- W3C trace context of the change.
    traceparent  text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    -- Sent as it stands. `json` keeps the text and refuses what is no JSON.
    payload      json        NOT NULL,
    -- The one index: what the relay claims by.
    PRIMARY KEY (bucket, id)
) WITH (
    -- Every row is inserted and deleted. Vacuum by count, not by share, so that dead rows never pile up before the
    -- first live one.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 50000,
    autovacuum_vacuum_cost_delay = 0
);

-- Who may publish a bucket, and until when. The epoch grows with every change of holder; settling checks it.
CREATE TABLE outbox_lease (
    bucket     smallint    PRIMARY KEY,
    owner      uuid,
    epoch      bigint      NOT NULL DEFAULT 0,
    expires_at timestamptz NOT NULL DEFAULT '-infinity'
);

INSERT INTO outbox_lease (bucket) SELECT generate_series(0, 63);

-- Keys whose oldest row Kafka refused. The relay leaves all rows of such a key where they are, so that order per key
-- holds; an operator looks at the reason and repairs or removes the row.
CREATE TABLE outbox_blocked (
    aggregate_id uuid        PRIMARY KEY,
    bucket       smallint    NOT NULL,
    id           bigint      NOT NULL,
    reason       text        NOT NULL,
    blocked_at   timestamptz NOT NULL DEFAULT now()
);

-- Which order stands under which Idempotency-Key. The row is written by the statement that writes the order, so there is one
-- for every order that was taken under a key, and none for a request that was refused or failed.
--
-- The rest of the first answer (its total) is read from the order's row, which nobody changes. There is no foreign key: one
-- statement writes both rows, and a check for each order would find nothing.
CREATE TABLE idempotency_keys (
    -- As the caller sent it: visible ASCII, compared byte by byte. A key is not bound to a user: user_id is what the body
    -- claims, not who calls. Once callers are known, the caller becomes part of this key.
    key         text COLLATE "C" PRIMARY KEY
                CONSTRAINT idempotency_keys_key_is_short CHECK (length(key) BETWEEN 1 AND 255),
    -- SHA-256 over what the caller ordered: tells a repeat from another order under the same key.
    fingerprint bytea            NOT NULL
                CONSTRAINT idempotency_keys_fingerprint_is_sha256 CHECK (octet_length(fingerprint) = 32),
    order_id    uuid             NOT NULL,
    -- The age of a key decides whether it still counts: an expired one is free, whether or not its row was removed yet.
    created_at  timestamptz      NOT NULL DEFAULT now()
) WITH (
    -- Rows are removed at the old end of the index below. Vacuum before much of that end is dead.
    autovacuum_vacuum_scale_factor = 0.02
);

-- What housekeeping finds the oldest rows by.
CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);

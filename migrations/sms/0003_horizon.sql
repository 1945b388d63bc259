-- What goes with the inbox: how far back it remembers, an operator's word, and keys that wait.

-- Up to when the inbox may have forgotten. An event that occurred later and is not in the inbox is new; one that is not newer
-- and not in the inbox may have been applied before its row was pruned, and nobody here can know.
--
-- The row is written first and rows of the inbox are deleted after every statement that may have read the old value is
-- over: shared/persistence/src/inbox/prune.rs says why.
CREATE TABLE inbox_horizon (
    -- Makes it one row.
    single       boolean     PRIMARY KEY DEFAULT true CHECK (single),
    pruned_up_to timestamptz NOT NULL DEFAULT '-infinity',
    -- When a process last took it upon itself to prune: the others leave the table alone for a while.
    raised_at    timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO inbox_horizon DEFAULT VALUES;

-- While its one row is there, the group takes nothing from its topics: all processes of it, also those that start later.
CREATE TABLE intake (
    single boolean     PRIMARY KEY DEFAULT true CHECK (single),
    since  timestamptz NOT NULL DEFAULT now(),
    -- Who said so: a person, or the service itself when too much went to dead letters.
    by     text        NOT NULL,
    why    text        NOT NULL
);

-- Records that went to dead letters and hold their key: later records of the key follow them instead of overtaking them.
-- Filled only under AFTER_DEAD_LETTER=hold-key. Offsets of one key can be compared: a key stays on one partition.
CREATE TABLE held_records (
    topic         text        NOT NULL,
    key           bytea       NOT NULL,
    record_offset bigint      NOT NULL,
    held_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, key, record_offset)
);

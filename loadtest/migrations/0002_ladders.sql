-- What the consumer of `./dev chaos` saw through its inbox, in the order in which it saw it.

-- A ladder is a key with many events, its rungs. The row is locked by each delivery, so that arrivals are numbered in the
-- order in which their transactions commit, also when two consumers hold the same partition for a moment.
CREATE TABLE ladders (
    id       uuid   PRIMARY KEY,
    arrivals bigint NOT NULL
);

-- First deliveries, as the inbox says. No constraint keeps a rung from being here twice: that would hide what is looked for.
CREATE TABLE arrivals (
    ladder   uuid   NOT NULL,
    -- 1, 2, .. for each ladder.
    arrival  bigint NOT NULL,
    sequence bigint NOT NULL,
    PRIMARY KEY (ladder, arrival)
);

-- Deliveries that the inbox dropped.
CREATE TABLE repeats (
    ladder   uuid        NOT NULL,
    sequence bigint      NOT NULL,
    event_id uuid        NOT NULL,
    at       timestamptz NOT NULL DEFAULT now()
);
